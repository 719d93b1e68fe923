"""Whom a cancelled run blames: who was shown to be wrong; nobody for being slow.

A wrong result, a GPU that is not there, an error that was counted is what it is however the run ended: such a FAIL stays (DESIGN, rules 4
and 5: a FAIL anywhere is NOT ACCEPTED). A speed can be cleared or confirmed by another launch, or by what the others would have reached,
and that was never measured: it stays as a WARN that says so, keeps the run from being accepted and drains nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.verdict_text import extended
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.verdict import CODE, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.verdict_table import JudgedColumn


def without_blame(answers: Iterable[JudgedColumn], evidence: Evidence) -> Iterator[JudgedColumn]:
    """The answers; of a run that was cancelled each FAIL for a speed as a WARN."""
    end = evidence.ended_from_outside if evidence.cancelled else None
    for answer in answers:
        doubtful = end is not None and answer.metric.is_speed
        rows = np.flatnonzero(answer.outcome == CODE[Outcome.FAIL]).tolist() if doubtful else []
        if not rows or end is None:
            yield answer
            continue
        outcome = answer.outcome.copy()
        outcome[rows] = CODE[Outcome.WARN]
        why = dict.fromkeys(rows, f"not confirmed: {end.sentence}")
        yield replace(answer, outcome=outcome, remarks=extended(answer, why, code=FindingCode.JOB_CUT_BLAME))
