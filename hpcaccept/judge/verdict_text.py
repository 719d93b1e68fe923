"""How is a row of the columns said in a sentence? Nothing is built before somebody reads it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.model.metric import Limit, describe
from hpcaccept.model.verdict import CODE, OUTCOMES, Outcome, Subject, Verdict
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from hpcaccept.model.table import MeasuredSubject
    from hpcaccept.model.verdict_table import JudgedColumn, VerdictTable

#: How the reason of a verdict begins where the peers cannot decide: such checks are measured again, like those of suspects.
UNDECIDED = "the peers differ too much to say"
#: More missing baselines than this are said once per metric and kind of subject.
ONE_BY_ONE = 1000
#: More bad verdicts than this as well, where a metric has more than ``ONE_BY_ONE`` of them: then it is no single subject's story.
TOO_MANY = 100_000

_AGAIN_ALONE = (
    "Measure it again, alone: hpcaccept submit --nodes 1 --nodelist NODE. If it stays, take the node out of service; "
    "hpcaccept bundle --node NODE packs the evidence."
)
_REMEDY = {
    ("peers", Outcome.FAIL): "Run it once more on this node and two others before it is drained.",
    ("peers", Outcome.WARN): "Run it once more on this node and two others before it is drained.",
    ("peers", Outcome.ERROR): "This is a fault of the check or of all units: look into run.h5.",
    ("baseline", Outcome.NO_BASELINE): "When these units are known to be good: hpcaccept baseline learn RUN.",
    (
        "history",
        Outcome.FAIL,
    ): "It was faster before: look for what changed on this unit (clocks, cooling, cables, a repair).",
    ("history", Outcome.WARN): "It was faster before: watch it, hpcaccept history trend.",
}


def subject_of(subject: MeasuredSubject) -> Subject:
    """Whom a value speaks of."""
    return Subject(subject.node, subject.device)


def verdict_of(table: VerdictTable, answer: JudgedColumn, row: int) -> Verdict:
    """One row as a verdict."""
    outcome = OUTCOMES[answer.outcome[row]]
    reason, remedy = answer.remarks.get(row) or (sentence(answer, row), _remedy(answer, outcome))
    # An ERROR that was a FAIL before somebody else was found on the device keeps the limit that was missed.
    limited = outcome.is_judged or outcome is Outcome.ERROR
    return Verdict(
        subject=subject_of(table.subjects[answer.subject[row]]),
        check=answer.check,
        outcome=outcome,
        reason=reason,
        metric=answer.metric.name,
        variant=answer.variant,
        value=float(answer.value[row]),
        unit=answer.metric.unit,
        limit=limit_of(answer, row) if limited else None,
        remedy=remedy.replace("NODE", table.subjects[answer.subject[row]].node or "NODE"),
        required=bool(answer.demanded[row]),
        question=answer.question,
    )


def limit_of(answer: JudgedColumn, row: int) -> Limit | None:
    """What the value met or missed; None where it could not be compared."""
    lower, upper = float(answer.lower[row]), float(answer.upper[row])
    if lower != lower and upper != upper:
        return None
    source = f"{_compared(answer, row)}; {answer.detail}" if answer.compared and not answer.source else answer.source
    return Limit(
        lower if lower == lower else None, upper if upper == upper else None, answer.metric.unit, answer.origin, source
    )


def sentence(answer: JudgedColumn, row: int) -> str:
    """The evidence of one row."""
    unit, value = answer.metric.unit, float(answer.value[row])
    measured = f"{answer.metric.name} {show(value, unit)}"
    if answer.said:
        return f"{measured}; {answer.said}"
    limit = limit_of(answer, row)
    if limit is None:
        return f"{UNDECIDED}: {measured}, {_compared(answer, row)}; {answer.detail} is more than all of it"
    center = float(answer.center[row])
    detail = f"; {answer.detail}" if answer.detail else ""
    if np.isnan(center):
        whose = f" of the {answer.compared}" if answer.compared else ""
        return f"{measured}, {'within' if limit.met_by(value) else 'expected'} {describe(limit)}{whose}{detail}"
    share = (value / center - 1) * 100 if center else 0.0
    return f"{measured}, {share:+.1f} % of the {_compared(answer, row)}{detail}"


def _compared(answer: JudgedColumn, row: int) -> str:
    return f"{answer.compared} {show(float(answer.center[row]), answer.metric.unit)}"


def _remedy(answer: JudgedColumn, outcome: Outcome) -> str:
    if outcome is Outcome.PASS:
        return ""
    if outcome is Outcome.WARN and answer.question == "baseline":
        return "Nobody has vouched for this draft: approve it (hpcaccept baseline approve), or learn it anew from a run that was accepted."
    if outcome is Outcome.FAIL and answer.question in ("limits", "baseline"):
        return _AGAIN_ALONE
    if answer.question == "peers" and outcome is Outcome.NO_BASELINE:
        undecided = "Run again when the machines are quiet, with more nodes, or against a baseline."
        return "Run with more nodes, or learn a baseline." if answer.said else undecided
    return _REMEDY.get((answer.question, outcome), "")


def passing_verdicts(table: VerdictTable) -> Iterator[Verdict]:
    """Each row that is PASS."""
    for answer in table.answers:
        for row in np.flatnonzero(answer.outcome == CODE[Outcome.PASS]).tolist():
            yield verdict_of(table, answer, row)


def readable_verdicts(table: VerdictTable, nodes: Mapping[int, Sequence[npt.NDArray[np.intp]]]) -> Iterator[Verdict]:
    """What is not PASS. What would be a thousand sentences alike is one, about all of its subjects.

    Args:
        table: of the run.
        nodes: number of an answer → the rows of each node of which all like subjects are slow: one finding about the node.
    """
    counts = table.counts()
    gaps = counts[Outcome.NO_BASELINE]
    many = sum(counts.values()) - counts[Outcome.PASS] - gaps > TOO_MANY
    for number, answer in enumerate(table.answers):
        whole = [] if many else list(nodes.get(number, ()))
        for rows in whole:
            yield _of_node(table, answer, rows)
        told = np.zeros(len(answer), bool)
        told[np.concatenate(whole) if whole else []] = True
        for code in np.flatnonzero(np.bincount(answer.outcome)).tolist():
            outcome = OUTCOMES[code]
            if outcome is Outcome.PASS:
                continue
            rows = np.flatnonzero((answer.outcome == code) & ~told)
            together = gaps > ONE_BY_ONE if outcome is Outcome.NO_BASELINE else many and len(rows) > ONE_BY_ONE
            if together:
                yield _together(table, answer, rows)
            else:
                yield from (verdict_of(table, answer, row) for row in rows.tolist())


def _worst_of(answer: JudgedColumn, rows: npt.NDArray[np.intp]) -> int:
    extreme = np.argmin if answer.metric.direction == "higher" else np.argmax
    return int(rows[extreme(answer.value[rows])])


def _of_node(table: VerdictTable, answer: JudgedColumn, rows: npt.NDArray[np.intp]) -> Verdict:
    """One verdict about a node of which all like subjects are slow: in the words of the slowest."""
    one = verdict_of(table, answer, _worst_of(answer, rows))
    who = f"the slowest of {len(rows)}, {one.subject.device}: " if len(rows) > 1 else ""
    return replace(one, subject=Subject(one.subject.node), reason=f"{who}{one.reason}")


def _together(table: VerdictTable, answer: JudgedColumn, rows: npt.NDArray[np.intp]) -> Verdict:
    """One verdict for many subjects: the words of the worst of them."""
    one = verdict_of(table, answer, _worst_of(answer, rows))
    reason = answer.said or f"the worst is {one.subject}: {one.reason}"
    return replace(one, subject=Subject(), reason=f"{len(rows)} of {len(answer)} units: {reason}")


def extended(
    answer: JudgedColumn, more: Mapping[int, str], remedies: Mapping[int, str] | None = None
) -> dict[int, tuple[str, str]]:
    """Remarks of an answer with something added to the sentences of some rows."""
    remarks = dict(answer.remarks)
    for row, text in more.items():
        reason, remedy = remarks.get(row) or (sentence(answer, row), _remedy(answer, OUTCOMES[answer.outcome[row]]))
        remarks[row] = (f"{reason}; {text}", (remedies or {}).get(row, remedy))
    return remarks
