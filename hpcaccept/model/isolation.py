"""The nouns of an isolation: groups of nodes that are tested together, what came of them, and what follows.

Several groups without a common node run side by side; they are a round. A fault is a bad node, a bad path between two nodes or two leaves,
or a size from which on everything fails.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: ``not_run``: nothing was measured, for a reason that is ours: it is no evidence.
OutcomeKind = Literal["passed", "failed", "hung", "crashed", "not_run"]
#: ``link``: a pair of nodes; ``leaf``: everything between a leaf and the others; ``scale``: every group of at least ``Fault.size`` nodes.
FaultKind = Literal["node", "link", "leaf", "leaf_pair", "scale"]
#: Why no round follows: everything is decided, the budget is spent, or no further test could decide more.
StopReason = Literal["decided", "budget", "exhausted"]


@dataclass(frozen=True)
class GroupTest:
    """Nodes that are to be tested together.

    Attributes:
        id: unique in an isolation: ``r2g5``.
        round: counted from 1; 0 for what an earlier run has shown.
        nodes: their names; one node only where the fleet has no other to go with it.
        asks: what the test is for, for people.
        suspects: those of ``nodes`` that are in question; the others are partners believed to be good.
    """

    id: str
    round: int
    nodes: tuple[str, ...]
    asks: str = ""
    suspects: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of one test.

    Attributes:
        test: that was run.
        kind: how it ended. ``passed`` where there is only a value to be judged.
        silent: nodes that went silent first, where it hung or crashed and somebody knows.
        value: of the group in the SI unit of its metric; NaN: it has none, or ended without one.
        wall_s: seconds that it took; NaN: unknown.
    """

    test: GroupTest
    kind: OutcomeKind
    silent: tuple[str, ...] = ()
    value: float = math.nan
    wall_s: float = math.nan


@dataclass(frozen=True)
class Topology:
    """Which nodes hang on the same leaf switch, or in the same NVLink domain.

    Attributes:
        leaf_of: node → name of its leaf. Nodes that are absent are on a leaf of their own that nothing is said about.
    """

    leaf_of: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Budget:
    """What may still be spent.

    Attributes:
        rounds: rounds; fewer rounds take more tests.
        tests: tests; the fleet is divided into fewer groups.
        node_s: node-seconds.
        time_s: seconds.
        round_s: seconds that a round has taken so far, for the two above.
    """

    rounds: float = math.inf
    tests: float = math.inf
    node_s: float = math.inf
    time_s: float = math.inf
    round_s: float = 0.0


@dataclass(frozen=True)
class IsolationSettings:
    """What is known of the test itself, and how sure an answer has to be.

    Attributes:
        until: posterior from which on a fault is blamed.
        false_fail_rate: share of tests that fail although nothing in them is bad.
        miss_rate: share of tests that pass although something in them is bad.
        bad_share: share of bad nodes that is expected; it is a guess, and the tests correct it by up to a factor of thirty.
        values: whether passed tests carry a value that is to be judged.
        noise: relative standard deviation of the value of a healthy group.
        disturbed_share: share of values that something else has slowed.
        smallest_loss: the smallest slow-down of a node that matters.
        higher_is_better: whether a smaller value is worse.
        healthy_value: of a healthy group; NaN: the median of each round's groups of like size.
        names_culprit: probability that a bad node is among those that went silent first.
        fabric_share: probability that there is a bad link, leaf, pair of leaves, or size, before any test.
        max_tests_per_round: groups that may run side by side.
    """

    until: float = 0.95
    false_fail_rate: float = 0.02
    miss_rate: float = 0.05
    bad_share: float = 0.01
    values: bool = False
    noise: float = 0.01
    disturbed_share: float = 0.01
    smallest_loss: float = 0.03
    higher_is_better: bool = True
    healthy_value: float = math.nan
    names_culprit: float = 0.8
    fabric_share: float = 0.04
    max_tests_per_round: int = 1024


@dataclass(frozen=True)
class Fault:
    """Something that may be wrong.

    Attributes:
        kind: of the fault.
        where: names: of the node, of the two ends of the link, of the leaf or leaves; empty for ``scale``.
        size: nodes from which on a group fails; 0 but for ``scale``.
        loss: relative slow-down; NaN: it fails.
    """

    kind: FaultKind
    where: tuple[str, ...] = ()
    size: int = 0
    loss: float = math.nan


@dataclass(frozen=True)
class Suspicion:
    """How sure it is that a fault is there, and why.

    Attributes:
        fault: that is meant.
        posterior: probability that it is there, given the model and all tests.
        blamed: whether it is named: posterior at least ``until``, and confirmed.
        confirmed: whether it has shown in a test whose other nodes are believed to be good, and which were not its partners before.
        evidence_for: ids of the tests that make it more probable, the strongest first.
        evidence_against: ids of those that make it less probable.
        instead: what else could explain the same tests: fault and its posterior, the most probable first.
        next_test: the test that would decide most about it; None: it is decided.
    """

    fault: Fault
    posterior: float
    blamed: bool
    confirmed: bool
    evidence_for: tuple[str, ...] = ()
    evidence_against: tuple[str, ...] = ()
    instead: tuple[tuple[Fault, float], ...] = ()
    next_test: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Missable:
    """The smallest fault that the tests would have shown with a probability of 95 %.

    Attributes:
        untested: nodes that were in no test.
        remaining: expected number of bad nodes that were not found.
        fabric: probability of a bad link, leaf, pair of leaves or size that was not found.
        fail_share: a node that fails this share of its tests would have been seen, at the median node.
        loss: relative slow-down that would have been seen, at the median node; NaN where no values were judged.
        largest_group: nodes of the largest group that passed: faults of scale beyond it were not looked for.
        links_tested: share of all pairs of nodes that were together in a group that passed.
    """

    untested: tuple[str, ...]
    remaining: float
    fabric: float
    fail_share: float
    loss: float
    largest_group: int
    links_tested: float


@dataclass(frozen=True)
class Conclusion:
    """The answer of an isolation, at any time.

    Attributes:
        nothing_wrong: probability that there is no fault at all.
        suspicions: what is blamed, then what is doubtful, the most probable first. Nothing of a posterior under 1 %.
        decided: whether nothing is left in doubt.
        unattributed: nodes of the smallest group that failed for reasons that no blamed fault explains; empty: none.
        at_scale: whether what failed for no such reason fails only at size: UNATTRIBUTED-AT-SCALE.
        missable: what may have been missed.
        posterior: node → probability that it is bad.
    """

    nothing_wrong: float
    suspicions: tuple[Suspicion, ...]
    decided: bool
    unattributed: tuple[str, ...]
    at_scale: bool
    missable: Missable
    posterior: Mapping[str, float]

    @property
    def blamed(self) -> tuple[Suspicion, ...]:
        """Those that are named."""
        return tuple(one for one in self.suspicions if one.blamed)


@dataclass(frozen=True)
class Stop:
    """No further round.

    Attributes:
        reason: why.
        text: the same for people.
    """

    reason: StopReason
    text: str
