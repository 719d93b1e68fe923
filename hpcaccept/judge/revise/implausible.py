"""Can it be true? A rate above what the part can do is a fault of the measurement, whatever limit it meets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.baseline.match import beyond_peak, most_of
from hpcaccept.judge.verdict_text import extended
from hpcaccept.model.verdict import CODE, Outcome
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from hpcaccept.model.baseline import Baseline
    from hpcaccept.model.table import MeasuredSubject
    from hpcaccept.model.verdict_table import JudgedColumn

_LIMIT_REMEDY = "Correct the limit where it is given (hpcaccept config shows the file); nothing can meet it."
_REMEDY = "Do not trust this run: look at the clock, the sizes and the library that it was measured with."


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
        key, unit = answer.key, answer.metric.unit
        most = {u: most_of(baselines.get(subjects[u].model), key, unit) for u in answer.subject.tolist()}
        ceiling = np.array([most[u] for u in answer.subject.tolist()])
        wrong = np.flatnonzero((answer.lower > ceiling) & (answer.outcome == CODE[Outcome.FAIL]))
        if not len(wrong):
            yield answer
            continue
        why = {
            row: f"the limit is more than the part can do: {show(float(ceiling[row]), unit)}" for row in wrong.tolist()
        }
        outcome = answer.outcome.copy()
        outcome[wrong] = CODE[Outcome.ERROR]
        remarks = extended(answer, why, dict.fromkeys(why, _LIMIT_REMEDY))
        yield replace(answer, outcome=outcome, remarks=remarks)


def _impossible(answer: JudgedColumn, baseline: Baseline) -> JudgedColumn:
    unit = answer.metric.unit
    why = {row: beyond_peak(baseline, answer.key, value, unit) for row, value in enumerate(answer.value.tolist())}
    outcome = np.full(len(answer), CODE[Outcome.ERROR], np.int8)
    remarks = extended(answer, why, dict.fromkeys(why, _REMEDY))
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
