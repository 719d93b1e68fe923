"""Who finds the bad adapter when nodes exchange data two at a time? Ours and the schemes of others, on the same fleets.

The rate of a pair is that of its slower end, with noise, and 1 % of the tests are disturbed. Ours is the check ``pairs``: its
rounds, its median partner, and the judge's comparison of those. Only the rounds of the others are taken from them; the cut of
each of their pass/fail tests is 4 widths of the pairs, at least 2 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcaccept import checks
from hpcaccept.checks.pairs import tournament
from hpcaccept.judge.peer_rule import MAD_TO_SIGMA, compare_with_peers, cut
from hpcaccept.model.suite import PeerRule

if TYPE_CHECKING:
    from collections.abc import Callable

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
        tests: pairs that were measured so far.
    """

    rate: Floats
    bad: Found
    noise: float
    rng: np.random.Generator
    tests: int = 0

    @classmethod
    def of(cls, nodes: int, bad: int, loss: float, noise: float, rng: np.random.Generator) -> Network:
        """A network in which ``bad`` of the nodes, anywhere, are slow."""
        slow = rng.permutation(nodes) < bad
        rate = (1 + _HOST * rng.standard_normal(nodes)) * np.where(slow, 1 - loss, 1.0)
        return cls(rate, slow, noise, rng)

    def measure(self, first: npt.NDArray[np.intp], second: npt.NDArray[np.intp]) -> Floats:
        """Rates of disjoint pairs."""
        self.tests += len(first)
        value = np.minimum(self.rate[first], self.rate[second]) * (
            1 + self.noise * self.rng.standard_normal(len(first))
        )
        hit = self.rng.random(len(first)) < _DISTURBED
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
    metric = {m.name: m for m in checks.load("pairs").metrics}["node_bytes"]
    floor, rule = metric.peer_floor or 0.0, PeerRule()
    z, best = cut(nodes, rule.false_alarm_rate), np.zeros(nodes)
    for _ in range(1 + rule.retests):
        table = np.full((nodes, nodes), np.nan)
        for partners in tournament(nodes):
            pairs = np.array(
                [(node, other) for node, other in enumerate(partners) if other is not None and node < other]
            )
            table[pairs[:, 0], pairs[:, 1]] = table[pairs[:, 1], pairs[:, 0]] = network.measure(
                pairs[:, 0], pairs[:, 1]
            )
        best = np.maximum(best, np.nanmedian(table, axis=1))
        compared = compare_with_peers(best, True, np.arange(nodes), (floor / 2, floor), z)
        if not (compared.loss > compared.warn_at).any():
            break
    return np.asarray(compared.loss > compared.fail_at)


def one_matching(network: Network) -> Found:
    """Each node once; both ends of a slow pair are blamed (gcm's quick test)."""
    first, second, value = network.matching()
    slow = _slow(value)
    found = np.zeros(len(network.rate), bool)
    found[first[slow]] = found[second[slow]] = True
    return found


def suspects_with_good(network: Network) -> Found:
    """One matching, then each suspect with a node that passed (Google's cluster health scanner)."""
    first, second, value = network.matching()
    suspect = np.zeros(len(network.rate), bool)
    slow = _slow(value)
    suspect[first[slow]] = suspect[second[slow]] = True
    doubtful, good = np.flatnonzero(suspect), np.flatnonzero(~suspect)
    found = np.zeros(len(network.rate), bool)
    if len(doubtful) and len(good):
        again = network.measure(doubtful, network.rng.choice(good, len(doubtful), replace=len(doubtful) > len(good)))
        found[doubtful[again < _limit(value)]] = True
    return found


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
    "15 matchings, more than half failed (imbue)": many_matchings,
}
