"""How much a subject varies from run to run: its own runs and those of all like subjects put together. Numbers only.

A subject repeats itself far better than it agrees with its like, but five runs tell its width badly. So the widths of all like
subjects are put together: each subject's own width and the typical one, weighted by how much the subjects differ in width (the
moderated t of G. K. Smyth, 2004, https://doi.org/10.2202/1544-6115.1027, with robust widths). What a run has of the run before (a warm
week, a neighbour) is read off all of them too: runs that resemble each other are worth fewer.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from hpcaccept.judge.statistics.peer_rule import MAD_TO_SIGMA, WIDTHS_IN_FLOOR, robust

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
#: Fewer past values than this say nothing of a subject's own width.
MIN_PAST = 5
#: Degrees of freedom of a robust width, for each of its values.
OWN_DF = 0.75
#: A subject whose own width is so many times that of its own and its like together is another kind of subject.
RESTLESS = 2.0
#: From so many subjects on it is estimated how much their widths differ; below, the class of the metric counts like so many runs.
_POOL_FROM, _PRIOR_DF = 16, 8.0
#: The common width never counts for more runs than this: healthy subjects do differ.
_MOST_DF = 200.0
#: A width of twenty values is known to a sixth: it need not be found more closely than this.
_SETTLED = 0.01
#: Runs that resemble each other more than this are taken to do so by this much: beyond, nothing could ever be told.
_MOST_KEPT = 0.9
#: So many subjects tell it.
_TELL_KEPT = 2048
#: By how many widths of one launch the best of 1, 2, 3 … launches lies above one, and how wide it is (order statistics of a normal distribution,
#: H. L. Harter, 1961, https://doi.org/10.1093/biomet/48.1-2.151). More launches than these are taken for so many.
_BEST_IS_ABOVE = np.array([0.0, 0.0, 0.5642, 0.8463, 1.0294, 1.1630])
_BEST_IS_WIDE = np.array([1.0, 1.0, 0.8256, 0.7480, 0.7012, 0.6690])
#: Smaller differences are those of floating-point numbers.
_ROUNDING = 1e-9
#: A subject that varies so many times as much as the typical one has changed, or is another kind of subject: it does not tell how much
#: of a run the next one has.
_TYPICAL = 4.0


def middle_of(past: Floats) -> Floats:
    """Median of each subject's values (float64[r, u]); NaN without any."""
    count = np.isfinite(past).sum(axis=0)
    ranked = np.sort(past, axis=0)  # NaN last
    columns = np.arange(past.shape[1])
    return np.asarray((ranked[np.maximum(count - 1, 0) // 2, columns] + ranked[count // 2 * (count > 1), columns]) / 2)


def as_of_one_launch(past: Floats, launches: npt.NDArray[np.uint8] | None, higher: bool) -> Floats:
    """What the best of several launches says of one: lower by what choosing adds, and as much wider as the best is narrower.

    A past of the best of three launches is 0.85 widths above one launch of today, and a quarter narrower. Where the launches of a run do
    not differ, this takes too much from the past, and blames nobody for it.

    Args:
        past: float64[r, u], NaN where absent.
        launches: uint8[r, u], of which each value is the best; 0: nobody knows, taken for one. None: of one each.
        higher: True where larger numbers are better.
    """
    if launches is None or not (launches > 1).any():
        return past
    number = np.minimum(launches, len(_BEST_IS_ABOVE) - 1)
    there = np.isfinite(past)
    wide = np.where(there, _BEST_IS_WIDE[number], 0.0)
    _, width, count = own(past)
    enough = (count >= MIN_PAST) & np.isfinite(width)
    if not enough.any():
        return past
    one = float(np.median(width[enough] * count[enough] / wide.sum(axis=0)[enough]))
    above = _BEST_IS_ABOVE[number] * one
    lowered = past / (1 + above) if higher else past * (1 + above)
    middle = middle_of(lowered)
    return np.asarray(middle + (lowered - middle) / _BEST_IS_WIDE[number])


def resolution_of(past: Floats) -> Floats:
    """float64[u]: relative step of each subject's numbers, the smallest difference of two of them; what is typical, where all are the same.

    Numbers of three digits differ by nothing or by a step. Those of many digits have steps far below their noise.
    """
    if not past.size:
        return np.zeros(past.shape[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        steps = np.diff(np.sort(past, axis=0), axis=0) / np.abs(middle_of(past))
    smallest = np.min(np.where(steps > _ROUNDING, steps, np.inf), axis=0, initial=np.inf)
    known = np.isfinite(smallest)
    return np.where(known, smallest, np.median(smallest[known]) if known.any() else 0.0)


def middle_of_others(past: Floats) -> Floats:
    """float64[r, u]: median of the subject's other values, for each of its values; NaN where there is no other."""
    count = np.isfinite(past).sum(axis=0)
    order = np.argsort(past, axis=0)  # NaN last
    ranked = np.take_along_axis(past, order, axis=0)
    rank = np.argsort(order, axis=0)
    last, columns = np.maximum(count - 1, 0), np.arange(past.shape[1])
    # Without one of them the middle of n values is one place higher for those below it, and one lower for those above.
    low, high = np.maximum(count - 2, 0) // 2, np.maximum(count - 1, 0) // 2
    low, high = low + (rank <= low), high + (rank <= high)
    found = (ranked[np.minimum(low, last), columns] + ranked[np.minimum(high, last), columns]) / 2
    return np.where(np.isfinite(past) & (count > 1), found, np.nan)


def first_values(past: Floats, number: int) -> Floats:
    """The first ``number`` values of each subject, whatever their runs."""
    if np.isfinite(past[:number]).all():
        return past[:number]
    order = np.argsort(~np.isfinite(past), axis=0, kind="stable")
    return np.asarray(np.take_along_axis(past, order, axis=0)[:number])


def own(past: Floats) -> tuple[Floats, Floats, npt.NDArray[np.intp]]:
    """Median, relative robust width and number of each subject's values; NaN without any."""
    count = np.isfinite(past).sum(axis=0)
    center, width = np.full(past.shape[1], np.nan), np.full(past.shape[1], np.nan)
    ranked = np.sort(past, axis=0)  # NaN last
    for number in np.unique(count[count > 0]).tolist():
        these = count == number
        center[these], width[these] = robust(ranked[:number, these].T, _SETTLED)
    with np.errstate(divide="ignore", invalid="ignore"):
        return center, np.abs(width / center), count


def step_widths(past: Floats, center: Floats) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Relative width of each subject by the differences of runs that follow each other, which a drift does not widen, and their number."""
    dense = first_values(past, len(past))
    with np.errstate(invalid="ignore", divide="ignore"):
        steps = np.abs(np.diff(dense, axis=0)) / np.abs(center) / math.sqrt(2)
    if not len(steps):
        return np.full(past.shape[1], np.nan), np.zeros(past.shape[1], np.intp)
    return MAD_TO_SIGMA * middle_of(steps), np.isfinite(steps).sum(axis=0)


def moderated(own_width: Floats, count: npt.NDArray[np.intp], enough: Bools, floor: float) -> tuple[Floats, Floats]:
    """Relative width of each subject and its degrees of freedom, its own runs and all like subjects put together."""
    # Fitted to simulated robust widths of 5 to 60 normal values: their logarithms scatter as those of so many degrees of freedom.
    freedom = np.asarray(OWN_DF * count + 0.3, np.float64)
    known = enough & np.isfinite(own_width) & (own_width > 0)
    common, worth = (floor / WIDTHS_IN_FLOOR) ** 2, _PRIOR_DF
    if known.sum() >= _POOL_FROM:
        common, worth = _common(own_width[known] ** 2, freedom[known])
    df = freedom + worth
    variance = (freedom * np.nan_to_num(own_width) ** 2 + worth * common) / df
    return np.where(enough, np.sqrt(variance), np.nan), df


def kept_of(past: Floats, known: Bools) -> float:
    """How much of a run's noise the next run has (lag-one autocorrelation, 0 to 0.9), of all like subjects; a standard error too high.

    By von Neumann's ratio: the squares of the steps from run to run against the variance about the mean, summed over the subjects.

    Args:
        past: float64[r, u], oldest first, NaN where absent.
        known: bool[u], subjects that may tell.
    """
    rows = np.flatnonzero(known)
    dense = first_values(past[:, rows[:: max(1, len(rows) // _TELL_KEPT)]], len(past))
    count = np.isfinite(dense).sum(axis=0)
    dense, count = dense[:, count >= MIN_PAST], count[count >= MIN_PAST]
    if not len(count):
        return 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        away = dense / np.nanmean(dense, axis=0) - 1
    variance = np.nansum(away**2, axis=0) / (count - 1)
    steps = np.nansum(np.diff(away, axis=0) ** 2, axis=0) / (2 * (count - 1))
    typical = (variance > 0) & (variance < _TYPICAL * np.median(variance))
    if not typical.any():
        return 0.0
    # Each subject counts alike, however much it varies.
    ratio = float(np.sum(steps[typical] / np.median(variance)) / np.sum(variance[typical] / np.median(variance)))
    mean = float(count[typical].mean())
    tried = np.linspace(0, _MOST_KEPT, 91)
    expected = np.array([(1 - kept) / (1 - unseen(kept, mean)) for kept in tried.tolist()])
    kept = float(np.interp(-ratio, -expected, tried))
    return min(kept + 1 / math.sqrt(float((count[typical] - 1).sum())), _MOST_KEPT)


def unseen(kept: float, count: float) -> float:
    """Share of the variance that ``count`` runs in sequence do not show about their own mean, beyond what independent ones do not."""
    return _unseen(kept, max(round(count), 2)) if kept else 0.0


@lru_cache(maxsize=4096)
def _unseen(kept: float, number: int) -> float:
    return float(2 / (number - 1) * sum((1 - lag / number) * kept**lag for lag in range(1, number)))


def _common(variance: Floats, freedom: Floats) -> tuple[float, float]:
    """The typical variance of a run, and how many degrees of freedom that knowledge is worth (Smyth 2004, robustly)."""
    logs = np.log(variance)
    middle = float(np.median(logs))
    spread = (MAD_TO_SIGMA * float(np.median(np.abs(logs - middle)))) ** 2
    mean = float(freedom.mean())
    # Variance of log chi² / df: trigamma(df / 2). What is surely beyond it (a standard error of the spread of so many subjects is
    # left out) is how much subjects differ.
    excess = spread * (1 - 2.3 / math.sqrt(len(logs))) - _trigamma(mean / 2)
    worth = _MOST_DF if excess <= 2 / _MOST_DF else max(2 * (1 + math.sqrt(1 + 2 * excess)) / (2 * excess), 2.0)
    # The median of the squared robust width is right within 3 % from five values on (simulated).
    return math.exp(middle), min(worth, _MOST_DF)


def _trigamma(x: float) -> float:
    """Second derivative of log Γ, by recurrence and its asymptotic series (DLMF 5.15)."""
    total = 0.0
    while x < 6:
        total += 1 / x**2
        x += 1
    return total + 1 / x + 1 / (2 * x**2) + 1 / (6 * x**3) - 1 / (30 * x**5)
