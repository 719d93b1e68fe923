"""How far each value is from what it was compared with: the baseline, its peers, its own past. One row per subject and metric."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpcaccept.model.metric import Metric
from hpcaccept.model.verdict import OUTCOMES, SEVERITY, Outcome, Question

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hpcaccept.model.verdict_table import JudgedColumn, VerdictTable

#: The questions that compare, in the order of the columns.
COMPARED: tuple[Question, ...] = ("baseline", "peers", "history")


@dataclass
class Deviation:
    """One value beside what it was compared with.

    Attributes:
        node: name of the node; empty where all nodes were measured together.
        device: ``cuda:3``; empty where the value is the node's.
        key: metric key.
        title: the metric in words.
        metric: its declaration.
        value: in the unit of the metric.
        outcome: the worst verdict on it.
        shares: question → relative deviation from what the value was compared with; negative: smaller.
        limits: question → smallest and largest value that meets the limit, NaN where there is none.
    """

    node: str
    device: str
    key: str
    title: str
    metric: Metric
    value: float
    outcome: Outcome
    shares: dict[Question, float] = field(default_factory=dict)
    limits: dict[Question, tuple[float, float]] = field(default_factory=dict)

    @property
    def loss(self) -> float:
        """The largest relative loss of any comparison, negative where the value is better than all; -inf without one."""
        sign = 1.0 if self.metric.direction == "lower" else -1.0
        return max((sign * share for share in self.shares.values()), default=-math.inf)


def deviations_of(table: VerdictTable, node: str = "") -> list[Deviation]:
    """Every rate and count that a comparison has judged, the worst verdict first, then the largest loss.

    Args:
        table: of the judgement.
        node: whose values are wanted; empty: those of all.
    """
    found: dict[tuple[int, str], Deviation] = {}
    for answer in table.answers:
        if answer.question in COMPARED:
            for row in _rows(table, answer, node):
                _add(found, table, answer, row)
    return sorted(found.values(), key=lambda one: (-SEVERITY[one.outcome], -one.loss, one.node, one.device, one.key))


def _rows(table: VerdictTable, answer: JudgedColumn, node: str) -> Iterable[int]:
    return (row for row, at in enumerate(answer.subject.tolist()) if not node or table.subjects[at].node == node)


def _add(found: dict[tuple[int, str], Deviation], table: VerdictTable, answer: JudgedColumn, row: int) -> None:
    from hpcaccept.judge.verdict_text import name_of

    at = int(answer.subject[row])
    outcome = OUTCOMES[answer.outcome[row]]
    one = found.get((at, answer.key))
    if one is None:
        subject = table.subjects[at]
        value = float(answer.value[row])
        one = Deviation(subject.node, subject.device, answer.key, name_of(answer), answer.metric, value, outcome)
        found[at, answer.key] = one
    one.outcome = _worse(one.outcome, outcome)
    center = float(answer.center[row])
    if math.isfinite(center) and center:
        one.shares[answer.question] = float(answer.value[row]) / center - 1
    one.limits[answer.question] = (float(answer.lower[row]), float(answer.upper[row]))


def _worse(one: Outcome, other: Outcome) -> Outcome:
    """What was judged counts before what was not: of two questions one answer is enough."""
    judged = [outcome for outcome in (one, other) if outcome.is_judged]
    return max(judged or [one, other], key=lambda outcome: SEVERITY[outcome])


def lines_of(deviations: Iterable[Deviation]) -> Iterator[tuple[Deviation, dict[Question, str]]]:
    """Each row with its comparisons as people read them: ``-36.7 %``, ``≥ limit`` where there is a limit and no centre, ``–`` for none."""
    for one in deviations:
        yield one, {question: _said(one, question) for question in COMPARED}


def _said(one: Deviation, question: Question) -> str:
    share = one.shares.get(question)
    if share is not None:
        return f"{share * 100:+.1f} %"
    lower, upper = one.limits.get(question, (math.nan, math.nan))
    bound, sign = (lower, "≥") if lower == lower else (upper, "≤")
    if bound != bound:
        return "–"
    from hpcaccept.units import show

    return f"{sign} {show(bound, one.metric.unit)}"
