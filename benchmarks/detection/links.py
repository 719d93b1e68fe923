"""Who finds the bad adapter when nodes exchange data two at a time? Ours and the schemes of others, on the same fleets.

The rate of a pair is that of its slower end, with noise, and 1 % of the tests are disturbed. Ours is the check ``pairs``: its
rounds in their drawn order, its median partner, the judge's comparison of those, and its limit on links. Only the rounds of the
others are taken from them; the cut of each of their pass/fail tests is 4 widths of the pairs, at least 2 %.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcaccept import checks
from hpcaccept.checks.pairs import drawn_tournament, link_shares, tournament
from hpcaccept.judge.statistics.peer_rule import MAD_TO_SIGMA, compare_with_peers, cut
from hpcaccept.model.suite import PeerRule

if TYPE_CHECKING:
    from collections.abc import Callable

_METRICS = {metric.name: metric for metric in checks.load("pairs").metrics}
#: Nodes of one leaf switch.
NODES_PER_LEAF = 16
Floats = npt.NDArray[np.float64]
Found = npt.NDArray[np.bool_]
#: Spread of healthy adapters, and share of tests that something else slows.
_HOST, _DISTURBED = 0.004, 0.01


@dataclass(eq=False)
class Network:
    """Adapters of one network, and what their pairs measure.

    Attributes:
        rate: float64[nodes], of each adapter.
        bad: bool[nodes], those that are slow.
        noise: relative standard deviation of one test.
        rng: of this network.
        tests: pairs (or groups) that were measured so far.
        rounds: of disjoint pairs that were measured one after another so far.
        between: two leaves, and the share of the rate that the path between them loses; None: all paths are well.
    """

    rate: Floats
    bad: Found
    noise: float
    rng: np.random.Generator
    tests: int = 0
    rounds: int = 0
    between: tuple[int, int, float] | None = None

    @property
    def leaf(self) -> npt.NDArray[np.intp]:
        """int[nodes]: the leaf switch of each node."""
        return np.arange(len(self.rate)) // NODES_PER_LEAF

    @classmethod
    def of(
        cls, nodes: int, bad: int, loss: float, noise: float, rng: np.random.Generator, *, side_by_side: bool = False
    ) -> Network:
        """A network in which ``bad`` of the nodes are slow, anywhere or side by side."""
        slow = rng.permutation(nodes) < bad
        if side_by_side:
            slow = np.roll(np.arange(nodes) < bad, int(rng.integers(nodes)))
        rate = (1 + _HOST * rng.standard_normal(nodes)) * np.where(slow, 1 - loss, 1.0)
        return cls(rate, slow, noise, rng)

    def measure(self, first: npt.NDArray[np.intp], second: npt.NDArray[np.intp]) -> Floats:
        """Rates of disjoint pairs, all at once."""
        self.tests += len(first)
        self.rounds += 1
        rate = np.minimum(self.rate[first], self.rate[second])
        if self.between is not None:
            one, other, loss = self.between
            ends = np.sort(np.stack([self.leaf[first], self.leaf[second]]), axis=0)
            rate = np.where((ends[0] == min(one, other)) & (ends[1] == max(one, other)), rate * (1 - loss), rate)
        return self._measured(rate)

    def measure_group(self, members: npt.NDArray[np.intp]) -> float:
        """What a collective of these nodes reaches: the rate of the slowest."""
        self.tests += 1
        self.rounds += 1
        return float(self._measured(self.rate[members].min(keepdims=True))[0])

    def _measured(self, rate: Floats) -> Floats:
        value = rate * (1 + self.noise * self.rng.standard_normal(len(rate)))
        hit = self.rng.random(len(rate)) < _DISTURBED
        value[hit] *= 1 - self.rng.uniform(0.03, 0.15, int(hit.sum()))
        return value

    def matching(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]:
        """All nodes in random pairs."""
        order = self.rng.permutation(len(self.rate))
        half = len(order) // 2
        first, second = order[:half], order[half : 2 * half]
        return first, second, self.measure(first, second)


def ours(network: Network) -> Found:
    """The check ``pairs`` with 15 rounds, measured once more where somebody is suspect, and the judge."""
    nodes = len(network.rate)
    floor, rule = _METRICS["node_bytes"].peer_floor or 0.0, PeerRule()
    z, best = cut(nodes, rule.false_alarm_rate), np.zeros(nodes)
    for _ in range(1 + rule.retests):
        best = np.maximum(best, np.nanmedian(_met(network), axis=1))
        compared = compare_with_peers(best, True, np.arange(nodes), (floor / 2, floor), z)
        if not (compared.loss > compared.warn_at).any():
            break
    return np.asarray(compared.loss > compared.fail_at)


def slow_links(network: Network) -> list[tuple[int, int]]:
    """The links that the check ``pairs`` names: pairs of nodes below its limit."""
    table = _met(network)
    matrix = {
        (node, 0): {int(other): float(row[other]) for other in np.flatnonzero(np.isfinite(row))}
        for node, row in enumerate(table)
    }
    limit = _METRICS["link_share"].limit
    return [(one, other) for share, (one, other, _) in link_shares(matrix) if limit and not limit.met_by(share)]


def _met(network: Network) -> Floats:
    """float64[n, n], NaN: did not meet."""
    nodes = len(network.rate)
    table = np.full((nodes, nodes), np.nan)
    for partners in _rounds(nodes):
        first, second = partners
        table[first, second] = table[second, first] = network.measure(first, second)
    return table


@lru_cache(maxsize=4)
def _rounds(nodes: int) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Both ends of all pairs, round by round."""
    found = []
    for partners in drawn_tournament([f"n{node:05d}" for node in range(nodes)]):
        pairs = [(node, other) for node, other in enumerate(partners) if other is not None and node < other]
        found.append((np.array([one for one, _ in pairs]), np.array([other for _, other in pairs])))
    return found


