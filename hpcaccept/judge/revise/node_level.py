"""Decides whether the GPU or the node is slow. The neighbours on the node explain what the fleet has judged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcaccept.judge.verdict_text import extended
from hpcaccept.model.verdict import CODE, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcaccept.judge.statistics.grouping import Alike
    from hpcaccept.model.verdict_table import JudgedColumn

#: So many like subjects on a node can tell whether one of them is the odd one.
ENOUGH_NEIGHBOURS = 4
BLAMED = (CODE[Outcome.WARN], CODE[Outcome.FAIL])


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """The like subjects of one node on which somebody is slow.

    Attributes:
        rows: of the answer, all of the node.
        slow: those that are blamed.
    """

    rows: npt.NDArray[np.intp]
    slow: npt.NDArray[np.intp]

    @property
    def is_the_node(self) -> bool:
        """True when all are slow: what they share is at fault."""
        return len(self.slow) == len(self.rows)


def neighbourhoods(answer: JudgedColumn, alike: Alike) -> Iterator[Neighbourhood]:
    """Every node with enough like subjects of which at least one is blamed by its peers of the fleet."""
    blamed = np.isin(answer.outcome, BLAMED)
    if answer.question != "peers" or not blamed.any():
        return
    node = alike.node[answer.subject]
    rows = np.flatnonzero(np.isin(node, node[blamed]))
    rows = rows[np.argsort(node[rows], kind="stable")]
    for mine in np.split(rows, np.flatnonzero(np.diff(node[rows])) + 1):
        if len(mine) >= ENOUGH_NEIGHBOURS:
            yield Neighbourhood(mine, mine[blamed[mine]])


def explained(answer: JudgedColumn, alike: Alike) -> JudgedColumn:
    """The answer; whoever is blamed is told beside its neighbours."""
    texts: dict[int, str] = {}
    for there in neighbourhoods(answer, alike):
        for row in there.slow.tolist():
            texts[row] = _beside(answer, there, row)
    return replace(answer, remarks=extended(answer, texts)) if texts else answer


def _beside(answer: JudgedColumn, there: Neighbourhood, row: int) -> str:
    count = len(there.rows)
    if there.is_the_node:
        return f"all {count} on the node are slow: look at what they share"
    if len(there.slow) > 1:
        return f"{len(there.slow)} of {count} on the node are slow"
    middle = float(np.median(answer.value[there.rows[there.rows != row]]))
    return f"{(float(answer.value[row]) / middle - 1) * 100:+.1f} % of its {count - 1} neighbours on the node"
