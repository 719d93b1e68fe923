"""How are baselines learned from runs, and shown?"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept import __version__
from hpcaccept.app.judging import SHIPPED, Judged, evidence_of, judge_run
from hpcaccept.app.submitting import commit_of
from hpcaccept.errors import RunError
from hpcaccept.judge.learn import learn, suspects
from hpcaccept.model.baseline import Baseline, Provenance
from hpcaccept.store.baseline_file import read_baseline, write_baseline
from hpcaccept.store.folder import find
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Facts that would change the numbers and so belong to the provenance.
_FACTS = ("driver", "cuda_driver", "torch", "nccl", "mpi", "kernel", "image", "numpy")


def learn_from(runs_dir: Path, runs: Iterable[str], baselines_dir: Path) -> Iterable[str]:
    """Learn one baseline per device model and setting; tells what was done.

    Raises:
        RunError: a run does not exist, or nothing can be learned from them.
    """
    judged = {}
    for name in runs:
        folder = find(runs_dir, name)
        judged[folder.run_id] = judge_run(evidence_of(folder), baselines_dir)
    units = {u for run in judged.values() for u in run.evidence.samples.units if u.model and u.node}
    for model in sorted({unit.model for unit in units}):
        settings = {unit.setting for unit in units if unit.model == model}
        if len(settings) > 1:
            found = "; ".join(sorted(settings))
            raise RunError(
                f"The runs measured {model} in unlike ways: {found}.", "Learn from runs of one kind at a time."
            )
        baseline = _learn_one(judged, model, settings.pop())
        if not baseline.entries:
            raise RunError(f"Nothing can be learned about {model}: no unsuspected unit has a rate.")
        file = write_baseline(baselines_dir, baseline)
        units_used = max(entry.units for entry in baseline.entries.values())
        yield f"{file}: {len(baseline.entries)} metrics of {model} from {units_used} unit(s) in {len(judged)} run(s)"
        for node, why in baseline.provenance.left_out.items():
            yield f"  left out {node}: {why}"
    if not units:
        raise RunError("These runs hold no measured device.", "hpcaccept report shows why.")


def _learn_one(judged: dict[str, Judged], model: str, setting: str) -> Baseline:
    left_out: dict[str, str] = {}
    revisions: dict[str, int] = {}
    facts: dict[str, str] = {}
    nodes: set[str] = set()
    ids: set[str] = set()
    shared = 0.0
    for run in judged.values():
        left_out |= suspects(run.judgement.verdicts)
        for record in run.evidence.records:
            revisions[record.check] = record.revision
            if record.check == "identity":
                facts |= {key: record.facts[key] for key in _FACTS if record.facts.get(key)}
        mine = [u for u in run.evidence.samples.units if u.model == model and u.node and u.node not in left_out]
        nodes |= {unit.node for unit in mine}
        ids |= {unit.device_id for unit in mine if unit.device_id}
        if run.evidence.shared_host:
            shared = max(shared, run.evidence.plan.suite.peers.shared_host_floor)
    values = [column for run in judged.values() for column in run.values]
    provenance = Provenance(
        learned_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        runs=tuple(judged),
        nodes=tuple(sorted(nodes)),
        device_ids=tuple(sorted(ids)),
        setting=setting,
        facts=facts,
        version=__version__,
        commit=commit_of(Path(__file__).parents[2]),
        left_out=left_out,
    )
    return Baseline(model, provenance, learn(values, model, setting, left_out, revisions, shared))


def describe(baselines_dir: Path, model: str) -> Iterable[str]:
    """The baselines there are, or those whose model contains a text, in full."""
    files = sorted({*baselines_dir.glob("*.h5"), *SHIPPED.glob("*.h5")})
    found = [(file, read_baseline(file)) for file in files]
    chosen = [(f, b) for f, b in found if model.lower() in b.model.lower() or model == f.name]
    if not chosen:
        yield f"There is no baseline{f' of {model!r}' if model else ''} in {baselines_dir}. Learn one: hpcaccept baseline learn RUN"
    for file, baseline in chosen:
        origin = baseline.provenance
        yield f"{baseline.model}: {len(baseline.entries)} metrics, learned {origin.learned_at} from {', '.join(origin.runs)}"
        if not model:
            continue
        yield f"  file {file}; {origin.setting}; nodes {', '.join(origin.nodes)}"
        yield "  " + ", ".join(f"{key} {text}" for key, text in origin.facts.items())
        for entry in baseline.entries.values():
            limit = entry.lower if entry.lower is not None else entry.upper
            side = "at least" if entry.lower is not None else "at most"
            yield f"  {entry.key:<40} {show(entry.center, entry.unit):>14}, {side} {show(limit or 0.0, entry.unit)} ({entry.units} units)"
