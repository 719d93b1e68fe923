"""What is believed about a fleet, between two rounds.

Almost every node is probably good, and good nodes tell nothing about each other: each has its own likelihood ratios (``log_ratios``). What is suspect is
in a component, where combinations are kept. The share of bad nodes is unknown: everything is believed for each of a row of shares.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from hpcaccept.judge.isolation.component import Bools, Component, Ints, log_sum, node_posteriors
from hpcaccept.judge.isolation.healthy import Healthy
from hpcaccept.judge.isolation.levels import Floats, Levels
from hpcaccept.model.isolation import Fault, IsolationSettings, Outcome

#: Expected numbers of bad nodes: from this, by this factor, up to this share of the fleet.
_FEWEST, _FACTOR, _MOST = 0.05, 4.0, 0.3


@dataclass(frozen=True, eq=False)
class Seen:
    """One outcome that counts.

    Attributes:
        outcome: itself.
        members: indices of its nodes.
        log_likelihoods: float64[2K + 1] for each code of the group.
        predicted: log-likelihood that it had when it came, with nodes alone to blame.
        loss: relative slow-down of its value; NaN: none.
    """

    outcome: Outcome
    members: Ints
    log_likelihoods: Floats
    predicted: float
    loss: float

    @property
    def suspicious(self) -> bool:
        """Whether something bad explains it better than nothing does."""
        return bool(self.log_likelihoods[1:].max() > self.log_likelihoods[0])


@dataclass(frozen=True, eq=False)
class Fabric:
    """What is believed about links, leaves and sizes: that one of them is bad, or none.

    Attributes:
        none: probability that none is bad.
        kinds: kind → probability that a fault of the kind is there.
        scale: float64[S]: probability that everything fails from each of ``sizes`` on.
        leaves: float64[L]: probability that a leaf is bad.
        leaf_pairs: float64[L, L], symmetric, of pairs; its sum is twice the probability.
        link_class: int64[N]: nodes that were in the same tests are of one class.
        links: float64[C, C], symmetric: probability that a certain link between nodes of two classes is bad.
        level: level of the link, leaf or size fault that is most probable: 1 … K.
    """

    none: float = 1.0
    kinds: dict[str, float] = field(default_factory=dict)
    scale: Floats = field(default_factory=lambda: np.zeros(0))
    leaves: Floats = field(default_factory=lambda: np.zeros(0))
    leaf_pairs: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    link_class: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    links: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    level: int = 0

    def link_share(self, nodes: Ints) -> float:
        """Probability that a link between two of these nodes is bad."""
        if not self.links.size:
            return 0.0
        return float((pairs_of(self.link_class[nodes], len(self.links)) * self.links).sum())


@dataclass(frozen=True, eq=False)
class Belief:
    """What is believed about a fleet.

    Attributes:
        nodes: names, in the order in which they were given.
        settings: of the isolation.
        levels: of badness.
        leaf: int64[N]: leaf of each node; −1: unknown.
        leaf_names: of the leaves.
        log_odds: float64[N]: log of how many times as probable as the others each node is to be bad.
        log_shares: float64[G]: prior of the shares of bad nodes.
        shares: float64[G]: these shares.
        log_share: float64[G]: their posterior.
        log_ratios: float64[N, K + 1]: log P(tests | level) less that of level 0, of all tests that no component owns.
        components: suspects.
        seen: all outcomes that count, in order.
        known: links, leaves and sizes already blamed, with their posterior: tests that they explain say nothing about nodes.
        healthy: values of healthy groups, by size.
        fabric: what is believed about others of these.
        posterior: float64[N, K + 1]: P(level) of each node.
        round: of the last outcome.
    """

    nodes: tuple[str, ...]
    settings: IsolationSettings
    levels: Levels
    leaf: Ints
    leaf_names: tuple[str, ...]
    log_odds: Floats
    log_shares: Floats
    shares: Floats
    log_share: Floats
    log_ratios: Floats
    components: tuple[Component, ...] = ()
    seen: tuple[Seen, ...] = ()
    known: tuple[tuple[Fault, float], ...] = ()
    healthy: Healthy = ()
    fabric: Fabric = field(default_factory=Fabric)
    posterior: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    round: int = 0

    @cached_property
    def index(self) -> dict[str, int]:
        """Name → index."""
        return {name: number for number, name in enumerate(self.nodes)}

    @cached_property
    def prior(self) -> Floats:
        """float64[N, G]: probability that a node is bad, for each share, before any test."""
        odds = np.exp(self.log_odds)[:, None] * (self.shares / (1 - self.shares))
        return np.asarray(odds / (1 + odds))

    @cached_property
    def _joint(self) -> Floats:
        """float64[N, K + 1, G]: prior times likelihood ratio of a node by itself."""
        bad = self.prior[:, None, :] / self.levels.count
        prior = np.concatenate([1 - self.prior[:, None, :], np.repeat(bad, self.levels.count, axis=1)], axis=1)
        return np.asarray(prior * np.exp(self.log_ratios)[:, :, None])

    @cached_property
    def log_evidence_alone(self) -> Floats:
        """float64[G]: of all nodes, by the tests that no component owns."""
        return np.asarray(np.log(self._joint.sum(axis=1)).sum(axis=0))

    @cached_property
    def cumulative(self) -> Floats:
        """float64[N, K + 1, G]: log P(level of a node is at most this), by the tests that no component owns."""
        joint = self._joint
        found = np.cumsum(joint, axis=1) / joint.sum(axis=1, keepdims=True)
        found[:, -1] = 1.0
        return np.asarray(np.log(found))

    @cached_property
    def suspect(self) -> Bools:
        """bool[N]: who is in a component."""
        found = np.zeros(len(self.nodes), bool)
        for component in self.components:
            found[component.nodes] = True
        return found

    def level_posteriors(self) -> Floats:
        """float64[N, K + 1]: P(level) of each node, with nothing but nodes to blame."""
        joint = self._joint / self._joint.sum(axis=1, keepdims=True)
        found = joint @ np.exp(self.log_share)
        for component in self.components:
            weights = component.weights(self.log_share)
            found[component.nodes] = node_posteriors(component, weights, self.cumulative, self.log_share)
        return np.asarray(found)

    @property
    def bad(self) -> Floats:
        """float64[N]: P(bad) of each node."""
        return np.asarray((1 - self.posterior[:, 0]).clip(0.0, 1.0))


def pairs_of(classes: Ints, count: int) -> Floats:
    """float64[C, C]: pairs of nodes of each two classes, each pair once."""
    number = np.bincount(classes, minlength=count).astype(np.float64)
    return np.asarray(np.triu(np.outer(number, number), 1) + np.diag(number * (number - 1) / 2))


def share_grid(nodes: int, expected: float) -> tuple[Floats, Floats]:
    """Shares of bad nodes, and the log of their prior.

    The prior is wide: of the odds against the share that is expected, a Cauchy distribution in its logarithm.
    """
    counts = [_FEWEST]
    while counts[-1] * _FACTOR < _MOST * nodes:
        counts.append(counts[-1] * _FACTOR)
    shares = np.array(counts) / nodes
    log_prior = -np.log1p((np.log(shares / expected) / np.log(6.0)) ** 2)
    return shares, log_prior - log_sum(log_prior, axis=0)
