"""Suspects whose tests hang together, with every combination of them that is worth a thought.

Nodes that were in the same tests cannot be told apart: they are an *atom*, and only the worst of them matters. A combination gives each atom the level
of its worst node. Combinations of negligible weight are dropped; all else is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hpcaccept.judge.isolation.levels import Floats

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Levelled = npt.NDArray[np.int8]
#: Combinations this many nats below the best are dropped, and all beyond so many.
NEGLIGIBLE, MOST = 12.0, 400
#: As many are kept beside them that a fault elsewhere would leave.
EXCUSED = 60


@dataclass(frozen=True, eq=False)
class Component:
    """Suspects and their combinations.

    Attributes:
        atoms: indices of nodes, each node in one atom.
        priors: float64[A, K + 1, G]: log probability that the worst node of an atom has a level, for each share of bad nodes.
        levels: int8[H, A]: level of each atom in each combination.
        codes: int8[H, T]: what each test saw in each combination.
        tests: numbers of the tests.
        log_likelihoods: float64[T, 2K + 1] of their outcomes.
        owns: bool[T]: whether a test counts here for what it says about everything; elsewhere, only for what it says about these nodes.
    """

    atoms: tuple[Ints, ...]
    priors: Floats
    levels: Levelled
    codes: Levelled
    tests: tuple[int, ...]
    log_likelihoods: Floats
    owns: Bools

    @cached_property
    def nodes(self) -> Ints:
        """All of its nodes."""
        return np.concatenate(self.atoms)

    @cached_property
    def log_prior(self) -> Floats:
        """float64[H, G]."""
        # Nearly all atoms are good: what differs from that is summed over those that are not.
        rows, atoms = np.nonzero(self.levels)
        more = self.priors[atoms, self.levels[rows, atoms]] - self.priors[atoms, 0]
        sums = np.concatenate([np.zeros((1, more.shape[1])), np.cumsum(more, axis=0)])
        ends = np.cumsum(np.bincount(rows, minlength=len(self.levels)))
        return np.asarray(self.priors[:, 0].sum(axis=0) + sums[ends] - sums[np.append(0, ends[:-1])])

    @cached_property
    def seen(self) -> Floats:
        """float64[H, T]: log-likelihood of each test in each combination."""
        return np.asarray(self.log_likelihoods[np.arange(len(self.tests)), self.codes])

    @cached_property
    def log_weights(self) -> Floats:
        """float64[H, G], not normalised: its sum is the evidence."""
        return np.asarray(self.log_prior + self.seen.sum(axis=1)[:, None])

    @cached_property
    def log_evidence(self) -> Floats:
        """float64[G]."""
        return log_sum(self.log_weights, axis=0)

    def weights(self, log_share: Floats) -> Floats:
        """float64[H]: posterior of the combinations, given the log posterior of the share of bad nodes."""
        joint = log_sum(self.log_weights - self.log_evidence + log_share, axis=1)
        return np.asarray(np.exp(joint - log_sum(joint, axis=0)))


def log_sum(values: Floats, axis: int) -> Floats:
    """Log of the sum of exponentials."""
    top = values.max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    return np.asarray(np.log(np.exp(values - top).sum(axis=axis)) + np.squeeze(top, axis=axis))


def atom_prior(cumulative: Floats) -> Floats:
    """float64[K + 1, G]: log probability of the worst level.

    Args:
        cumulative: float64[m, K + 1, G]: log P(level of a node is at most this).
    """
    together = cumulative.sum(axis=0)
    below = np.concatenate([np.full((1, together.shape[1]), -np.inf), together[:-1]])
    return np.asarray(together + np.log1p(-np.exp(np.minimum(below - together, -1e-15))))


def single(nodes: Ints, cumulative: Floats) -> Component:
    """A component of one atom without tests.

    Args:
        nodes: indices.
        cumulative: float64[N, K + 1, G] of all nodes.
    """
    prior = atom_prior(cumulative[nodes])
    count = len(prior)
    return Component(
        atoms=(nodes,),
        priors=prior[None],
        levels=np.arange(count, dtype=np.int8)[:, None],
        codes=np.zeros((count, 0), np.int8),
        tests=(),
        log_likelihoods=np.zeros((0, 2 * count - 1)),
        owns=np.zeros(0, bool),
    )


def merged(one: Component, other: Component, log_share: Floats) -> Component:
    """Both together: every combination of one with every of the other."""
    first, second = np.divmod(np.arange(len(one.levels) * len(other.levels)), len(other.levels))
    if len(first) > MOST:
        likely = (np.log(one.weights(log_share) + 1e-300)[:, None] + np.log(other.weights(log_share) + 1e-300)).ravel()
        prior = log_sum(one.log_prior + log_share, axis=1)[:, None] + log_sum(other.log_prior + log_share, axis=1)
        kept = np.union1d(np.argpartition(-likely, MOST - 1)[:MOST], np.argsort(-prior.ravel())[:EXCUSED])
        first, second = first[kept], second[kept]
    joined = Component(
        atoms=one.atoms + other.atoms,
        priors=np.concatenate([one.priors, other.priors]),
        levels=np.concatenate([one.levels[first], other.levels[second]], axis=1),
        codes=np.concatenate([one.codes[first], other.codes[second]], axis=1),
        tests=one.tests + other.tests,
        log_likelihoods=np.concatenate([one.log_likelihoods, other.log_likelihoods]),
        owns=np.concatenate([one.owns, other.owns]),
    )
    return pruned(joined, log_share)


def split(component: Component, chosen: Bools, cumulative: Floats, log_share: Floats) -> Component:
    """The same with atoms that lie inside or outside a set of nodes.

    Args:
        component: to be split.
        chosen: bool[N]: the set.
        cumulative: float64[N, K + 1, G] of all nodes.
        log_share: log posterior of the share of bad nodes.
    """
    for number in range(len(component.atoms)):
        inside = chosen[component.atoms[number]]
        if inside.any() and not inside.all():
            component = pruned(_halved(component, number, inside, cumulative), log_share)
    return component


def _halved(component: Component, number: int, inside: Bools, cumulative: Floats) -> Component:
    """An atom in two: the worse half has the level of the whole, the other any up to it."""
    atom = component.atoms[number]
    halves = (atom[inside], atom[~inside])
    rows, first, second = [], [], []
    level = component.levels[:, number]
    for value in range(component.priors.shape[1]):
        having = np.flatnonzero(level == value)
        for mine, its in {*((value, low) for low in range(value + 1)), *((low, value) for low in range(value + 1))}:
            rows.append(having)
            first.append(np.full(len(having), mine, np.int8))
            second.append(np.full(len(having), its, np.int8))
    order = np.concatenate(rows)
    levels = component.levels[order]
    levels[:, number] = np.concatenate(first)
    priors = np.concatenate([component.priors, atom_prior(cumulative[halves[1]])[None]])
    priors[number] = atom_prior(cumulative[halves[0]])
    return Component(
        atoms=(*component.atoms[:number], halves[0], *component.atoms[number + 1 :], halves[1]),
        priors=priors,
        levels=np.concatenate([levels, np.concatenate(second)[:, None]], axis=1),
        codes=component.codes[order],
        tests=component.tests,
        log_likelihoods=component.log_likelihoods,
        owns=component.owns,
    )


def pruned(component: Component, log_share: Floats) -> Component:
    """Without the combinations of negligible weight, but with those that would count if a link, a leaf or the size explained what failed."""
    likely = log_sum(component.log_weights + log_share, axis=1)
    passed = component.log_likelihoods[:, 1:].max(axis=1, initial=-np.inf) <= component.log_likelihoods[:, 0]
    excused = log_sum(component.log_prior + log_share, axis=1) + component.seen[:, passed].sum(axis=1)
    kept = np.union1d(_best(likely, MOST), _best(excused, EXCUSED))
    if len(kept) == len(likely):
        return component
    return replace(component, levels=component.levels[kept], codes=component.codes[kept])


def _best(likely: Floats, most: int) -> Ints:
    """Rows that are not negligible beside the best, at most so many."""
    kept = np.flatnonzero(likely > likely.max() - NEGLIGIBLE)
    return kept if len(kept) <= most else kept[np.argpartition(-likely[kept], most - 1)[:most]]


def codes_in(component: Component, chosen: Bools, silent: Bools) -> Levelled:
    """int8[H]: what a test of the chosen nodes sees; atoms must lie inside or outside of both sets."""
    count = component.priors.shape[1] - 1
    atoms = [number for number, atom in enumerate(component.atoms) if chosen[atom[0]]]
    if not atoms:
        return np.zeros(len(component.levels), np.int8)
    levels = component.levels[:, atoms]
    is_silent = np.array([silent[component.atoms[number][0]] for number in atoms])
    return np.asarray((levels + count * (is_silent & (levels > 0))).max(axis=1).astype(np.int8))


def tested(component: Component, test: int, codes: Levelled, log_likelihoods: Floats, owns: bool) -> Component:
    """After one more test.

    Args:
        component: before it.
        test: its number.
        codes: int8[H]: what it sees.
        log_likelihoods: float64[2K + 1] of its outcome.
        owns: whether the test counts here for what it says about everything.
    """
    return replace(
        component,
        codes=np.concatenate([component.codes, codes[:, None]], axis=1),
        tests=(*component.tests, test),
        log_likelihoods=np.concatenate([component.log_likelihoods, log_likelihoods[None]]),
        owns=np.append(component.owns, owns),
    )


def node_posteriors(component: Component, weights: Floats, cumulative: Floats, log_share: Floats) -> Floats:
    """float64[m, K + 1]: P(level of each node), in the order of ``component.nodes``.

    Args:
        component: of the nodes.
        weights: float64[H]: posterior of its combinations.
        cumulative: float64[N, K + 1, G] of all nodes.
        log_share: log posterior of the share of bad nodes.
    """
    share = np.exp(log_share)
    found: list[Floats] = []
    for number, atom in enumerate(component.atoms):
        worst: Floats = np.bincount(component.levels[:, number], weights, component.priors.shape[1]).astype(np.float64)
        if len(atom) == 1:
            found.append(worst[None])
            continue
        own = cumulative[atom] @ share
        rest = own.sum(axis=0) - own
        found.append(_levels_given_worst(np.exp(own), np.exp(rest)) @ worst)
    return np.concatenate(found)


def _levels_given_worst(own: Floats, rest: Floats) -> Floats:
    """float64[m, level, worst level]: P(level of a node | worst of its atom)."""
    mine = np.diff(own, axis=1, prepend=0.0)
    others = np.diff(rest, axis=1, prepend=0.0)
    count = own.shape[1]
    joint = np.zeros((len(own), count, count))
    for worst in range(count):
        joint[:, worst, worst] = mine[:, worst] * rest[:, worst]
        joint[:, :worst, worst] = mine[:, :worst] * others[:, worst, None]
    return np.asarray(joint / joint.sum(axis=1, keepdims=True).clip(1e-300))
