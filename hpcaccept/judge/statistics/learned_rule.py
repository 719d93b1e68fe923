"""How far from what was learned a healthy unit may lie. Numbers of learned units in, the law of a further one out.

A limit that is learned from *n* units and holds *m* values must be missed by a healthy one of them with a chance that was stated before
*m* was known. So what is kept of the units is a law, and the limit follows from it and from the number of values of the run that is judged.

- **One unit more.** The value of a further unit, less the centre of *n* others, divided by their robust width, is a Student's t whose
  degrees of freedom and scale depend on *n* alone (``peer_rule.freedom_of``: the comparison of a peer with the others is the same one). With
  the chance *c* for each of *m* values, any of them is beyond its limit with *m c* at most, however much the values depend on each
  other: that they share a centre and a width costs nothing (Boole's inequality; with a common width it is right to 2 %).
- **Few units** hardly know their width: of 4, one value in a million is 140 widths out. What is known of the class of the metric (the floor is
  some four healthy widths) counts as ``peer_rule.PRIOR_DF`` units more, where the width does not contradict it.
- **A fleet is wide in all that it does** where it is: board, cooling and power are shared by its metrics. The median over the metrics of width against
  class, and not below 1, is what the class means here.
- **Tails.** Units of some fleets differ by a normal distribution, of others by one with heavy tails, and few units do not show which. So the law is a mixture: with a
  chance of ``_BEFORE`` a t of 5 degrees of freedom before anything is seen, and by Bayes' theorem after it. What is seen are the learned units on both sides
  (somebody vouches for them), in all metrics together. Few of them leave the chance where it was, and limits wide; some hundred values settle it.

What is not known: tails that are heavier still, and a slow side that is longer than the learned units show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.statistics.peer_rule import (
    PRIOR_DF,
    WIDTHS_IN_FLOOR,
    freedom_of,
    most_of_class,
    robust,
    variance_with_class,
)
from hpcaccept.judge.statistics.student_t import t_quantile, t_tail
from hpcaccept.judge.statistics.tail import (
    HEAVIEST,
    TAIL_FROM,
    log_likelihood_of_normal,
    log_likelihood_of_t,
    width_of_tail,
    without_odd_ones,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.judge.statistics.peer_rule import Floats

#: Chance that a fleet has such tails before anything is seen of it; logarithm of odds that are certain; chance that changes no limit; and one at which
#: a metric is believed against all others.
_BEFORE, _CERTAIN, _NEGLIGIBLE, _LIKELY = 0.1, 50.0, 1e-9, 0.95
#: Values of fewer units than these, less their own median, have a shape of their own.
_TAIL_FROM_UNITS = 16


@dataclass(frozen=True)
class Law:
    """Of the value of one further healthy unit, relative to the centre.

    Attributes:
        width: scale of the difference, of spread, class and the centre's own scatter together.
        freedom: degrees of freedom of the width.
        tail: chance that the units themselves differ by a t of 5 degrees of freedom instead of a normal distribution.
    """

    width: float
    freedom: float
    tail: float = 0.0

    def loss_at(self, chance: float) -> float:
        """The relative loss beyond which a healthy unit lies with a chance (0 < chance < 0.5)."""
        return _widths_at(chance, self.freedom, self.tail) * self.width


@lru_cache(maxsize=4096)
def _widths_at(chance: float, freedom: float, tail: float) -> float:
    """Quantile of the mixture; the chance of the heavy one is at least what lies beyond it."""
    low = t_quantile(chance, freedom)
    if not tail:
        return low
    scale = width_of_tail(HEAVIEST)
    high = max(low, t_quantile(chance, HEAVIEST) / scale)
    for _ in range(40):
        middle = (low + high) / 2
        beyond = (1 - tail) * t_tail(middle, freedom) + tail * t_tail(middle * scale, HEAVIEST)
        low, high = (middle, high) if beyond > chance else (low, middle)
    return high


def laws_of(
    deviations: Sequence[Floats], floors: Sequence[float], unseen: Sequence[float], *, of_a_fleet: bool = True
) -> list[Law]:
    """The law of each metric that units were measured in.

    Args:
        deviations: of each metric float64[n], relative to the centre, one for each unit.
        floors: of the class of each metric: smallest relative loss that is a FAIL.
        unseen: of each metric the relative standard deviation that one measurement has and ``deviations`` do not show, where each is the
            middle of several.
        of_a_fleet: False where the numbers of one metric say nothing of those of another.
    """
    if not deviations:
        return []
    widths = np.array([math.hypot(_width(of), more) for of, more in zip(deviations, unseen, strict=True)])
    usual = np.array(floors, float) / WIDTHS_IN_FLOOR
    if of_a_fleet:
        usual *= fleet_against_class(widths / usual, np.array([freedom_of(len(of))[0] for of in deviations]))
    laws = [law_of(*each) for each in zip(widths.tolist(), map(len, deviations), usual.tolist(), strict=True)]
    together = _tail_together(deviations, [law.width for law in laws]) if of_a_fleet else 0.0
    alone = [_tail(of) for of in deviations]
    # One metric by itself may have what the others have not; it must show it.
    tails = [own if own > max(_LIKELY, together) else together for own in alone]
    return [replace(law, tail=tail) for law, tail in zip(laws, tails, strict=True)]


def law_of(width: float, units: int, usual: float, kept: float = 1.0) -> Law:
    """The law of one metric, without a tail.

    Args:
        width: robust relative width of the units.
        units: how many.
        usual: width of the class, or of a fleet that is wide in everything.
        kept: share of the information that the width has, against that of ``peer_rule.robust``.
    """
    freedom, scale = freedom_of(units)
    freedom *= kept
    if width > float(most_of_class(usual, freedom)):
        return Law(width * scale, freedom)
    shared = math.sqrt(float(variance_with_class(width, freedom, usual, PRIOR_DF)))
    return Law(shared * math.sqrt(1 + _of_centre(units)), freedom + PRIOR_DF)


def centre_scatter(law: Law, units: int) -> float:
    """Relative standard deviation of the centre that a law is about."""
    return law.width * math.sqrt(_of_centre(units) / (1 + _of_centre(units)))


def _of_centre(units: int) -> float:
    """Variance of the median of units against that of one: π/2 of the mean's, and of one alone its own."""
    return min(1.0, math.pi / 2 / units)


