"""Finds nodes that differ in what should be the same (driver, kernel, torch …). The majority is right until shown otherwise."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.identities import identities
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.record import OF_THE_HOUR
from hpcaccept.model.table import MeasuredSubject
from hpcaccept.model.verdict import CODE, Outcome
from hpcaccept.model.verdict_table import JudgedColumn, Remark

if TYPE_CHECKING:
    from hpcaccept.model.evidence import Evidence

_LIMIT = at_most(0, "differences", "software and hardware of one run should be the same")
_DRIFT = Metric("drift", "differences", "lower", "Facts in which a node differs from most.", scope="node", limit=_LIMIT)


def judge_drift(
    evidence: Evidence, unique_facts: frozenset[str], first: int
) -> tuple[list[JudgedColumn], tuple[MeasuredSubject, ...]]:
    """PASS for a node that agrees with the majority in every fact, WARN for each fact in which it does not.

    Where no text of a fact has more nodes than every other, nobody knows who is the odd one: one WARN on all nodes together.

    Args:
        evidence: of one run.
        unique_facts: that differ between healthy nodes by nature.
        first: index that the first of the nodes will have among the subjects of the table.

    Returns:
        The answers, and the nodes they speak of.
    """
    facts: dict[str, dict[str, str]] = {}
    for record in identities(evidence):
        mine = {key: text for key, text in record.facts.items() if key not in unique_facts | OF_THE_HOUR}
        facts.setdefault(record.node, {}).update(mine)
    if len(facts) < 2:
        return [], ()
    names = sorted({name for mine in facts.values() for name in mine})
    counts = {name: Counter(mine.get(name, "") for mine in facts.values()).most_common(3) for name in names}
    ties = {name: found for name, found in counts.items() if len(found) > 1 and found[0][1] == found[1][1]}
    majority = {name: found[0] for name, found in counts.items() if name not in ties}
    good: list[int] = []
    odd: dict[str, dict[int, Remark]] = {}
    for number, mine in enumerate(facts.values(), start=first):
        differing = [name for name, (usual, _) in majority.items() if mine.get(name, "") != usual]
        for name in differing:
            usual, count = majority[name]
            reason = f"{name} is {mine.get(name) or 'absent'!r}, {count} of {len(facts)} nodes have {usual or 'none'!r}"
            remedy = f"Make {name} what it is on the other nodes, or test these nodes apart."
            odd.setdefault(name, {})[number] = Remark(reason, remedy, FindingCode.DRIFT)
        if not differing:
            good.append(number)
    agreed = f"agrees with the majority of {len(facts)} nodes in {len(names)} facts"
    answers = [_answer("identity.drift", Outcome.PASS, good, agreed, {})] if good else []
    answers += [
        _answer(f"identity.drift[{name}]", Outcome.WARN, list(found), "", dict(enumerate(found.values())))
        for name, found in odd.items()
    ]
    nodes = [MeasuredSubject(node, "") for node in facts]
    everybody = first + len(nodes)
    answers += [
        _answer(f"identity.drift[{name}]", Outcome.WARN, [everybody], "", {0: _of_a_tie(name, found)})
        for name, found in ties.items()
    ]
    return answers, (*nodes, *([MeasuredSubject("", "")] if ties else []))


def _of_a_tie(name: str, found: list[tuple[str, int]]) -> Remark:
    """What is said where nobody is in the majority."""
    said = ", ".join(f"{text or 'none'!r} on {count}" for text, count in found)
    return Remark(
        f"{name} differs, and no text of it has the majority: {said}",
        f"Make {name} the same everywhere, or test these nodes apart.",
        FindingCode.DRIFT_TIE,
    )


def _answer(key: str, outcome: Outcome, subjects: list[int], said: str, remarks: dict[int, Remark]) -> JudgedColumn:
    none = np.full(len(subjects), np.nan)
    return JudgedColumn(
        question="limits",
        key=key,
        metric=_DRIFT,
        origin=_LIMIT.origin,
        subject=np.asarray(subjects, np.int32),
        outcome=np.full(len(subjects), CODE[outcome], np.int8),
        value=np.full(len(subjects), 0.0 if outcome is Outcome.PASS else 1.0),
        lower=none,
        upper=np.zeros(len(subjects)),
        center=none,
        source=_LIMIT.source,
        said=said,
        remarks=remarks,
    )