def one_matching(network: Network) -> Found:
    """Each node once; both ends of a slow pair are blamed (gcm's quick test)."""
    first, second, value = network.matching()
    slow = _slow(value)
    found = np.zeros(len(network.rate), bool)
    found[first[slow]] = found[second[slow]] = True
    return found


def suspects_with_good(network: Network) -> Found:
    """One matching, then each suspect with a node that passed (Google's cluster health scanner)."""
    return _confirmed(network, *network.matching())


def adjacent(network: Network) -> Found:
    """Neighbours in the list, one pair after another, then each suspect with a good node (OCI's ncclscout)."""
    half = len(network.rate) // 2
    first, second = np.arange(half) * 2, np.arange(half) * 2 + 1
    value = network.measure(first, second)
    network.rounds += half - 1
    before = network.tests
    found = _confirmed(network, first, second, value)
    network.rounds += max(network.tests - before - 1, 0)
    return found


def _confirmed(network: Network, first: npt.NDArray[np.intp], second: npt.NDArray[np.intp], value: Floats) -> Found:
    suspect = np.zeros(len(network.rate), bool)
    slow = _slow(value)
    suspect[first[slow]] = suspect[second[slow]] = True
    doubtful, good = np.flatnonzero(suspect), np.flatnonzero(~suspect)
    found = np.zeros(len(network.rate), bool)
    if len(doubtful) and len(good):
        again = network.measure(doubtful, network.rng.choice(good, len(doubtful), replace=len(doubtful) > len(good)))
        found[doubtful[again < _limit(value)]] = True
    return found


def bisection(network: Network) -> Found:
    """All together, and each half of a slow group by itself, down to pairs with a good node; knows what a healthy group reaches."""
    found = np.zeros(len(network.rate), bool)
    typical = float(np.median(network.rate))
    limit = typical * (1 - max(4 * math.hypot(network.noise, _HOST), 0.02))
    waiting = [np.arange(len(network.rate))]
    while waiting:
        members = waiting.pop()
        if network.measure_group(members) >= limit:
            continue
        if len(members) == 1:
            found[members] = True
        else:
            waiting += [members[: len(members) // 2], members[len(members) // 2 :]]
    return found


def pooled(rounds: int, confirmations: int) -> Callable[[Network], Found]:
    """A few matchings with new partners each, then suspects with good nodes; the upper half of a node's values speaks for it."""

    def scheme(network: Network) -> Found:
        nodes = len(network.rate)
        order = network.rng.permutation(nodes)
        values: list[list[float]] = [[] for _ in range(nodes)]
        for partners in itertools.islice(tournament(nodes, rounds), rounds):
            pairs = np.array([(a, b) for a, b in enumerate(partners) if b is not None and a < b])
            _note(values, network, order[pairs[:, 0]], order[pairs[:, 1]])
        suspect = _low(values, 2.5, 0.7 * 0.02)
        good = np.flatnonzero(~suspect)
        doubtful = np.flatnonzero(suspect)
        for _ in range(confirmations if len(good) else 0):
            with_whom = network.rng.choice(good, len(doubtful), replace=len(doubtful) > len(good))
            _note(values, network, doubtful, with_whom)
        return suspect & _low(values, 4.0, 0.02)

    return scheme


def _note(
    values: list[list[float]], network: Network, first: npt.NDArray[np.intp], second: npt.NDArray[np.intp]
) -> None:
    for one, other, value in zip(first.tolist(), second.tolist(), network.measure(first, second).tolist(), strict=True):
        values[one].append(value)
        values[other].append(value)


def _low(values: list[list[float]], widths: float, floor: float) -> Found:
    """Mean of the upper half of each node's values, too far below those of all."""
    upper = np.array([float(np.mean(sorted(mine)[len(mine) // 2 :])) for mine in values])
    center = float(np.median(upper))
    width = MAD_TO_SIGMA * float(np.median(np.abs(upper - center)))
    return np.asarray(upper < center - max(widths * width, floor * center))


def many_matchings(network: Network) -> Found:
    """15 random matchings; who fails in more than half of them (imbue)."""
    failed, met = np.zeros(len(network.rate)), np.zeros(len(network.rate))
    for _ in range(15):
        first, second, value = network.matching()
        slow = _slow(value)
        for end in (first, second):
            met[end] += 1
            failed[end] += slow
    return np.asarray(failed > met / 2)


def _limit(value: Floats) -> float:
    center = float(np.median(value))
    return center - max(4 * MAD_TO_SIGMA * float(np.median(np.abs(value - center))), 0.02 * center)


def _slow(value: Floats) -> Found:
    return np.asarray(value < _limit(value))


#: Name for people → scheme.
SCHEMES: dict[str, Callable[[Network], Found]] = {
    "hpcaccept: pairs, 15 rounds": ours,
    "one matching, both blamed (gcm)": one_matching,
    "one matching, suspects with good ones (Google CHS)": suspects_with_good,
    "neighbours in turn, suspects with good ones (ncclscout)": adjacent,
    "15 matchings, more than half failed (imbue)": many_matchings,
    "halves of the slow half": bisection,
    "4 matchings and 3 confirmations, pooled": pooled(4, 3),
    "8 matchings and 4 confirmations, pooled": pooled(8, 4),
}