def fleet_against_class(ratios: Floats, freedom: Floats) -> float:
    """How many times as wide as the class of each metric lets expect this fleet is, 1 at least.

    Args:
        ratios: float64[k], width of each metric against that of its class.
        freedom: float64[k], degrees of freedom of each width.
    """
    told = freedom >= 1
    if not told.any():
        return 1.0
    # The median of a root of chi² lies below 1 (Wilson, Hilferty).
    return max(1.0, float(np.median(ratios[told] / (1 - 2 / (9 * freedom[told])) ** 1.5)))


def _width(of: Floats) -> float:
    return float(robust(of[None, :])[1][0])


def _tail_together(deviations: Sequence[Floats], width: Sequence[float]) -> float:
    """Of all metrics, each in widths of its own; of few what was thought before."""
    told = [of / width[n] for n, of in enumerate(deviations) if len(of) >= _TAIL_FROM_UNITS and width[n] > 0]
    every = np.concatenate(told) if told else np.empty(0)
    return _tail(every) if len(every) >= TAIL_FROM else _BEFORE


def _tail(widths: Floats) -> float:
    """Chance that many healthy values are of a t of 5 degrees of freedom, by both of their sides; 0 of few."""
    ranked = np.sort(np.abs(widths))
    scale = _width(ranked * np.where(np.arange(len(ranked)) % 2, 1, -1))
    if len(ranked) < TAIL_FROM or scale <= 0:
        return 0.0
    ranked = without_odd_ones(ranked / scale, len(ranked))
    likelier = log_likelihood_of_t(ranked, HEAVIEST) - log_likelihood_of_normal(ranked)
    odds = _BEFORE / (1 - _BEFORE) * math.exp(min(likelier, _CERTAIN))
    found = odds / (1 + odds)
    return found if found > _NEGLIGIBLE else 0.0
