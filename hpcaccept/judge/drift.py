"""Do nodes differ in what should be the same (driver, kernel, torch …)? The majority is right until shown otherwise."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hpcaccept.model.metric import at_most
from hpcaccept.model.verdict import Outcome, Subject, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcaccept.model.evidence import Evidence

_LIMIT = at_most(0, "differences", "software and hardware of one run should be alike")


def judge_drift(evidence: Evidence, unique_facts: frozenset[str]) -> Iterable[Verdict]:
    """PASS for a node that agrees with the majority in every fact, WARN for each fact in which it does not."""
    facts: dict[str, dict[str, str]] = {}
    for record in evidence.records:
        if record.check.partition(":")[0] == "identity" and record.outcome == "measured":
            mine = {key: text for key, text in record.facts.items() if key not in unique_facts}
            facts.setdefault(record.node, {}).update(mine)
    if len(facts) < 2:
        return
    names = sorted({name for mine in facts.values() for name in mine})
    majority = {name: Counter(mine.get(name, "") for mine in facts.values()).most_common(1)[0] for name in names}
    for node, mine in facts.items():
        odd = [name for name in names if mine.get(name, "") != majority[name][0]]
        for name in odd:
            usual, count = majority[name]
            reason = f"{name} is {mine.get(name) or 'absent'!r}, {count} of {len(facts)} nodes have {usual or 'none'!r}"
            yield _verdict(node, name, 1.0, Outcome.WARN, reason)
        if not odd:
            yield _verdict(
                node, "", 0.0, Outcome.PASS, f"agrees with the majority of {len(facts)} nodes in {len(names)} facts"
            )


def _verdict(node: str, name: str, value: float, outcome: Outcome, reason: str) -> Verdict:
    remedy = f"Bring {name} to the version of the other nodes." if name else ""
    return Verdict(Subject(node), "identity", outcome, reason, "drift", name, value, "differences", _LIMIT, remedy)
