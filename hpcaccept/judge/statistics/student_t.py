"""How far out a rare value lies: the tail of Student's t, for widths that are only known from a few subjects.

Written out because scipy.stats costs every report 0.9 s to import. Formula: NIST Digital Library of Mathematical Functions,
8.17 (incomplete beta function, its continued fraction), https://dlmf.nist.gov/8.17.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

#: From so many degrees of freedom on t is taken for normal where an exact quantile is asked for.
_NORMAL_FROM = 1e5


def normal_tail(z: float) -> float:
    """Chance of a standard normal value above ``z``; keeps its precision where it is tiny."""
    return math.erfc(z / math.sqrt(2)) / 2


def normal_quantile(tail: float) -> float:
    """The value that a standard normal one exceeds with the chance ``tail`` (0 < tail < 1); precise where the chance is tiny."""
    return -NormalDist().inv_cdf(tail)


def t_tail(t: float, df: float) -> float:
    """Chance that Student's t of ``df`` degrees of freedom (any positive number) lies above ``t`` ≥ 0."""
    if df >= _NORMAL_FROM:
        return normal_tail(t)
    return _incomplete_beta(df / (df + t * t), df / 2, 0.5) / 2


@lru_cache(maxsize=4096)
def t_quantile(tail: float, df: float) -> float:
    """The value that Student's t exceeds with the chance ``tail`` (0 < tail < 0.5)."""
    if df >= _NORMAL_FROM:
        return normal_quantile(tail)
    low, high = 0.0, 2.0
    while t_tail(high, df) > tail and high < 1e12:
        low, high = high, high * 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if t_tail(middle, df) > tail else (low, middle)
    return high


def t_quantiles(tail: float, df: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``t_quantile`` for many degrees of freedom, each at least 1: its logarithm is drawn straight between some of them.

    Tails are rounded down, by up to 6 %, so that hundreds of comparisons, night after night, ask for the same ones.
    """
    one_over, logs = _grid(math.floor(math.log10(tail) * 40))
    return np.asarray(np.exp(np.interp(1 / np.maximum(df, 1.0), one_over, logs)))


@lru_cache(maxsize=256)
def _grid(step: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """1 / df, ascending, and the logarithm of the quantile there."""
    tail, one_over = 10 ** (step / 40), np.r_[0.0, np.geomspace(1e-3, 1.0, 40)]
    quantiles = [t_quantile(tail, 1 / x if x else math.inf) for x in one_over.tolist()]
    return one_over, np.log(np.array(quantiles))


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I_x(a, b)."""
    if not 0 < x < 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    # The fraction converges fast below the mean only; above it the mirrored one does.
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """Continued fraction of the incomplete beta function (DLMF 8.17.22) by Lentz' method."""
    tiny = 1e-300
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    found = d
    for m in range(1, 300):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / ((1 + term * d) or tiny)
            c = (1 + term / c) or tiny
            found *= c * d
        if abs(c * d - 1) < 1e-12:
            break
    return found
