"""Says a row of the columns in a sentence. Nothing is built before somebody reads it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.codes import code_of
from hpcaccept.model.finding_code import NODE
from hpcaccept.model.metric import Limit, describe
from hpcaccept.model.verdict import CODE, OUTCOMES, Outcome, Subject, Verdict, device_name
from hpcaccept.model.verdict_table import Remark
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from hpcaccept.model.finding_code import FindingCode
    from hpcaccept.model.table import MeasuredSubject
    from hpcaccept.model.verdict_table import JudgedColumn, VerdictTable

#: Why a row is undecided, and what to do: its like (the own runs before are those of the past) are too wide, or two groups, which the width of
#: few does not tell apart.
_UNDECIDED = (
    "the like units differ too much, or are two groups, so that nobody can say who is slow: measure again on quiet nodes, with more nodes, "
    "or against a baseline"
)
_UNDECIDED_BY_PAST = "the earlier runs differ too much, or are two groups, so that nobody can say whether this one is slow: run more often under the same conditions"
#: More missing baselines than this are said once per metric and kind of subject.
ONE_BY_ONE = 1000
#: More bad verdicts than this as well, where a metric has more than ``ONE_BY_ONE`` of them: then it is no single subject's story.
TOO_MANY = 100_000


def subject_of(subject: MeasuredSubject) -> Subject:
    """Whom a value speaks of."""
    return Subject(subject.node, subject.device)


def verdict_of(table: VerdictTable, answer: JudgedColumn, row: int) -> Verdict:
    """One row as a verdict."""
    outcome = OUTCOMES[answer.outcome[row]]
    remark = answer.remarks.get(row) or Remark(sentence(answer, row))
    subject = subject_of(table.subjects[answer.subject[row]])
    # An ERROR that was a FAIL before somebody else was found on the device keeps the limit that was missed.
    limited = outcome.is_judged or outcome is Outcome.ERROR
    return Verdict(
        subject=subject,
        check=answer.check,
        outcome=outcome,
        reason=remark.reason,
        metric=answer.metric.name,
        variant=answer.variant,
        value=float(answer.value[row]),
        unit=answer.metric.unit,
        limit=limit_of(answer, row) if limited else None,
        remedy=remark.remedy.replace(NODE, subject.node or NODE),
        required=bool(answer.demanded[row]),
        question=answer.question,
        code=code_of(answer, row),
    )


def limit_of(answer: JudgedColumn, row: int) -> Limit | None:
    """What the value met or missed; None where it could not be compared."""
    lower, upper = float(answer.lower[row]), float(answer.upper[row])
    if lower != lower and upper != upper:
        return None
    stated = "; ".join(filter(None, (_compared(answer, row), answer.rule, answer.detail)))
    source = stated if answer.compared and not answer.source else answer.source
    return Limit(
        lower if lower == lower else None, upper if upper == upper else None, answer.metric.unit, answer.origin, source
    )


def sentence(answer: JudgedColumn, row: int) -> str:
    """The evidence of one row."""
    unit, value = answer.metric.unit, float(answer.value[row])
    measured = f"{name_of(answer)}: {show(value, unit)}"
    if answer.said:
        return f"{measured}; {answer.said}"
    limit = limit_of(answer, row)
    if limit is None:
        why = _UNDECIDED_BY_PAST if answer.question == "history" else _UNDECIDED
        return f"{measured}, {_compared(answer, row)}; {why}"
    center = float(answer.center[row])
    detail = f"; {answer.detail}" if answer.detail else ""
    if np.isnan(center):
        whose = f" of the {answer.compared}" if answer.compared else ""
        return f"{measured}, {'within' if limit.met_by(value) else 'expected'} {describe(limit)}{whose}{detail}"
    share = (value / center - 1) * 100 if center else 0.0
    side = "below" if share < 0 else "above"
    return f"{measured}, {abs(share):.1f} % {side} the {_compared(answer, row)}{detail}"


def name_of(answer: JudgedColumn) -> str:
    """What was measured, in words; under a label with the label."""
    label = answer.check.partition(":")[2]
    return f"{answer.metric.named(answer.variant)}{f' [{label}]' if label else ''}"


def _compared(answer: JudgedColumn, row: int) -> str:
    return f"{answer.compared} ({show(float(answer.center[row]), answer.metric.unit)})"


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
    who = f"the slowest of {len(rows)}, {device_name(one.subject.device)}: " if len(rows) > 1 else ""
    return replace(one, subject=Subject(one.subject.node), reason=f"{who}{one.reason}")


def _together(table: VerdictTable, answer: JudgedColumn, rows: npt.NDArray[np.intp]) -> Verdict:
    """One verdict for many subjects: the words of the worst of them."""
    one = verdict_of(table, answer, _worst_of(answer, rows))
    reason = answer.said or f"the worst is {one.subject}: {one.reason}"
    return replace(one, subject=Subject(), reason=f"{len(rows)} of {len(answer)} units: {reason}")


def extended(
    answer: JudgedColumn,
    more: Mapping[int, str],
    remedies: Mapping[int, str] | None = None,
    code: FindingCode | None = None,
) -> dict[int, Remark]:
    """Remarks of an answer with something added to the sentences of some rows.

    Args:
        answer: whose rows they are.
        more: row → what is added.
        remedies: row → what to do, where that is more special than what the code says.
        code: what these rows are called from now on; None: as before.
    """
    remarks = dict(answer.remarks)
    for row, text in more.items():
        said = remarks.get(row) or Remark(sentence(answer, row))
        before = "" if code else said.remedy
        remarks[row] = Remark(f"{said.reason}; {text}", (remedies or {}).get(row, before), code or said.code)
    return remarks
