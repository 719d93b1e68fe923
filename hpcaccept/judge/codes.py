"""The code of the finding of a row. It follows from the question, its outcome, and the metric; never from a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.verdict import OUTCOMES, Outcome, Question

if TYPE_CHECKING:
    from hpcaccept.model.verdict_table import JudgedColumn

_CODES: dict[tuple[Question, Outcome], FindingCode] = {
    ("limits", Outcome.FAIL): FindingCode.LIMIT_MISSED,
    ("limits", Outcome.WARN): FindingCode.LIMIT_MISSED,
    ("peers", Outcome.FAIL): FindingCode.PEERS_SLOW,
    ("peers", Outcome.WARN): FindingCode.PEERS_SLOWER,
    ("peers", Outcome.ERROR): FindingCode.PEERS_NO_RATE,
    ("peers", Outcome.NO_BASELINE): FindingCode.PEERS_APART,
    ("baseline", Outcome.FAIL): FindingCode.BASELINE_BELOW,
    ("baseline", Outcome.WARN): FindingCode.DRAFT_BELOW,
    ("baseline", Outcome.NO_BASELINE): FindingCode.BASELINE_UNFIT,
    ("history", Outcome.FAIL): FindingCode.PAST_SLOW,
    ("history", Outcome.WARN): FindingCode.PAST_SLOWER,
    ("history", Outcome.NO_BASELINE): FindingCode.PAST_APART,
}


def code_of(answer: JudgedColumn, row: int) -> FindingCode | None:
    """The code of one row; None of a PASS.

    Raises:
        KeyError: nothing is known of such an outcome of this question, and the row brings no code of its own.
    """
    outcome = OUTCOMES[answer.outcome[row]]
    if outcome is Outcome.PASS:
        return None
    remark = answer.remarks.get(row)
    if remark is not None and remark.code is not None:
        return remark.code
    if answer.code is not None and not outcome.is_judged:
        return answer.code
    if outcome is Outcome.NO_BASELINE and answer.owed is not None and answer.owed[row]:
        return FindingCode.UNJUDGED_RATE
    return _special(answer, outcome) or _CODES[answer.question, outcome]


def _special(answer: JudgedColumn, outcome: Outcome) -> FindingCode | None:
    """The code where the metric, the limit or the lack of a comparison says more than the question."""
    if answer.question == "limits":
        return FindingCode.FLOOR_BELOW if answer.origin == "floor" else answer.metric.code
    if outcome is Outcome.NO_BASELINE and answer.said:
        few = FindingCode.PEERS_FEW if answer.question == "peers" else None
        return FindingCode.BASELINE_NONE if answer.unknown_model else few
    if answer.question == "peers" and answer.metric.noise == "counted" and outcome.is_judged:
        return FindingCode.PEERS_FEWER
    return None
