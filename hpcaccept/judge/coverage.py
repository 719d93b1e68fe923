"""How much of what was asked was judged?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.statistics.grouping import numbered
from hpcaccept.model.verdict import CODE, Outcome

if TYPE_CHECKING:
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.verdict_table import VerdictTable


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


def coverage_of(evidence: Evidence, table: VerdictTable) -> Coverage:
    """Count. A verdict on all nodes together is one of no node in particular and counts for none."""
    number = {node: i for i, node in enumerate(evidence.nodes)}
    # The node of each subject; the last column is for subjects of no node of the job.
    nodes, of = numbered([subject.node for subject in table.subjects])
    node = np.array([number.get(name, len(number)) for name in nodes], np.intp)[of]
    spoken: dict[str, np.ndarray] = {}
    for answer in table.answers:
        mine = spoken.setdefault(answer.check, np.zeros(len(number) + 1, bool))
        mine[node[answer.subject[answer.outcome <= CODE[Outcome.FAIL]]]] = True
    asked_nodes = evidence.plan.request.nodes
    names = [spec.name for spec in evidence.plan.suite.checks]
    gaps: dict[str, tuple[str, ...]] = {}
    judged = 0
    nothing = np.zeros(len(number) + 1, bool)
    for name in names:
        mine = spoken.get(name, nothing)[:-1]
        missing = tuple(evidence.nodes[i] for i in np.flatnonzero(~mine).tolist())
        missing += ("?",) * (asked_nodes - len(evidence.nodes))
        if missing:
            gaps[name] = missing
    judged = sum(int(spoken[name][:-1].sum()) for name in dict.fromkeys(names) if name in spoken)
    heard = np.logical_or.reduce([nothing, *spoken.values()])[:-1]
    silent = tuple(evidence.nodes[i] for i in np.flatnonzero(~heard).tolist())
    return Coverage(asked_nodes * len(names), judged, gaps, asked_nodes, silent)
