"""How much of what was requested was judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.statistics.grouping import numbered
from hpcaccept.model.verdict import CODE, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.verdict import Verdict
    from hpcaccept.model.verdict_table import VerdictTable


@dataclass(frozen=True)
class Coverage:
    """Judged against asked, counted in checks on nodes.

    Attributes:
        asked: nodes asked for × checks of the suite.
        judged: those of which something was judged, and everything that had to be.
        gaps: check → nodes on which it was not, or not all of it; ``?`` for each node without a name.
        nodes_asked: how many nodes were asked for.
        nodes_silent: nodes of the job of which nothing was judged.
    """

    asked: int
    judged: int
    gaps: dict[str, tuple[str, ...]]
    nodes_asked: int
    nodes_silent: tuple[str, ...]

    @property
    def percent(self) -> int:
        """Whole percent, rounded down: 2,046 of 2,048 are 99 %."""
        return 100 * self.judged // self.asked if self.asked else 0


def coverage_of(evidence: Evidence, table: VerdictTable, said: Iterable[Verdict]) -> Coverage:
    """Count. A verdict on all nodes together is one of no node in particular and counts for none.

    One GPU of eight, or one metric of ten, does not stand for a check: what should have been judged there, and was not, is a gap.
    """
    number = {node: i for i, node in enumerate(evidence.nodes)}
    # The node of each subject; the last column is for subjects of no node of the job.
    nodes, of = numbered([subject.node for subject in table.subjects])
    node = np.array([number.get(name, len(number)) for name in nodes], np.intp)[of]
    nothing = np.zeros(len(number) + 1, bool)
    spoken: dict[str, np.ndarray] = {}
    lacking: dict[str, np.ndarray] = {}
    of_key: dict[str, np.ndarray] = {}
    for answer in table.answers:
        subject = answer.subject[answer.outcome <= CODE[Outcome.FAIL]]
        spoken.setdefault(answer.check, nothing.copy())[node[subject]] = True
        of_key.setdefault(answer.key, np.zeros(len(node), bool))[subject] = True
    for answer in table.answers:
        # What one question could not answer is no gap where another could.
        lacks = answer.demanded & ~of_key[answer.key][answer.subject]
        if answer.owed is not None:
            lacks |= answer.owed
        unjudged = answer.subject[lacks]
        lacking.setdefault(answer.check, nothing.copy())[node[unjudged]] = True
    for verdict in said:
        if verdict.required and not verdict.outcome.is_judged:
            lacking.setdefault(verdict.check, nothing.copy())[number.get(verdict.subject.node, len(number))] = True
    asked_nodes = evidence.plan.request.nodes
    names = list(dict.fromkeys(spec.name for spec in evidence.plan.suite.checks))
    gaps: dict[str, tuple[str, ...]] = {}
    judged_all = 0
    for name in names:
        whole = (spoken.get(name, nothing) & ~lacking.get(name, nothing))[:-1]
        judged_all += int(whole.sum())
        missing = tuple(evidence.nodes[i] for i in np.flatnonzero(~whole).tolist())
        missing += ("?",) * (asked_nodes - len(evidence.nodes))
        if missing:
            gaps[name] = missing
    heard = np.logical_or.reduce([nothing, *spoken.values()])[:-1]
    silent = tuple(evidence.nodes[i] for i in np.flatnonzero(~heard).tolist())
    return Coverage(asked_nodes * len(names), judged_all, gaps, asked_nodes, silent)
