"""How often exactly the fault is named, how often somebody else, and what that cost."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcaccept.model.isolation import IsolationSettings
from hpcaccept.simulate.isolation.ours import Found, isolate
from hpcaccept.simulate.isolation.rivals import RIVALS
from hpcaccept.simulate.isolation.world import Noise, World, made
from hpcaccept.simulate.score import wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

#: How our own row is named.
OURS = "hpcaccept"
#: A rate of zero is no rate: what is known of a test is never better than this.
_LEAST = 0.001


@dataclass(frozen=True)
class Cell:
    """One kind of fleet.

    Attributes:
        name: of the row.
        nodes: of the fleet.
        kind: of the fault: ``node``, ``link``, ``leaf_pair`` or ``scale``.
        count: bad nodes.
        loss: their relative slow-down; NaN: they fail.
        noise: of the tests.
        leaves: leaves; 0: unknown.
        size: from which on everything fails.
        share: bad nodes that the method expects.
        until: posterior that it asks for.
    """

    name: str
    nodes: int = 232
    kind: str = "node"
    count: int = 0
    loss: float = math.nan
    noise: Noise = field(default_factory=Noise)
    leaves: int = 0
    size: int = 0
    share: float = 0.01
    until: float = 0.95

    def settings(self) -> IsolationSettings:
        """What the method knows of the tests."""
        return IsolationSettings(
            until=self.until,
            false_fail_rate=max(_LEAST, self.noise.false_fail),
            miss_rate=max(_LEAST, self.noise.missed),
            bad_share=self.share,
            values=self.noise.value > 0,
            noise=self.noise.value or 0.01,
        )


def measured(cell: Cell, trials: int, methods: Sequence[str], seed: int = 1) -> dict[str, dict[str, Any]]:
    """Method → its numbers, of the same fleets for all methods.

    Args:
        cell: kind of fleet.
        trials: fleets.
        methods: names; ``OURS`` and those of ``RIVALS``.
        seed: the same gives the same.
    """
    found: dict[str, list[tuple[World, Found]]] = {name: [] for name in methods}
    for trial in range(trials):
        places = np.random.default_rng([seed, trial])
        world = made(cell.nodes, cell.kind, cell.count, cell.loss, cell.noise, places, cell.leaves, cell.size)
        for name in methods:
            rng = np.random.default_rng([seed, trial, 1])
            if name == OURS:
                one = isolate(world, cell.settings(), rng, from_failed_run=cell.kind != "node")
            else:
                one = RIVALS[name](world, rng)
            found[name].append((world, one))
    return {name: _numbers(pairs) for name, pairs in found.items()}


def is_right(world: World, found: Found) -> bool:
    """Whether exactly what is broken was named, and of a size at most twice too large."""
    if set(world.bad) != found.nodes:
        return False
    if world.link:
        names = tuple(world.names[node] for node in world.link)
        return [(one.kind, one.where) for one in found.faults] == [("link", names)]
    if world.leaf_pair:
        names = tuple(f"leaf{leaf:02d}" for leaf in world.leaf_pair)
        return [(one.kind, tuple(sorted(one.where))) for one in found.faults] == [("leaf_pair", names)]
    if world.scale:
        return [one.kind for one in found.faults] == ["scale"] and 0 < found.smallest <= 2 * world.scale
    return not found.faults


def _numbers(pairs: list[tuple[World, Found]]) -> dict[str, Any]:
    right = sum(is_right(world, found) for world, found in pairs)
    bad = sum(len(world.bad) for world, _ in pairs)
    false = sum(len(found.nodes - world.bad.keys()) for world, found in pairs)
    missed = sum(len(world.bad.keys() - found.nodes) for world, found in pairs)
    healthy = sum(world.nodes - len(world.bad) for world, _ in pairs)
    rounds = np.array([found.rounds for _, found in pairs])
    return {
        "trials": len(pairs),
        "tests": float(np.mean([found.tests for _, found in pairs])),
        "rounds": float(rounds.mean()),
        "rounds_most": int(rounds.max()),
        "node_tests": float(np.mean([found.node_tests for _, found in pairs])),
        "right": right,
        "right_interval": wilson(right / len(pairs), len(pairs)),
        "named": bad - missed,
        "bad": bad,
        "false": false,
        "healthy": healthy,
        "other_faults": sum(
            len(found.faults) for world, found in pairs if not (world.link or world.leaf_pair or world.scale)
        ),
        "slowest_s": max(found.slowest_s for _, found in pairs),
    }
