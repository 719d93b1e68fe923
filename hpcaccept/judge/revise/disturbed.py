"""Whether a slow subject was slow by itself. What somebody else was using cannot be blamed for its speed; wrong results still can.

Records say so with facts:

* ``DISTURBED``: somebody else holds the device (``health``: a process of a former user is still on the GPU). Whatever falls short on it
  is an ERROR: the device has to be cleared.
* ``CONTENDED``: other programs ran on the processors of the host while this check was measured (``measure.host.contention``), or the rank
  was stopped for a while. What fell short meanwhile is undecided, unless it lost more than such company can cost (``COMPANY_COST``). A
  launch without company decides: the record of a check is that of its last launch.
* ``CPU_QUOTA``: the CPU quota of a control group had run out meanwhile. That belongs to the node, and is said beside the blame.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.verdict_text import extended
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.record import COMPANY_COST, CONTENDED, CPU_QUOTA, DISTURBED, STOPPED
from hpcaccept.model.record_table import HAS_QUOTA, IS_CONTENDED, IS_DISTURBED
from hpcaccept.model.verdict import CODE, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.verdict_table import JudgedColumn

    #: (node, device, check) → why, and the largest share of a rate that it can have cost; the device is empty for the node, the node for all ranks together, the check for all checks.
    Reasons = Mapping[tuple[str, str, str], tuple[str, float]]

_BLAMES = (CODE[Outcome.WARN], CODE[Outcome.FAIL])


def without_disturbed(answers: Iterable[JudgedColumn], evidence: Evidence) -> Iterator[JudgedColumn]:
    """The answers; a speed that falls short on a disturbed device is an ERROR with the reason, no FAIL or WARN."""
    by = _reasons(evidence, IS_DISTURBED, DISTURBED, of_check=False)
    for answer in answers:
        if not answer.metric.is_speed:
            yield answer
            continue
        why = {row: f"not blamed on it: {reason}" for row, reason in _blamed(answer, evidence, by)}
        yield _instead(answer, Outcome.ERROR, why, FindingCode.DISTURBED)


def without_contended(answers: Iterable[JudgedColumn], evidence: Evidence) -> Iterator[JudgedColumn]:
    """The answers; a speed that falls short while others used the processors is undecided, and a quota is told beside the blame."""
    contended = _reasons(evidence, IS_CONTENDED, CONTENDED, of_check=True)
    throttled = _reasons(evidence, HAS_QUOTA, CPU_QUOTA, of_check=True)
    for answer in answers:
        if not answer.metric.is_speed:
            yield answer
            continue
        why = {row: f"undecided: {reason}" for row, reason in _blamed(answer, evidence, contended)}
        answer = _instead(answer, Outcome.NO_BASELINE, why, FindingCode.OTHERS_RAN)
        if why and not evidence.shared_host:
            # Another question may have passed it, at a tenth of what the part can do; that decides nothing of what fell short here.
            owed = np.zeros(len(answer), bool) if answer.owed is None else answer.owed.copy()
            owed[list(why)] = True
            answer = replace(answer, owed=owed)
        quotas = dict(_blamed(answer, evidence, throttled))
        if quotas:
            fails = {row: why for row, why in quotas.items() if answer.outcome[row] == CODE[Outcome.FAIL]}
            answer = replace(answer, remarks=extended(answer, fails, code=FindingCode.CPU_QUOTA))
            # What a WARN is called says more: a draft, one launch only.
            rest = {row: why for row, why in quotas.items() if row not in fails}
            answer = replace(answer, remarks=extended(answer, rest))
        yield answer


def note_of_company(evidence: Evidence) -> tuple[str, ...]:
    """On how many nodes other programs ran, with the first as an example: nothing, or one note."""
    reasons = _reasons(evidence, IS_CONTENDED, CONTENDED, of_check=True)
    contended = {place: why for place, why in reasons.items() if STOPPED not in why[0]}
    nodes = {node for node, _, _ in contended if node}
    if not nodes:
        return ()
    (node, _, check), (why, _) = next((place, why) for place, why in contended.items() if place[0])
    many = f"Other programs ran on {len(nodes)} of {len(evidence.nodes)} nodes while they were measured."
    return (f"{many} {node}: {why} ({check}).",)


def _reasons(evidence: Evidence, bit: int, fact: str, *, of_check: bool) -> Reasons:
    records = evidence.record_table
    found: dict[tuple[str, str, str], tuple[str, float]] = {}
    for record in records.rows((records.flags & bit) > 0):
        check, why = record.check if of_check else "", record.facts[fact]
        cost = _cost(record.facts.get(COMPANY_COST, "")) if fact == CONTENDED else 1.0
        found[record.node, record.device, check] = found[record.node, "", check] = (why, cost)
        if of_check:
            # What all ranks reach together is as good as the company that one of them had.
            found.setdefault(("", "", check), (f"{record.node}: {why}", cost))
    return found


def _blamed(answer: JudgedColumn, evidence: Evidence, by: Reasons) -> Iterator[tuple[int, str]]:
    """Rows that are blamed for something that has another reason, and the reason."""
    if not by:
        return
    subjects = evidence.samples.subjects
    for row in np.flatnonzero(np.isin(answer.outcome, _BLAMES)).tolist():
        subject = subjects[answer.subject[row]]
        for check in (answer.check, ""):
            reason, cost = by.get((subject.node, subject.device, check), ("", 0.0))
            if reason and _lost(answer, row) <= cost:
                yield row, reason
                break


def _cost(text: str) -> float:
    """The share that a rank tells; all of it where it tells none, or something else: then nobody knows."""
    try:
        return float(text)
    except ValueError:
        return 1.0


def _lost(answer: JudgedColumn, row: int) -> float:
    """Share of its rate that a row has lost: against what it was compared with, or the limit that it missed."""
    value, lower, upper, center = (float(c[row]) for c in (answer.value, answer.lower, answer.upper, answer.center))
    higher = answer.metric.direction == "higher"
    usual = center if center == center else lower if higher else upper
    best, worst = (usual, value) if higher else (value, usual)
    return 1 - worst / best if best > 0 else 0.0


def _instead(answer: JudgedColumn, outcome: Outcome, why: Mapping[int, str], code: FindingCode) -> JudgedColumn:
    """The answer with another outcome in some rows; what is not judged by it has no limit."""
    if not why:
        return answer
    rows = list(why)
    outcomes = answer.outcome.copy()
    outcomes[rows] = CODE[outcome]
    lower, upper = answer.lower.copy(), answer.upper.copy()
    if outcome is Outcome.NO_BASELINE:
        lower[rows] = upper[rows] = np.nan
    remarks = extended(answer, why, code=code)
    return replace(answer, outcome=outcomes, lower=lower, upper=upper, remarks=remarks)
