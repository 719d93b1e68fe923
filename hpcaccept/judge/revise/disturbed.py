"""Was a slow subject slow by itself? What somebody else was using cannot be blamed for its speed; wrong results still can.

A check says so with the fact ``DISTURBED`` of a record (``health``: a process of a former user is still on the GPU).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.verdict_text import extended
from hpcaccept.model.record import DISTURBED
from hpcaccept.model.record_table import IS_DISTURBED
from hpcaccept.model.verdict import CODE, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.verdict_table import JudgedColumn

_BLAMES = (CODE[Outcome.WARN], CODE[Outcome.FAIL])


def without_disturbed(answers: Iterable[JudgedColumn], evidence: Evidence) -> Iterator[JudgedColumn]:
    """The answers of a comparison; a rate that falls short on a disturbed device is an ERROR with the reason, no FAIL or WARN."""
    records = evidence.record_table
    disturbed = records.rows((records.flags & IS_DISTURBED) > 0)
    by = {(r.node, r.device): r.facts[DISTURBED] for r in disturbed}
    subjects = evidence.samples.subjects
    for answer in answers:
        why = {}
        if by:
            for row in np.flatnonzero(np.isin(answer.outcome, _BLAMES)).tolist():
                subject = subjects[answer.subject[row]]
                if reason := by.get((subject.node, subject.device)):
                    why[row] = f"not blamed on it: {reason}"
        if not why:
            yield answer
            continue
        outcome = answer.outcome.copy()
        remarks = extended(answer, why, dict.fromkeys(why, "Clear the device, then run again."))
        outcome[list(why)] = CODE[Outcome.ERROR]
        yield replace(answer, outcome=outcome, remarks=remarks)
