"""How much of what was asked was judged?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.verdict import Verdict


@dataclass(frozen=True)
class Coverage:
    """Judged against asked, counted in checks on nodes.

    Attributes:
        asked: nodes asked for × checks of the suite.
        judged: those with at least one PASS, WARN or FAIL.
        gaps: check → nodes on which it was not judged.
        nodes_asked: how many nodes were asked for.
        nodes_silent: nodes of the job of which nothing was judged.
    """

    asked: int
    judged: int
    gaps: dict[str, tuple[str, ...]]
    nodes_asked: int
    nodes_silent: tuple[str, ...]


def coverage_of(evidence: Evidence, verdicts: Iterable[Verdict]) -> Coverage:
    """Count. A verdict on all nodes together is one of no node in particular and counts for none."""
    judged = {(v.subject.node, v.check) for v in verdicts if v.outcome.is_judged and v.subject.node}
    asked_nodes = evidence.plan.request.nodes
    gaps = {}
    for spec in evidence.plan.suite.checks:
        missing = tuple(node for node in evidence.nodes if (node, spec.name) not in judged)
        missing += tuple("?" for _ in range(asked_nodes - len(evidence.nodes)))
        if missing:
            gaps[spec.name] = missing
    asked = asked_nodes * len(evidence.plan.suite.checks)
    names = {spec.name for spec in evidence.plan.suite.checks}
    known, speaking = frozenset(evidence.nodes), {node for node, _ in judged}
    done = sum(1 for node, check in judged if check in names and node in known)
    silent = tuple(node for node in evidence.nodes if node not in speaking)
    return Coverage(asked, done, gaps, asked_nodes, silent)
