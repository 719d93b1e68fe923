"""Whether the units of this run are as alike as those of its classes: how much wider, by all of its comparisons together. Numbers only.

Few like units know their own width badly, and what is known of their class (a quarter of the floor) may be wrong for a fleet: air-cooled
cards differ twice as much. One comparison of three units cannot say so; thirty can. So the widths of all *other* comparisons of a run, each
in widths of its class, are put together: their mean square, each with its degrees of freedom, none above ``_CLIPPED`` times the mean (a
faulty unit in one of them). Each node is told by the others: a node that is slow in everything is no evidence of how healthy ones differ.
Only where it is faster than the others its own distance counts, because there are no faults on that side.

The result is weighed against the class, which counts like ``_CLASS_DF`` degrees of freedom, fewer the more it is contradicted (the
estimate of an empirical Bayes, as of G. K. Smyth, 2004, https://doi.org/10.2202/1544-6115.1027, with a prior that may be wrong). It
is never below the class: a run of quiet units is judged as before. How sure it is enters the degrees of freedom of each cut.

Simulated by ``python -m benchmarks.detection.widths --runs 100``: of 100 healthy runs of one launch those with a FAIL, without it and with it, for units that
are 1, 1.5, 2 and 4 times as wide as their class (0 of 100 is below 3.7, 2 of 100 are 0.6 to 7.0 %):

* 3 units × 30 metrics: 0, 0, 7, 89 without; 0, 0, 0, 0 with it; 8 units × 30: 0, 4, 10, 11 and 0, 0, 0, 0;
* 3 units × 5 metrics: 0, 7, 18, 66 and 0, 2, 2, 2. A unit that is slower by 6 and 10 class widths is found in 69 and 100 of 100 (79 and 100 without).

Whole runs with their retests: the first tables of docs/explanation/detection.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = npt.NDArray[np.float64]
#: A width above this many times the mean square of all counts as that. (Chosen: of two degrees of freedom one in 150 healthy squares is larger.)
_CLIPPED = 5.0
#: The class counts like so many degrees of freedom, until the mean square is so many times that of the class. (Chosen, by the table above.)
_CLASS_DF, _DOUBTED_FROM = 12.0, 1.5
#: The metrics of a run differ in how much wider they are than their class: what is known of one from the others counts for no more than this.
#: (Chosen, likewise.)
MOST_DF = 20.0
#: Where the mean of the squares is looked for first: so many times their median (1.4 for two degrees of freedom, 1.3 for three).
_MEAN_BY_MEDIAN = 1.5
#: Mean square of the robust width of few normal values of width 1, and its degrees of freedom: those of a chi² of the same mean and variance
#: (``python -m benchmarks.detection.widths``, a million for each number, within 1 %; from 8 values on formulas: within 1 % and 9 %).
_MEAN_SQUARE = {2: 1.286, 3: 1.281, 4: 1.278, 5: 1.238, 6: 1.183, 7: 1.152}
_DF = {2: 1.0, 3: 2.0, 4: 3.0, 5: 3.8, 6: 4.4, 7: 5.1}
#: Variants of one check count together for no more than so many metrics: they go up and down together. (Chosen.)
_VARIANTS = 8


@dataclass(frozen=True, eq=False)
class Told:
    """What one comparison tells of the width of the run's units, in widths of its class.

    Attributes:
        check: whose metric it is.
        others: how many values each width is made of.
        square: float64[k], square of the robust width of the others of each node of the run; NaN: the node is not in it.
        fast: float64[k], square of what the node's only unit is faster than the middle of the others, of variance 1 for units like the class;
            NaN: it is not, or the node has more than one.
    """

    check: str
    others: int
    square: Floats
    fast: Floats


def mean_square(others: int) -> float:
    """Of the robust width (``peer_rule.robust``) of so many normal values of width 1."""
    return _MEAN_SQUARE.get(others, 1 + 1.05 / max(others, 1))


def freedom(others: int) -> float:
    """Degrees of freedom of that width."""
    return _DF.get(others, 0.8 * others - 0.6)


def wider_than_class(told: Sequence[Told]) -> tuple[Floats, Floats, Floats]:
    """Of each comparison and node, by the evidence of the other comparisons: float64[c, k] each.

    How many times wider than the class healthy units are (at least 1), how many degrees of freedom that is worth, and the mean square of
    the others' widths by itself, in squares of class widths; NaN: there are no others.
    """
    shape = (len(told), len(told[0].square)) if told else (0, 0)
    checks = [one.check for one in told]
    share = {name: min(1.0, _VARIANTS / checks.count(name)) for name in set(checks)}
    weight = np.array([share[one.check] * freedom(one.others) for one in told])[:, None]
    square = np.stack([one.square / mean_square(one.others) for one in told]) if told else np.empty(shape)
    fast = np.stack([one.fast for one in told]) if told else np.empty(shape)
    weights = np.where(np.isfinite(square), weight, 0.0)
    of_fast = np.where(np.isfinite(fast), np.array([share[name] for name in checks])[:, None], 0.0)
    square, fast = np.nan_to_num(square, posinf=1e12), np.nan_to_num(fast, posinf=1e12)
    df = weights + of_fast
    together = df.sum(axis=0)
    # Those that are not there come last, and are not counted.
    ranked, there = np.sort(np.where(weights > 0, square, np.inf), axis=0), (weights > 0).sum(axis=0)
    middle = ranked[np.maximum(there - 1, 0) // 2, np.arange(shape[1])] if told else np.empty(0)
    mean = np.where(there > 0, middle, 0.0) * _MEAN_BY_MEDIAN
    with np.errstate(invalid="ignore", divide="ignore"):
        for _ in range(10):
            drawn = weights * np.minimum(square, _CLIPPED * mean) + of_fast * np.minimum(fast, _CLIPPED * mean)
            mean = np.nan_to_num(drawn.sum(axis=0) / together)
        left = together - df
        others = np.where(left > 0, (drawn.sum(axis=0) - drawn) / left, 1.0)
    believed = _CLASS_DF / np.maximum(1.0, others / _DOUBTED_FROM) ** 2
    wider = np.sqrt(np.maximum(1.0, (believed + left * others) / (believed + left)))
    return wider, 1 / (1 / MOST_DF + 1 / (believed + left)), np.where(left > 0, others, np.nan)
