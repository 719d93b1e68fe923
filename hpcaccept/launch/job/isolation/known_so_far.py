"""What is believed after the tests that have ended. The settings of the judge follow from the order and from the values themselves."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcaccept.launch.job.isolation.outcome_of_step import rate_of
from hpcaccept.model.isolation import IsolationSettings, Topology
from hpcaccept.model.isolation_order import IsolationOrder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hpcaccept.judge.isolation import Belief
    from hpcaccept.model.isolation_order import EndedTest

#: With fewer values nobody knows how far healthy groups lie apart.
_ENOUGH = 8
#: Groups of like size of a round whose median is that of healthy ones, unless most are bad.
_MANY = 5
#: Relative noise that is assumed at least, of machines of their own and of parts of one machine; and until there are enough values.
_LEAST, _LEAST_SHARED, _UNKNOWN = 0.01, 0.10, 0.10
#: Standard deviation of the better half of a normal sample over that of the whole: (1 − 2/π)^½.
_OF_BETTER_HALF = 0.603
#: Nobody isolates a fleet without a reason: bad nodes that are expected at least; and in a small fleet, in which every link can be
#: tested, the probability of a bad link, leaf or size.
_EXPECTED_BAD, _FABRIC_SHARE, _SMALL_FLEET = 0.5, 0.25, 16
#: A slow-down has to be so many times the noise, and for parts of one machine, which take turns on it, a third.
_TIMES_NOISE, _SHARED_LOSS = 3.0, 0.33


@dataclass
class KnownSoFar:
    """The belief after the tests of some rounds; made anew when what is known of the values' noise has changed."""

    nodes: tuple[str, ...]
    order: IsolationOrder

    def __post_init__(self) -> None:
        self._tests: list[EndedTest] = []
        self._settings = self._learnt()
        self._belief = self._fresh()

    @property
    def belief(self) -> Belief:
        """Of the judge."""
        return self._belief

    @property
    def posterior(self) -> dict[str, float]:
        """Node → probability that it is bad, without all that a conclusion weighs."""
        return dict(zip(self.nodes, self._belief.bad.tolist(), strict=True))

    @property
    def state(self) -> tuple[float, ...]:
        """All that can be decided, to a thousandth: tests that leave it as it is tell no more."""
        return (round(self._belief.fabric.none, 3), *(round(value, 3) for value in self._belief.bad.tolist()))

    @property
    def settings(self) -> IsolationSettings:
        """With which it was made."""
        return self._settings

    def add(self, tests: Sequence[EndedTest]) -> None:
        """Take in the tests of a round, or of the run before."""
        from hpcaccept.judge.isolation import update

        mine = [test for test in tests if set(test.test.nodes) <= set(self.nodes)]
        self._tests += mine
        settings = self._learnt()
        if settings == self._settings and not settings.values:
            self._belief = update(self._belief, [test.outcome for test in mine])
            return
        # Every further value tells more of what a healthy group reaches, in the rounds before too.
        self._settings, self._belief = settings, self._fresh()
        speeds = relative(self._tests, higher_is_better=_higher_is_better(self.order))
        for _, of_round in by_round(self._tests):
            outcomes = [replace(test.outcome, value=speeds.get(test.test.id, math.nan)) for test in of_round]
            self._belief = update(self._belief, outcomes)

    def _learnt(self) -> IsolationSettings:
        return settings_of(self.order, self._tests, len(self.nodes))

    def _fresh(self) -> Belief:
        from hpcaccept.judge.isolation import believe

        return believe(self.nodes, self._settings, Topology(self.order.leaf_of), self.order.odds)


def by_round(tests: Iterable[EndedTest]) -> Iterator[tuple[int, list[EndedTest]]]:
    """Tests of each round, in their order."""
    for number, found in itertools.groupby(tests, lambda test: test.test.round):
        yield number, list(found)


