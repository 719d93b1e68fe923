"""Whether the noise of this run's units is normal. Read off all of its comparisons together: numbers in, weights and a cut out.

A cut for normal noise blames somebody in every run of a fleet whose units differ by a t of 3 degrees of freedom, or whose slow side is
long (a fleet that nobody sorted). One comparison of eight units cannot tell; thirty together can. Each kind of noise has a chance beforehand
(``_KINDS``), and the distances of all units from the middle of their like, in widths, say how likely each is: those on the fast side,
on which there are no faults, and the bulk of the slow side; from ``_BULK`` widths on it counts only that a value is there. Units that
are often far out, or slow in the mean of everything, are left out. What follows is the chance of a healthy value beyond any distance under all kinds together
(a predictive mixture), and from it the distance that has the stated chance.

Where the comparisons are too few to tell (three nodes), the chance beforehand is what is left: between the normal cut and this one lies
what is slow in a normal fleet and healthy in another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcaccept.judge.statistics.student_t import normal_tail, t_tail
from hpcaccept.judge.statistics.tail import log_constant_of_t

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = npt.NDArray[np.float64]
#: Widths on the slow side from which on it counts only that a value is there.
_BULK = 1.5
#: A value that no kind lets expect says no more than this against one.
_LEAST = -12.0
#: Likelihoods of fewer values than this count by this power: few look heavier or lighter than they are.
_TELL, _TEMPER = 300, 0.7
#: Distances from the middle of fewer like units than this vary with that middle: such a share of a skewed kind looks normal.
_FEW, _BLURRED = 16, 0.15
#: Heavy kinds are said to be the noise of a run from this weight on.
_SAID_FROM = 0.8


@dataclass(frozen=True)
class Kind:
    """One kind of noise: a t of ``df`` degrees of freedom, or a lognormal of shape ``skew`` with its long side on the slow one.

    Attributes:
        words: what it is.
        before: its chance before any evidence.
        width: what ``peer_rule.robust`` finds for one of scale 1 (exact quantiles; a test finds it again).
        df: inf: normal.
        skew: 0: none.
    """

    words: str
    before: float
    width: float = 1.0
    df: float = math.inf
    skew: float = 0.0

    @property
    def heavy(self) -> bool:
        """True for all but the normal one."""
        return bool(self.skew) or math.isfinite(self.df)

    def tail(self, widths: float) -> float:
        """Chance of a healthy value slower by more than so many widths."""
        if self.skew:
            return normal_tail(math.log1p(widths * self.width) / self.skew)
        return t_tail(widths * self.width, self.df)

    def far(self, widths: float) -> float:
        """``tail`` of the longest kind that the bulk of the values cannot be told apart from."""
        return _LONGEST.tail(widths) if self.skew else self.tail(widths)

    def log_density(self, slow: Floats, blurred: float) -> Floats:
        """Of values that are slower by so many widths (faster: negative), of which a share has normal noise of its centre beside it."""
        scaled = slow * self.width
        if self.skew:
            inside = np.maximum(1 + scaled, 1e-9)
            log = (
                -0.5 * (np.log(inside) / self.skew) ** 2 - np.log(inside) - math.log(self.skew * math.sqrt(2 * math.pi))
            )
            log += math.log(self.width)
            if blurred:
                log = np.logaddexp(
                    log + math.log(1 - blurred), -0.5 * slow**2 + math.log(blurred / math.sqrt(2 * math.pi))
                )
            return np.maximum(log, _LEAST)
        if not self.heavy:
            return np.maximum(-0.5 * slow**2 - 0.5 * math.log(2 * math.pi), _LEAST)
        return log_constant_of_t(self.df) + math.log(self.width) - (self.df + 1) / 2 * np.log1p(scaled**2 / self.df)


_KINDS = (
    Kind("normal", 0.92),
    Kind("a t of 5 degrees of freedom", 0.025, 1.1199, df=5.0),
    Kind("a t of 3 degrees of freedom", 0.012, 1.2119, df=3.0),
    Kind("a longer slow side (lognormal, shape 0.35)", 0.018, 0.3495, skew=0.35),
    Kind("a longer slow side (lognormal, shape 0.5)", 0.025, 0.4984, skew=0.5),
)
_LONGEST = _KINDS[-1]


@dataclass(frozen=True)
class Noise:
    """What the noise of a run's units is.

    Attributes:
        weights: of each of ``_KINDS``, together 1; none: it is taken to be normal.
    """

    weights: tuple[float, ...]

    @property
    def said(self) -> str:
        """Which heavy kind it is, in words; empty: normal noise fits, or too few values tell."""
        if not self.weights or 1 - self.weights[0] < _SAID_FROM:
            return ""
        return max(zip(self.weights[1:], _KINDS[1:], strict=True), key=lambda pair: pair[0])[1].words

    def beyond(self, chance: float) -> float:
        """Widths beyond which a healthy value of the heavy kinds lies with this chance; 0: any."""
        heavy = [
            (weight, kind)
            for weight, kind in zip(self.weights, _KINDS, strict=False)
            if kind.heavy and weight > chance / 100
        ]
        low, high = 0.0, 1.0
        while (more := sum(weight * kind.far(high) for weight, kind in heavy) > chance) and high < 1e6:
            low, high = high, high * 2
        for _ in range(30 if low or more else 0):
            middle = (low + high) / 2
            enough = sum(weight * kind.far(middle) for weight, kind in heavy) <= chance
            low, high = (low, middle) if enough else (middle, high)
        return high if low else 0.0


def noise_of(slow: Sequence[tuple[int, Floats]]) -> Noise:
    """Of the distances of units from the middle of their like, in widths, positive is slower; and of how many like units each comparison is."""
    logs, count = np.zeros(len(_KINDS)), 0
    for blurred in (0.0, _BLURRED):
        values = [mine for count, mine in slow if (count < _FEW) == bool(blurred)]
        told = np.concatenate(values) if values else np.empty(0)
        told = told[np.isfinite(told)]
        bulk = told[told <= _BULK]
        beyond = len(told) - len(bulk)
        count += len(told)
        for number, kind in enumerate(_KINDS):
            logs[number] += float(kind.log_density(bulk, blurred).sum()) + beyond * math.log(kind.tail(_BULK))
    logs = (_TEMPER if count < _TELL else 1.0) * logs + np.log([kind.before for kind in _KINDS])
    shares = np.exp(logs - logs.max())
    return Noise(tuple((shares / shares.sum()).tolist()))
