"""How others search for bad nodes, written anew from their descriptions; only the structure of their rounds is theirs.

Values become pass or fail by the same cut for all of them: four robust widths of the round, and at least 2 %.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.simulate.isolation.ours import Found
from hpcaccept.simulate.isolation.world import ran

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.simulate.isolation.world import World

_WIDTHS, _FLOOR = 4.0, 0.02
#: Nodes of a group in the first round of the staged search.
_STAGE = 16


class _Bench:
    """A fleet, and a count of what its tests cost."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self.world, self.rng = world, rng
        self.tests = self.rounds = self.node_tests = 0

    def run(self, groups: list[list[int]]) -> list[bool]:
        """One round of groups without a common node: which failed."""
        self.tests += len(groups)
        self.rounds += 1
        self.node_tests += sum(len(group) for group in groups)
        shown = ran(self.world, groups, self.rng)
        values = np.array([value for _, value in shown])
        middle = float(np.nanmedian(values)) if np.isfinite(values).any() else math.nan
        width = float(np.nanmedian(np.abs(values - middle))) if math.isfinite(middle) else 0.0
        cut = middle * (1 - max(_WIDTHS * 1.4826 * width / middle, _FLOOR)) if math.isfinite(middle) else math.nan
        return [failed or value < cut for failed, value in shown]

    def found(self, nodes: set[int]) -> Found:
        """The blamed nodes with what they have cost."""
        return Found(frozenset(nodes), tests=self.tests, rounds=self.rounds, node_tests=self.node_tests)


def _matching(bench: _Bench) -> list[list[int]]:
    order = bench.rng.permutation(bench.world.nodes).tolist()
    pairs = [order[place : place + 2] for place in range(0, len(order) - 1, 2)]
    if len(order) % 2:
        pairs[-1].append(order[-1])
    return pairs


def one_matching(world: World, rng: np.random.Generator) -> Found:
    """Pairs once; both ends of a bad pair are blamed (gcm, quick)."""
    bench = _Bench(world, rng)
    pairs = _matching(bench)
    return bench.found({node for pair, failed in zip(pairs, bench.run(pairs), strict=True) if failed for node in pair})


def matching_and_good(world: World, rng: np.random.Generator) -> Found:
    """Pairs once, then each suspect with a node that passed (Cluster Health Scanner)."""
    bench = _Bench(world, rng)
    pairs = _matching(bench)
    failed = bench.run(pairs)
    suspects = [node for pair, bad in zip(pairs, failed, strict=True) if bad for node in pair]
    good = [node for pair, bad in zip(pairs, failed, strict=True) if not bad for node in pair]
    return bench.found(_with_good(bench, suspects, good))


def _with_good(bench: _Bench, suspects: list[int], good: list[int]) -> set[int]:
    """Suspects that fail with a partner of those that passed, in as many rounds as the partners need."""
    blamed: set[int] = set()
    if not good:
        return set(suspects)
    for start in range(0, len(suspects), len(good)):
        part = suspects[start : start + len(good)]
        shown = bench.run([[node, partner] for node, partner in zip(part, good, strict=False)])
        blamed.update(node for node, bad in zip(part, shown, strict=True) if bad)
    return blamed


def fifteen_matchings(world: World, rng: np.random.Generator) -> Found:
    """Fifteen random matchings; who passes in less than half of them is blamed (imbue)."""
    bench = _Bench(world, rng)
    passed = np.zeros(world.nodes)
    for _ in range(15):
        pairs = _matching(bench)
        for pair, failed in zip(pairs, bench.run(pairs), strict=True):
            passed[pair] += not failed
    return bench.found(set(np.flatnonzero(passed < 7.5).tolist()))


def halving(world: World, rng: np.random.Generator) -> Found:
    """All together, then both halves of what failed, down to single nodes with one that passed."""
    bench = _Bench(world, rng)
    open_groups = [rng.permutation(world.nodes).tolist()]
    passed: list[int] = []
    singles: list[int] = []
    while open_groups:
        shown = bench.run(open_groups)
        halves: list[list[int]] = []
        for group, failed in zip(open_groups, shown, strict=True):
            if not failed:
                passed += group
            elif len(group) <= 2:
                singles += group
            else:
                halves += [group[: len(group) // 2], group[len(group) // 2 :]]
        open_groups = [half for half in halves if len(half) > 1]
        singles += [half[0] for half in halves if len(half) == 1]
    return bench.found(_with_good(bench, singles, passed))


def all_pairs(world: World, rng: np.random.Generator) -> Found:
    """Every pair once, by the circle method; who passes in less than half of its pairs is blamed (gcm, pairwise)."""
    bench = _Bench(world, rng)
    count = world.nodes + world.nodes % 2
    order = rng.permutation(count).tolist()
    passed, tried = np.zeros(count), np.zeros(count)
    for turn in range(count - 1):
        around = [order[0], *order[1 + turn :], *order[1 : 1 + turn]]
        pairs = [[around[place], around[count - 1 - place]] for place in range(count // 2)]
        pairs = [pair for pair in pairs if max(pair) < world.nodes]
        for pair, failed in zip(pairs, bench.run(pairs), strict=True):
            passed[pair] += not failed
            tried[pair] += 1
    return bench.found(set(np.flatnonzero(passed[: world.nodes] < 0.5 * tried[: world.nodes]).tolist()))


def stages(world: World, rng: np.random.Generator) -> Found:
    """Groups of 16, groups across their boundaries, then halves of what failed down to single nodes with one that passed.

    Cluster Readiness Engine, as far as its design record tells: groups, a stage across boundaries, halving.
    """
    bench = _Bench(world, rng)
    order = rng.permutation(world.nodes).tolist()
    size = min(_STAGE, max(2, world.nodes // 2))
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    groups = [*groups[:-2], groups[-2] + groups[-1]] if len(groups[-1]) < 2 else groups
    shown = bench.run(groups)
    failed = [group for group, bad in zip(groups, shown, strict=True) if bad]
    passed = [group for group, bad in zip(groups, shown, strict=True) if not bad]
    good = [node for group in passed for node in group]
    shift = size // 2
    across = [good[start : start + size] for start in range(shift, len(good) - size, size)]
    if across:
        failed += [group for group, bad in zip(across, bench.run(across), strict=True) if bad]
    singles: list[int] = []
    while failed:
        halves = [half for group in failed for half in (group[: len(group) // 2], group[len(group) // 2 :])]
        singles += [half[0] for half in halves if len(half) == 1]
        halves = [half for half in halves if len(half) > 1]
        failed = [half for half, bad in zip(halves, bench.run(halves), strict=True) if bad] if halves else []
    bad_ones = set(singles)
    return bench.found(_with_good(bench, sorted(bad_ones), [node for node in good if node not in bad_ones]))


#: Name → method.
RIVALS: dict[str, Callable[[World, np.random.Generator], Found]] = {
    "one matching": one_matching,
    "matching, then known good": matching_and_good,
    "15 matchings": fifteen_matchings,
    "halving": halving,
    "stages": stages,
    "all pairs": all_pairs,
}
