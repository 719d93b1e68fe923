"""Whom the rules of others would blame: their published rules, written anew, on the same first launch.

None of them measures suspects again by itself; ``again`` gives each the retests that ours has. Each is given every value of the
run, those that test fewer have fewer false alarms in proportion. Sources of the rules: DCGM's plugins and AzureHPC node health checks (fixed limits, 0.75 to 0.9 of typical),
azurehpc's cluster outlier detection (z −2, modified z −2, GEMM −3.5 % and −7 %), SuperBench (fixed share of an iterated mean; its paper,
arXiv 2402.06194: distance of cumulated distributions, similarity 0.95), boxplots (Tukey, 1977).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcaccept.judge.statistics.peer_rule import MAD_TO_SIGMA
from hpcaccept.judge.statistics.run_noise import middle_of

if TYPE_CHECKING:
    from collections.abc import Callable

Floats = npt.NDArray[np.float64]
Slow = npt.NDArray[np.bool_]
#: Fixed losses that peers use, against what is typical of the part.
FIXED = (0.25, 0.10, 0.07, 0.05, 0.035)


def fixed(loss: float) -> Callable[[Floats], Slow]:
    """Slower than a share of the typical value: of a healthy fleet, whose site makes 1 % more or less of it."""
    return lambda blocks: _middle(blocks) < 1 - loss


def iterated_mean(loss: float) -> Callable[[Floats], Slow]:
    """SuperBench's fix_threshold: below a share of the mean of those that are not below it."""

    def rule(blocks: Floats) -> Slow:
        value = _middle(blocks)
        kept = value[np.isfinite(value)]
        for _ in range(20):
            inside = kept[np.abs(kept / kept.mean() - 1) <= loss]
            if not len(inside) or len(inside) == len(kept):
                break
            kept = inside
        return np.asarray(value < (1 - loss) * kept.mean())

    return rule


def z_score(cut: float) -> Callable[[Floats], Slow]:
    """Mean and standard deviation."""

    def rule(blocks: Floats) -> Slow:
        value = _middle(blocks)
        return np.asarray((value - np.nanmean(value)) / np.nanstd(value) < -cut)

    return rule


def modified_z(cut: float) -> Callable[[Floats], Slow]:
    """Median and MAD."""

    def rule(blocks: Floats) -> Slow:
        value = _middle(blocks)
        center = np.nanmedian(value)
        return np.asarray(value - center < -cut * MAD_TO_SIGMA * np.nanmedian(np.abs(value - center)))

    return rule


def boxplot(reach: float) -> Callable[[Floats], Slow]:
    """Below the first quartile by a multiple of the distance of the quartiles."""

    def rule(blocks: Floats) -> Slow:
        value = _middle(blocks)
        first, third = np.nanpercentile(value, (25, 75))
        return np.asarray(value < first - reach * (third - first))

    return rule


def distributions(similarity: float) -> Callable[[Floats], Slow]:
    """Area between a subject's cumulated distribution and the fleet's, relative to where the fleet's lies."""

    def rule(blocks: Floats) -> Slow:
        mine = np.sort(blocks, axis=1)
        typical = np.nanmedian(mine, axis=0)
        distance = np.mean(np.abs(mine - typical), axis=1) / typical.mean()
        return np.asarray(1 - distance < similarity)

    return rule


def own_past(cut: float, past: Floats, now: Floats) -> Slow:
    """Median and MAD of the subject's own runs, float64[r, u], as a plain reading of the idea has it."""
    center = middle_of(past)
    width = MAD_TO_SIGMA * middle_of(np.abs(past - center))
    return np.asarray(now - center < -cut * width)


def cusum(
    series: Floats, forgiven: float = 0.75, alarm: float = 8.0, clipped: float = math.inf
) -> npt.NDArray[np.intp]:
    """The run of float64[r, u] at which each subject's CUSUM alarms, -1: never; centre and width of its first ten runs."""
    first = series[:10]
    center = np.median(first, axis=0)
    width = MAD_TO_SIGMA * np.median(np.abs(first - center), axis=0)
    total, found = np.zeros(series.shape[1]), np.full(series.shape[1], -1)
    for number, value in enumerate(series):
        score = np.clip((center - value) / width, -clipped, clipped)
        total = np.maximum(total + score - forgiven, 0)
        found = np.where((found < 0) & (total > alarm) & (number >= len(first)), number, found)
    return found


def changed(series: Floats, penalty: float = 12.0) -> npt.NDArray[np.intp]:
    """The run of float64[r, u] at which the least-squares segmentation of the runs so far first ends in a lower segment, -1: never.

    Found is what PELT finds (R. Killick, 2012, https://doi.org/10.1080/01621459.2012.737745): it skips only what cannot win.
    Widths are those of the first ten runs, segments at least two runs long.
    """
    first = series[:10]
    width = MAD_TO_SIGMA * np.median(np.abs(first - np.median(first, axis=0)), axis=0)
    score = (series - np.median(first, axis=0)) / width
    runs, subjects = series.shape
    sums = np.vstack([np.zeros(subjects), np.cumsum(score, axis=0)])
    squares = np.vstack([np.zeros(subjects), np.cumsum(score**2, axis=0)])
    best = np.full((runs + 1, subjects), np.inf)
    best[0] = -penalty
    begins = np.zeros((runs + 1, subjects), np.intp)
    found = np.full(subjects, -1)
    columns = np.arange(subjects)
    for end in range(2, runs + 1):
        begin = np.arange(end - 1)
        length = (end - begin)[:, None]
        cost = squares[end] - squares[begin] - (sums[end] - sums[begin]) ** 2 / length + best[begin] + penalty
        begins[end] = cost.argmin(axis=0)
        best[end] = cost[begins[end], columns]
        last = begins[end]
        before = begins[last, columns]
        with np.errstate(divide="ignore", invalid="ignore"):
            lower = (sums[end] - sums[last, columns]) / (end - last) < (sums[last, columns] - sums[before, columns]) / (
                last - before
            )
        found = np.where((found < 0) & (last > 0) & lower & (end > 10), end - 1, found)
    return found


def _middle(blocks: Floats) -> Floats:
    """What peers report: the median of the blocks."""
    return np.asarray(np.median(blocks, axis=1))


#: Name for people → rule on float64[u, b] of one metric.
RIVALS: dict[str, Callable[[Floats], Slow]] = {
    **{f"fixed −{loss:.1%} of typical".replace(".0%", " %").replace("%", " %").replace("  %", " %"): fixed(loss) for loss in FIXED},
    "iterated mean −5 % (SuperBench)": iterated_mean(0.05),
    "distributions, similarity 0.95": distributions(0.95),
    "z −2": z_score(2),
    "z −3": z_score(3),
    "modified z −2": modified_z(2),
    "modified z −3.5": modified_z(3.5),
    "boxplot 1.5": boxplot(1.5),
    "boxplot 3": boxplot(3),
}  # fmt: skip
#: Rules on the own past: name for people → widths, and relative loss (with one, seen in two runs that follow each other).
PAST_RIVALS: dict[str, tuple[float, float]] = {
    "own past, z −3": (3.0, 0.0),
    "own past, z −5": (5.0, 0.0),
    "own past, z −5 and 0.4 %, twice": (5.0, 0.004),
}
