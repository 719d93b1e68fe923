"""Rejects what cannot be true: a rate above what the part can do is a fault of the measurement, whatever limit it meets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.baseline.match import beyond_peak, most_of
from hpcaccept.judge.verdict_text import extended
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.verdict import CODE, Outcome
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from hpcaccept.model.baseline import Baseline
    from hpcaccept.model.table import MeasuredSubject
    from hpcaccept.model.verdict_table import JudgedColumn


def without_impossible(
    answers: Iterable[JudgedColumn], subjects: Sequence[MeasuredSubject], baselines: Mapping[str, Baseline]
) -> Iterator[JudgedColumn]:
    """The answers about the baseline; rates that no part of the model can reach are ERRORs, and leave the run unjudged.

    Args:
        answers: each about subjects of one device model.
        subjects: of the run.
        baselines: device model → baseline, with its peaks.
    """
    for answer in answers:
        baseline = baselines.get(subjects[answer.subject[0]].model) if len(answer) else None
        most = most_of(baseline, answer.key, answer.metric.unit)
        if baseline is None or not (wrong := answer.value > most).any():
            yield answer
            continue
        if not wrong.all():
            yield _rows(answer, np.flatnonzero(~wrong))
        yield _impossible(_rows(answer, np.flatnonzero(wrong)), baseline)


def without_unreachable(
    answers: Iterable[JudgedColumn], subjects: Sequence[MeasuredSubject], baselines: Mapping[str, Baseline]
) -> Iterator[JudgedColumn]:
    """The answers about limits; one that lies above what the part can do blames nobody: it is an ERROR of who wrote it.

    Args:
        answers: about any subjects.
        subjects: of the run.
        baselines: device model → baseline, with its peaks.
    """
    for answer in answers:
        unit = answer.metric.unit
        why: dict[int, str] = {}
        for row in np.flatnonzero((answer.outcome == CODE[Outcome.FAIL]) & (answer.lower == answer.lower)).tolist():
            most = most_of(baselines.get(subjects[answer.subject[row]].model), answer.key, unit)
            if answer.lower[row] > most:
                why[row] = f"the limit is more than the part can do: {show(most, unit)}"
        if not why:
            yield answer
            continue
        outcome = answer.outcome.copy()
        outcome[list(why)] = CODE[Outcome.ERROR]
        remarks = extended(answer, why, code=FindingCode.LIMIT_UNREACHABLE)
        yield replace(answer, outcome=outcome, remarks=remarks)


def _impossible(answer: JudgedColumn, baseline: Baseline) -> JudgedColumn:
    unit = answer.metric.unit
    why = {row: beyond_peak(baseline, answer.key, value, unit) for row, value in enumerate(answer.value.tolist())}
    outcome = np.full(len(answer), CODE[Outcome.ERROR], np.int8)
    remarks = extended(answer, why, code=FindingCode.RATE_IMPOSSIBLE)
    return replace(answer, outcome=outcome, remarks=remarks, required=True)


def _rows(answer: JudgedColumn, rows: npt.NDArray[np.intp]) -> JudgedColumn:
    """Some rows of an answer."""
    kept = {number: answer.remarks[row] for number, row in enumerate(rows.tolist()) if row in answer.remarks}
    return replace(
        answer,
        subject=answer.subject[rows],
        outcome=answer.outcome[rows],
        value=answer.value[rows],
        lower=answer.lower[rows],
        upper=answer.upper[rows],
        center=answer.center[rows],
        remarks=kept,
    )
