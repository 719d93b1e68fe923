"""The fleets of docs/explanation/isolation.md, those of the goals first, and how many of each are made."""

from __future__ import annotations

import math

from hpcaccept.simulate.isolation.rivals import RIVALS
from hpcaccept.simulate.isolation.score import OURS, Cell
from hpcaccept.simulate.isolation.world import Noise

USUAL, EVEN_5, EVEN_2 = Noise(0.02, 0.05), Noise(0.05, 0.05), Noise(0.02, 0.02)
FAST = (OURS, *(name for name in RIVALS if name != "all pairs"))
ALL = (OURS, *RIVALS)

#: (cell, fleets, methods, what the goal was; empty: none was set).
CELLS: list[tuple[Cell, int, tuple[str, ...], str]] = [
    (Cell("nothing", noise=USUAL), 200, FAST, "≤ 10 tests, ≤ 3 rounds, false blame ≤ 1 %"),
    (Cell("1 bad node", count=1, noise=USUAL), 200, FAST, "≤ 18 tests, ≤ 5 rounds, right ≥ 95 %"),
    (Cell("3 bad nodes", count=3, noise=USUAL), 200, FAST, "≤ 38 tests, ≤ 6 rounds, right ≥ 95 %"),
    (Cell("5 bad nodes", count=5, noise=USUAL), 200, FAST, "≤ 53 tests, ≤ 7 rounds, right ≥ 95 %"),
    (Cell("5 bad nodes, 5 % of tests wrong", count=5, noise=EVEN_5), 200, FAST, "≤ 60 tests, ≤ 8 rounds, right ≥ 95 %"),
    (Cell("3 nodes 5 % slow", count=3, loss=0.05, noise=Noise(0.001, 0.001, value=0.01)), 200, FAST, "≤ 7 rounds, 100 % named, ≤ 0.05 % false"),
    (Cell("3 nodes 3 % slow", count=3, loss=0.03, noise=Noise(0.001, 0.001, value=0.01)), 200, FAST, "≤ 9 rounds, ≥ 90 % named, ≤ 0.05 % false"),
    (Cell("a leaf pair of 16 leaves", kind="leaf_pair", leaves=16, noise=USUAL), 60, (OURS,), "≤ 17 rounds"),
    (Cell("a link", kind="link", noise=USUAL), 60, (OURS,), "right ≥ 95 %"),
    (Cell("fails from 64 nodes on", kind="scale", size=64, noise=USUAL), 60, (OURS,), "smallest failing set ≤ 128, ≥ 95 %"),
    *((Cell(f"{count} bad of 16", nodes=16, count=count, noise=USUAL), 200, ALL, "") for count in (0, 1, 3)),
    *((Cell(f"{count} bad of 64", nodes=64, count=count, noise=USUAL), 100, FAST, "") for count in (0, 1, 3, 5)),
    *((Cell(f"{count} bad of 1,024", nodes=1024, count=count, noise=USUAL), 40, FAST, "") for count in (0, 1, 3)),
    *((Cell(f"{count} bad of 4,096", nodes=4096, count=count, noise=USUAL), 10, (OURS,), "") for count in (0, 1, 3)),
    (Cell("3 bad nodes, no noise", count=3), 100, FAST, ""),
    (Cell("3 bad nodes, 2 % of tests wrong", count=3, noise=EVEN_2), 100, FAST, ""),
    (Cell("1 node that fails 30 % of its tests", count=1, noise=Noise(0.02, 0.0, flaky=0.3)), 100, FAST, ""),
    (Cell("1 bad node, each tenth round loaded", count=1, noise=Noise(0.02, 0.05, loaded=0.1)), 100, FAST, ""),
    (Cell("12 bad nodes (5 %), 1 % expected", count=12, noise=USUAL), 40, FAST, ""),
    (Cell("10 bad nodes", count=10, noise=USUAL), 40, FAST, ""),
    (Cell("3 nodes 10 % slow", count=3, loss=0.1, noise=Noise(0.001, 0.001, value=0.01)), 100, FAST, ""),
    (Cell("10 nodes of 1,024 3 % slow", nodes=1024, count=10, loss=0.03, noise=Noise(0.001, 0.001, value=0.01)), 10, FAST, "≥ 90 % named, ≤ 0.05 % false"),
    (Cell("10 nodes of 4,096 3 % slow", nodes=4096, count=10, loss=0.03, noise=Noise(0.001, 0.001, value=0.01)), 3, FAST, "≥ 90 % named, ≤ 0.05 % false"),
]  # fmt: skip


def bound_of(cell: Cell) -> float:
    """Fewest tests that any adaptive search can do with on average, by what one test says at most (Shannon); NaN: not of this kind."""
    false, missed = cell.noise.false_fail, cell.noise.missed
    if cell.kind != "node" or not cell.count or cell.noise.value or cell.noise.flaky < 1 or cell.noise.loaded:
        return math.nan
    most = max(_said(chance / 1000, false, missed) for chance in range(1, 1000))
    return math.log2(math.comb(cell.nodes, cell.count)) / most


def _said(chance: float, false: float, missed: float) -> float:
    fails = chance * (1 - missed) + (1 - chance) * false
    return _entropy(fails) - chance * _entropy(missed) - (1 - chance) * _entropy(false)


def _entropy(share: float) -> float:
    return 0.0 if share <= 0 or share >= 1 else -share * math.log2(share) - (1 - share) * math.log2(1 - share)
