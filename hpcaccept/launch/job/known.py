"""What a run holds values against while its job lasts: the past of its units and the site's baselines, as ``submit`` left them in its folder.

They decide what is launched again, and nothing else: the judgement is made where the run was submitted, with the history and the
baselines of the site. So it does no harm that a node could write them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hpcaccept.errors import HpcacceptError
from hpcaccept.judge.subject_columns import subject_columns

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.model.baseline import Baseline
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.history import Past
    from hpcaccept.store.folder import RunFolder


def past_for(folder: Path, evidence: Evidence, last: int = 20) -> Past | None:
    """What the subjects of a run reached before it; None where nothing is remembered of any of them.

    Values of another revision, device model or setting are left out, and so are the run itself and what came after it.

    Args:
        folder: of the history, or of an excerpt of it.
        evidence: of the run.
        last: runs of each subject to look at.

    Raises:
        StoreError: a segment is damaged, foreign or of another version.
    """
    from hpcaccept.store.history_file import read_past

    columns = subject_columns(evidence)
    past = read_past(
        folder,
        tuple(columns.places),
        evidence.samples.keys,
        last,
        kinds={name: place.kind for name, place in columns.places.items()},
        revisions=evidence.record_table.revisions(),
        before=evidence.plan.created_at,
        without=evidence.plan.run_id,
    )
    return past if past.runs else None


def known_past(folder: RunFolder, evidence: Evidence) -> Past | None:
    """The past that was left in the run folder; None without one, and where it cannot be read, which the job's output tells."""
    if not folder.known_history.is_dir():
        return None
    try:
        return past_for(folder.known_history, evidence)
    except (HpcacceptError, OSError) as fault:
        _tell(f"nobody is measured again for its own past: {fault}")
        return None


def known_baselines(folder: RunFolder, evidence: Evidence) -> dict[str, Baseline]:
    """Device model → baseline, of those that were left in the run folder and those that are shipped; unreadable ones are told."""
    from hpcaccept.store.baseline_file import SHIPPED, find_baseline

    found: dict[str, Baseline] = {}
    for model in {subject.model for subject in evidence.samples.subjects if subject.model}:
        try:
            one = find_baseline((folder.known_baselines, SHIPPED), model, evidence.plan.created_at)
        except (HpcacceptError, OSError) as fault:
            _tell(f"nobody is measured again for the baseline of {model!r}: {fault}")
            continue
        if one:
            found[model] = one[1]
    return found


def _tell(what: str) -> None:
    sys.stderr.write(f"{what}\n")
