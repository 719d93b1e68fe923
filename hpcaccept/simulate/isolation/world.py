"""What is broken in a simulated fleet, and what a test of some of its nodes shows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from hpcaccept.model.isolation import GroupTest, Outcome, Topology

#: Relative standard deviation of healthy nodes among each other, and what disturbs a value slows it by at least and at most this.
NODE_SPREAD, DISTURBED = 0.004, (0.03, 0.15)


@dataclass(frozen=True)
class Noise:
    """How tests err.

    Attributes:
        false_fail: share of tests that fail although nothing in them is bad.
        missed: share of tests that pass although something in them is bad.
        flaky: share of tests in which something bad shows at all: 0.3 for a cable that fails 30 % of the time.
        loaded: share of rounds under load, in which ten times as many good groups fail.
        value: relative standard deviation of a value; 0: pass or fail only.
        disturbed: share of values that something else has slowed.
    """

    false_fail: float = 0.0
    missed: float = 0.0
    flaky: float = 1.0
    loaded: float = 0.0
    value: float = 0.0
    disturbed: float = 0.01


@dataclass(frozen=True, eq=False)
class World:
    """A fleet and its faults.

    Attributes:
        nodes: how many.
        bad: node → relative slow-down; NaN: it fails.
        link: two nodes between which nothing works; empty: none.
        leaves: leaves that the nodes are spread over in rows; 0: unknown.
        leaf_pair: two leaves between which nothing works.
        scale: every group of at least so many nodes fails; 0: none.
        noise: of the tests.
        quality: float64[N]: of each node, near 1.
    """

    nodes: int
    bad: dict[int, float] = field(default_factory=dict)
    link: tuple[int, ...] = ()
    leaves: int = 0
    leaf_pair: tuple[int, ...] = ()
    scale: int = 0
    noise: Noise = field(default_factory=Noise)
    quality: np.typing.NDArray[np.float64] = field(default_factory=lambda: np.ones(0))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the nodes."""
        return tuple(f"n{number:04d}" for number in range(self.nodes))

    @property
    def topology(self) -> Topology | None:
        """Node → leaf; None where there are no leaves."""
        if not self.leaves:
            return None
        return Topology({name: f"leaf{self.leaf(number):02d}" for number, name in enumerate(self.names)})

    def leaf(self, node: int) -> int:
        """The leaf of a node."""
        return node * self.leaves // self.nodes

    def hit(self, members: set[int]) -> bool:
        """Whether something in this group makes it fail, but for nodes that are only slow."""
        if any(math.isnan(loss) and node in members for node, loss in self.bad.items()):
            return True
        if self.link and members.issuperset(self.link):
            return True
        if self.leaf_pair and {self.leaf(node) for node in members}.issuperset(self.leaf_pair):
            return True
        return bool(self.scale) and len(members) >= self.scale


def made(
    nodes: int,
    kind: str,
    count: int,
    loss: float,
    noise: Noise,
    rng: np.random.Generator,
    leaves: int = 0,
    size: int = 0,
) -> World:
    """A fleet with faults at random places.

    Args:
        nodes: how many.
        kind: ``node``, ``link``, ``leaf_pair`` or ``scale``.
        count: bad nodes, where the kind is ``node``.
        loss: their relative slow-down; NaN: they fail.
        noise: of the tests.
        rng: of the places.
        leaves: leaves; 0: unknown.
        size: from which on everything fails, where the kind is ``scale``.
    """
    chosen = rng.choice(nodes, max(2, count), replace=False).tolist()
    quality = 1 + NODE_SPREAD * rng.standard_normal(nodes)
    pair = tuple(sorted(rng.choice(leaves, 2, replace=False).tolist())) if leaves > 1 else ()
    return World(
        nodes=nodes,
        bad=dict.fromkeys(chosen[:count], loss) if kind == "node" else {},
        link=tuple(sorted(chosen[:2])) if kind == "link" else (),
        leaves=leaves,
        leaf_pair=pair if kind == "leaf_pair" else (),
        scale=size if kind == "scale" else 0,
        noise=noise,
        quality=quality,
    )


def ran(world: World, groups: list[list[int]], rng: np.random.Generator) -> list[tuple[bool, float]]:
    """What a round of groups shows: whether each failed, and its value (NaN: none)."""
    noise = world.noise
    false_fail = min(0.5, noise.false_fail * (10 if rng.random() < noise.loaded else 1))
    found = []
    for group in groups:
        hit = world.hit(set(group))
        shows = rng.random() < noise.flaky * (1 - noise.missed) if hit else rng.random() < false_fail
        found.append((shows, math.nan if shows or not noise.value else _value(world, group, rng)))
    return found


def _value(world: World, group: list[int], rng: np.random.Generator) -> float:
    quality = world.quality[group].copy()
    for place, node in enumerate(group):
        quality[place] *= 1 - world.bad.get(node, 0.0)
    value = float(quality.min()) * (1 + world.noise.value * float(rng.standard_normal()))
    return value * (1 - float(rng.uniform(*DISTURBED))) if rng.random() < world.noise.disturbed else value


def outcomes_of(world: World, tests: tuple[GroupTest, ...], rng: np.random.Generator) -> list[Outcome]:
    """The same in the words of an isolation."""
    place = {name: number for number, name in enumerate(world.names)}
    shown = ran(world, [[place[name] for name in test.nodes] for test in tests], rng)
    return [
        Outcome(test, "failed" if failed else "passed", value=100 * value if math.isfinite(value) else math.nan)
        for test, (failed, value) in zip(tests, shown, strict=True)
    ]
