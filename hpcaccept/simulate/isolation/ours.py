"""Our own isolation of a simulated fleet."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpcaccept.judge.isolation import believe, conclude, next_round, update
from hpcaccept.model.isolation import Budget, Fault, GroupTest, IsolationSettings, Stop
from hpcaccept.simulate.isolation.world import outcomes_of

if TYPE_CHECKING:
    import numpy as np

    from hpcaccept.simulate.isolation.world import World

#: Rounds after which a search is given up and what it has found so far is counted.
MOST_ROUNDS = 40


@dataclass(frozen=True)
class Found:
    """What a method made of a fleet.

    Attributes:
        nodes: blamed nodes.
        faults: everything else that was blamed.
        tests: that it took.
        rounds: that it took.
        node_tests: nodes times tests: node-seconds where a test takes a second.
        slowest_s: longest time that one step of the method itself took.
        smallest: nodes of the smallest group that failed for a reason that is no node and no link; 0: none.
    """

    nodes: frozenset[int]
    faults: tuple[Fault, ...] = ()
    tests: int = 0
    rounds: int = 0
    node_tests: int = 0
    slowest_s: float = field(default=0.0, compare=False)
    smallest: int = 0


def isolate(
    world: World,
    settings: IsolationSettings,
    rng: np.random.Generator,
    *,
    from_failed_run: bool,
    budget: Budget | None = None,
) -> Found:
    """Isolate until the answer is sure enough.

    Args:
        world: the fleet.
        settings: what is known of its tests.
        rng: of the tests' noise and of the design.
        from_failed_run: begin with a test of the whole fleet; it counts as a test and as a round.
        budget: of rounds and tests.
    """
    belief = believe(world.names, settings, world.topology)
    tests = rounds = node_tests = 0
    slowest = 0.0
    planned: tuple[GroupTest, ...] | Stop
    planned = (GroupTest("r0g1", 0, world.names),) if from_failed_run else next_round(belief, budget or Budget(), rng)
    while not isinstance(planned, Stop) and rounds < MOST_ROUNDS:
        tests, rounds, node_tests = (
            tests + len(planned),
            rounds + 1,
            node_tests + sum(len(test.nodes) for test in planned),
        )
        outcomes = outcomes_of(world, planned, rng)
        began = time.perf_counter()
        belief = update(belief, outcomes)
        slowest = max(slowest, time.perf_counter() - began)
        planned = next_round(belief, budget or Budget(), rng)
    answer = conclude(belief)
    return Found(
        nodes=frozenset(belief.index[one.fault.where[0]] for one in answer.blamed if one.fault.kind == "node"),
        faults=tuple(one.fault for one in answer.blamed if one.fault.kind != "node"),
        tests=tests,
        rounds=rounds,
        node_tests=node_tests,
        slowest_s=slowest,
        smallest=len(answer.unattributed) if answer.at_scale else 0,
    )
