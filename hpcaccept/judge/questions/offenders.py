"""Subjects that failed again and again, whatever they do today. Only FAILs count that another launch, another run or an exact limit confirmed.

What is in doubt (WARN), could not be judged, or was said of a run that somebody ended, is no failure (``app.history`` keeps it apart).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.history import FAILED
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.verdict import CODE, Outcome
from hpcaccept.model.verdict_table import JudgedColumn, Remark

if TYPE_CHECKING:
    import numpy.typing as npt

    from hpcaccept.model.history import Past

#: So many failed runs make a repeat offender, where that is no chance.
_AGAIN = 2
_OFTEN = at_most(_AGAIN - 1, "runs", "a unit that fails again and again needs a repair, not a retest")
_FAILED_RUNS = Metric("failed_runs", "runs", "lower", "Earlier runs in which the unit failed.", limit=_OFTEN)


def offenders(past: Past, place: npt.NDArray[np.intp], rate: float, of_run: float) -> list[JudgedColumn]:
    """WARN for each subject of this run that failed in several of its last runs: in more than chance makes fail again.

    Args:
        past: with what was said of each value.
        place: of each subject in it.
        rate: chance that is left to healthy subjects of being called so, all of them together.
        of_run: stated chance that a run blames some healthy subject.
    """
    if not past.outcomes or not past.runs:
        return []
    failed = np.logical_or.reduce([said == FAILED for said in past.outcomes.values()])
    runs = np.where(place >= 0, failed.sum(axis=0)[place], 0)
    often = _often(len(past.runs), int((place >= 0).sum()), rate, of_run)
    subjects = np.flatnonzero(runs >= often)
    if not len(subjects):
        return []
    none = np.full(len(subjects), np.nan)
    remarks = {}
    for row, subject in enumerate(subjects.tolist()):
        last = past.runs[int(np.flatnonzero(failed[:, place[subject]])[-1])]
        reason = (
            f"failed in {runs[subject]} of its last {len(past.runs)} runs, at last in {last.run_id} ({last.at[:10]})"
        )
        remarks[row] = Remark(reason, code=FindingCode.REPEAT_OFFENDER)
    return [
        JudgedColumn(
            question="history",
            key="history.failed_runs",
            metric=_FAILED_RUNS,
            origin="history",
            subject=subjects.astype(np.int32),
            outcome=np.full(len(subjects), CODE[Outcome.WARN], np.int8),
            value=runs[subjects].astype(np.float64),
            lower=none,
            upper=np.full(len(subjects), often - 1.0),
            center=none,
            source=_OFTEN.source,
            required=False,
            remarks=remarks,
        )
    ]


def _often(runs: int, subjects: int, rate: float, of_run: float) -> int:
    """Failed runs that make an offender: two, and more where chance would make one of so few subjects fail twice in so many runs.

    By what is stated of a run: each of its healthy subjects has an equal share of the chance that it blames one of them.
    """
    each = min(of_run / max(subjects, 1), 0.5)
    often, chance = 0, 1.0
    while often < _AGAIN or (often < runs and subjects * chance > rate):
        chance -= math.comb(runs, often) * each**often * (1 - each) ** (runs - often)
        often += 1
    return often
