"""What nothing has judged. What no question has answered is owed an answer: it is never part of an acceptance.

Each question by itself may have nothing to say: too few peers, no baseline, no past. Their sum may not:

1. A timed rate on the first page, of a check that the suite requires, is owed where no question has judged it. What all ranks reach
   together (``world``) has no peers; only a suite that requires baselines demands it.
2. A required check on a node is owed whole where nothing of it was judged, inventory included (cores, bytes of memory).
3. Where the like subjects are two groups, each of them is owed, unless other questions fail all of the slower one.
4. Where like subjects differ too much to say who is slow, the coarse floor beneath them decides nothing: it finds a wreck, and was not
   made to accept a fleet that is torn apart. Another question must judge them, or they are owed.
5. Virtual nodes of one kernel disturb each other: where their peers differ too much to say, nothing is owed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.record_table import MEASURED
from hpcaccept.model.verdict import CODE, Outcome, Subject, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.table import MeasuredSubject
    from hpcaccept.model.verdict_table import JudgedColumn

    Bools = npt.NDArray[np.bool_]

_SILENT = CODE[Outcome.NO_BASELINE]
#: Whose missing answer is told: the question whose remedy helps first.
_TELLS = ("baseline", "peers", "history", "limits")


def with_owed(
    answers: Sequence[JudgedColumn],
    evidence: Evidence,
    subjects: Sequence[MeasuredSubject],
    told: Sequence[Verdict],
) -> tuple[list[JudgedColumn], list[Verdict]]:
    """The answers with what is owed marked, and a verdict for each required check on a node of which nothing could be judged at all.

    Args:
        answers: of all questions.
        evidence: of the run.
        subjects: of the table.
        told: verdicts without a value: what they speak of is told already.
    """
    required = {spec.name for spec in evidence.plan.suite.checks if spec.required}
    nodes = {name: number for number, name in enumerate(evidence.nodes)}
    node = np.array([nodes.get(subject.node, -1) for subject in subjects], np.intp)
    by_key: dict[str, list[int]] = {}
    for number, answer in enumerate(answers):
        by_key.setdefault(answer.key, []).append(number)
    owed = {number: _owed_already(answers, number) for number in range(len(answers))}
    judged_on: dict[str, Bools] = {name: np.zeros(len(nodes) + 1, bool) for name in required}
    excused_on = {name: np.zeros(len(nodes) + 1, bool) for name in required}
    for numbers in by_key.values():
        mine = [answers[number] for number in numbers]
        if mine[0].check not in required:
            continue
        judged = _who(mine, len(subjects), silent=False)
        apart = _apart(mine, len(subjects))
        excused = apart & evidence.shared_host
        judged &= ~apart | _who((a for a in mine if a.origin != "floor"), len(subjects), silent=False)
        judged_on[mine[0].check][node[judged]] = True
        excused_on[mine[0].check][node[excused]] = True
        if _must_be_judged(mine[0]):
            _owe(answers, numbers, owed, ~judged & ~excused)
    said = []
    for check in sorted(required):
        unjudged = ~judged_on[check][:-1] & ~excused_on[check][:-1] & _measured_on(check, evidence, nodes)
        for verdict in told:
            if verdict.check == check and verdict.required and verdict.subject.node in nodes:
                unjudged[nodes[verdict.subject.node]] = False
        if not unjudged.any():
            continue
        here = np.append(unjudged, False)[node]
        for numbers in by_key.values():
            if answers[numbers[0]].check == check:
                _owe(answers, numbers, owed, here)
                silent = _who([answers[n] for n in numbers], len(subjects), silent=True)
                unjudged[np.unique(node[silent & here])] = False
        said += [_nothing_judged(check, evidence.nodes[number]) for number in np.flatnonzero(unjudged).tolist()]
    marked = [
        replace(answer, owed=owed[number] if owed[number].any() else None)
        if owed[number].any() or answer.owed is not None
        else answer
        for number, answer in enumerate(answers)
    ]
    return marked, said


def _must_be_judged(answer: JudgedColumn) -> bool:
    metric = answer.metric
    return metric.is_rate and metric.headline and metric.noise == "timed" and metric.scope != "world"


def _owed_already(answers: Sequence[JudgedColumn], number: int) -> Bools:
    """bool[u]: what the answer itself calls owed; two groups no more where other questions fail all of the slower one."""
    answer = answers[number]
    if answer.owed is None:
        return np.zeros(len(answer), bool)
    if answer.code is FindingCode.PEERS_TWO_GROUPS:
        others = (other for other in answers if other is not answer and other.key == answer.key)
        failed = np.concatenate(
            [other.subject[other.outcome == CODE[Outcome.FAIL]] for other in others] or [answer.subject[:0]]
        )
        slow = answer.subject[answer.center == answer.center]
        if np.isin(slow, failed).all():
            return np.zeros(len(answer), bool)
    owed: Bools = answer.owed.copy()
    return owed


def _who(answers: Iterable[JudgedColumn], subjects: int, *, silent: bool) -> Bools:
    """bool[subjects]: who has an answer (an ERROR is one, and counts for itself), or who has one that says nothing."""
    found = np.zeros(subjects, bool)
    for answer in answers:
        found[answer.subject[(answer.outcome == _SILENT) == silent]] = True
    return found


def _apart(answers: Iterable[JudgedColumn], subjects: int) -> Bools:
    """bool[subjects]: whose peers were there, and differed too much."""
    return _who((a for a in answers if a.question == "peers" and not a.said), subjects, silent=True)


def _owe(answers: Sequence[JudgedColumn], numbers: Sequence[int], owed: dict[int, Bools], whom: Bools) -> None:
    """Mark one silent row of each of these subjects."""
    left = whom.copy()
    for number in sorted(numbers, key=lambda number: _TELLS.index(answers[number].question)):
        answer = answers[number]
        rows = (answer.outcome == _SILENT) & left[answer.subject]
        owed[number] |= rows
        left[answer.subject[rows]] = False


def _measured_on(check: str, evidence: Evidence, nodes: dict[str, int]) -> Bools:
    """bool[nodes]: where a rank says that it has measured the check."""
    records = evidence.record_table
    rows = records.of_checks([check]) & ((records.flags & MEASURED) > 0)
    found = np.zeros(len(nodes) + 1, bool)
    found[[nodes.get(records.places[place][0], -1) for place in np.unique(records.place[rows]).tolist()]] = True
    return found[:-1]


def _nothing_judged(check: str, node: str) -> Verdict:
    return Verdict(
        Subject(node),
        check,
        Outcome.NO_BASELINE,
        "measured, and none of its numbers has a limit, a peer or a baseline",
        remedy=f"Give it a limit in the suite (hpcaccept checks explain {check}), or mark it required = false.",
        code=FindingCode.UNJUDGED_CHECK,
    )
