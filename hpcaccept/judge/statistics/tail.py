"""Whether healthy values have heavy tails: likelihoods of Student's t against the normal distribution, of values in robust widths.

Density of a t of ν degrees of freedom and scale 1: Γ((ν + 1)/2) / (Γ(ν/2) √(νπ)) · (1 + x²/ν)^(−(ν + 1)/2) (NIST/SEMATECH e-Handbook of Statistical
Methods, 1.3.6.6.4, https://www.itl.nist.gov/div898/handbook/eda/section3/eda3664.htm). Widths are those of ``peer_rule.robust``, which finds more
than 1 for such a t (``WIDTH_OF_T``), so a value of x widths lies at x · WIDTH_OF_T of the t. Faults are on the slow side: of measured units
only the fast side is asked (``tail_of``), of units that somebody vouches for both (``learned_rule``).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
#: From so many values on the tail is estimated.
TAIL_FROM = 64
#: Degrees of freedom of the tails that are tried → what ``peer_rule.robust`` finds for such a t of scale 1 (of 4,000 exact quantiles:
#: found once, because finding it takes seconds; a test finds one again).
WIDTH_OF_T = {5.0: 1.119895166, 7.0: 1.083792938, 10.0: 1.057485938, 20.0: 1.028241120}
#: The heaviest of them.
HEAVIEST = min(WIDTH_OF_T)
#: Logarithm of how much likelier than the normal one each must be: few subjects look heavier or lighter than they are.
_GAINS = {5.0: 2.0, 7.0: 1.5, 10.0: 1.0, 20.0: 0.5}
#: Values at the end that are parted from the others by so many widths, and half of theirs, are no tail; at most this share of all.
_ODD_GAP, _ODD_SHARE = 2.5, 0.03


def width_of_tail(df: float) -> float:
    """What ``peer_rule.robust`` finds for a t of scale 1, of the degrees of freedom that are tried; 1 for the normal one."""
    return WIDTH_OF_T.get(df, 1.0)


def tail_of(loss: Floats, sigma: Floats) -> float:
    """Degrees of freedom of the t that the fast side of many subjects looks like; inf: the normal one is likely enough.

    Faults are on the slow side. Healthy values whose slow side alone is heavy are not seen by this.

    Args:
        loss: float64[u], relative; positive is slower.
        sigma: float64[u], robust relative widths.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        fast = -(loss / sigma)[(loss < 0) & (sigma > 0)]
    fast = without_odd_ones(np.sort(fast[np.isfinite(fast)]), len(loss))
    if len(fast) < TAIL_FROM // 4:
        return math.inf
    likely = {df: log_likelihood_of_t(fast, df) - gain for df, gain in _GAINS.items()}
    best = max(likely, key=likely.__getitem__)
    return best if likely[best] > log_likelihood_of_normal(fast) else math.inf


def without_odd_ones(ranked: Floats, of: int) -> Floats:
    """Ascending widths without those at the end, a few of so many, that a gap parts from the others: a tail has none.

    One unit of another bin, an empty measurement that reads as a miracle, or a slow unit that somebody has vouched for must not widen
    every limit.
    """
    for odd in range(min(int(_ODD_SHARE * of), len(ranked) - 1), 0, -1):
        last, first = ranked[-odd - 1], ranked[-odd]
        if first - last > max(_ODD_GAP, last / 2):
            return ranked[:-odd]
    return ranked


def log_likelihood_of_normal(widths: Floats) -> float:
    """Of a normal distribution with standard deviation 1."""
    return -0.5 * float(np.sum(widths**2)) - len(widths) * math.log(math.sqrt(2 * math.pi))


def log_likelihood_of_t(widths: Floats, df: float) -> float:
    """Of a t of so many degrees of freedom (of ``WIDTH_OF_T``) whose robust width is 1."""
    scale = width_of_tail(df)
    constant = log_constant_of_t(df) + math.log(scale)
    return len(widths) * constant - (df + 1) / 2 * float(np.sum(np.log1p((widths * scale) ** 2 / df)))


def log_constant_of_t(df: float) -> float:
    """Logarithm of the density of a t of scale 1 at its middle."""
    return math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - math.log(df * math.pi) / 2