def settings_of(order: IsolationOrder, tests: Sequence[EndedTest], nodes: int) -> IsolationSettings:
    """What the judge is to know of the test itself, and of a fleet of so many nodes."""
    plain = IsolationSettings(until=order.until)
    plain = replace(plain, bad_share=max(plain.bad_share, _EXPECTED_BAD / max(1, nodes)))
    if nodes <= _SMALL_FLEET:
        plain = replace(plain, fabric_share=_FABRIC_SHARE)
    if not compares(order):
        return plain
    shared = any(test.shared_kernel for test in tests)
    noise = max(_LEAST_SHARED if shared else _LEAST, _noise_of(tests))
    loss = max(plain.smallest_loss, _TIMES_NOISE * noise, _SHARED_LOSS if shared else 0.0)
    return replace(
        plain,
        values=True,
        noise=round(noise, 3),
        smallest_loss=round(min(loss, 0.9), 2),
        disturbed_share=0.05 if shared else plain.disturbed_share,
        healthy_value=1.0,
    )


def relative(tests: Sequence[EndedTest], *, higher_is_better: bool) -> dict[str, float]:
    """Test → its value over that of a healthy group of its size, so that 1 is healthy and less is slow.

    That is the median of its round where that has enough groups of its size: what slowed the whole round is no group's fault. Where it has few, the better
    half of all rounds: of two groups of which one is slow, the middle is neither.
    """
    valued = [test for test in tests if test.kind == "passed" and test.value is not None and test.value > 0]
    rounds, sizes = _like_groups(valued), _of_size(valued)
    found = {}
    for test in valued:
        of_round = _values(rounds[test.test.round, len(test.test.nodes)])
        of_size = sorted(_values(sizes[len(test.test.nodes)]), reverse=higher_is_better)
        if len(of_round) >= _MANY:
            healthy = statistics.median(of_round)
        elif len(of_size) > 1:
            healthy = statistics.median(of_size[: (len(of_size) + 1) // 2])
        else:
            continue
        value = test.value or 0.0
        found[test.test.id] = value / healthy if higher_is_better else healthy / value
    return found


def _values(tests: Iterable[EndedTest]) -> list[float]:
    return [test.value for test in tests if test.value is not None]


def _of_size(tests: Iterable[EndedTest]) -> dict[int, list[EndedTest]]:
    found: dict[int, list[EndedTest]] = {}
    for test in tests:
        found.setdefault(len(test.test.nodes), []).append(test)
    return found


def compares(order: IsolationOrder) -> bool:
    """True where groups have numbers that are compared."""
    if not order.check:
        return order.rule.compares
    return rate_of(order.check, order.metric) is not None


def _higher_is_better(order: IsolationOrder) -> bool:
    if not order.check:
        return not order.rule.lower_is_better
    metric = rate_of(order.check, order.metric)
    return metric is None or metric.direction == "higher"


def _noise_of(tests: Sequence[EndedTest]) -> float:
    """Relative spread of healthy groups of like size, robustly; at least that of a group's own repeats.

    Of rounds with enough groups it is that of each round; else that of the better half of all rounds, which bad groups are not in.
    """
    valued = [test for test in tests if test.kind == "passed" and test.value is not None and test.value > 0]
    within = [test.noise for test in valued if test.noise]
    own = statistics.median(within) if within else 0.0
    apart: list[float] = []
    for group in _like_groups(valued).values():
        values = _values(group)
        middle = statistics.median(values)
        apart += [abs(value / middle - 1) for value in values] if len(values) >= _MANY else []
    if len(apart) >= _ENOUGH:
        return max(own, 1.4826 * statistics.median(apart))
    halves = [sorted(_values(group), reverse=True)[: (len(group) + 1) // 2] for group in _of_size(valued).values()]
    known = [statistics.stdev(half) / statistics.fmean(half) / _OF_BETTER_HALF for half in halves if len(half) > 2]
    return max([own, *(known or [_UNKNOWN])])


def _like_groups(tests: Iterable[EndedTest]) -> dict[tuple[int, int], list[EndedTest]]:
    found: dict[tuple[int, int], list[EndedTest]] = {}
    for test in tests:
        found.setdefault((test.test.round, len(test.test.nodes)), []).append(test)
    return found
