"""Is a subject slower than it used to be, suddenly or slowly? Its own past runs are the best peers it has: numbers only.

A subject repeats itself far better than it agrees with its like, but five runs tell its width badly. So the widths of all like
subjects are put together: each subject's own width and the typical one, weighted by how much the subjects differ in width (the
moderated t of G. K. Smyth, 2004, https://doi.org/10.2202/1544-6115.1027, with robust widths).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpcaccept.judge.statistics.peer_rule import MAD_TO_SIGMA, WIDTHS_IN_FLOOR, Compared, robust
from hpcaccept.judge.statistics.student_t import normal_tail, t_quantile, t_tail

Floats = npt.NDArray[np.float64]
#: Fewer past values than this say nothing of a subject's own width.
MIN_PAST = 5
#: From so many subjects on it is estimated how much their widths differ; below, the class of the metric counts like so many runs.
_POOL_FROM, _PRIOR_DF = 16, 8.0
#: The common width never counts for more runs than this: healthy subjects do differ.
_MOST_DF = 200.0
#: A step is as far out as this, in widths and relatively, in the last two runs (simulated in docs/explanation/detection.md).
STEP_WIDTHS, STEP_FLOOR = 5.0, 0.004
#: CUSUM for slow decline: loss per run that is forgiven, sum that alarms, largest loss one run can add; all in widths.
FORGIVEN, ALARM, CLIPPED = 0.75, 10.0, 3.0
#: A width of twenty values is known to a sixth: it need not be found more closely than this.
_SETTLED = 0.01
#: The first runs, up to this many, say what a subject was like.
REFERENCE = 12
#: Codes of ``Trend.code``.
STEADY, STEP, DECLINE = 0, 1, 2


@dataclass(frozen=True)
class Trend:
    """What became of each subject over its runs.

    Attributes:
        code: int8[u]: STEADY, STEP (the last two runs lie beyond the cut) or DECLINE (slow, by the CUSUM).
        size: float64[u], relative loss of the recent runs against the first ones; 0 where steady, NaN with too few runs.
        since: int64[u], index of the run from which on it is so; -1 where steady.
    """

    code: npt.NDArray[np.int8]
    size: Floats
    since: npt.NDArray[np.int64]


def compare_with_past(past: Floats, now: Floats, higher: bool, floors: tuple[float, float], z: float) -> Compared:
    """Each subject against its own past runs.

    Args:
        past: float64[r, u], oldest first, NaN where a run has no (good) value of the subject. All subjects are alike: their widths
            are put together.
        now: float64[u], the number of this run.
        higher: True where larger numbers are better.
        floors: smallest relative loss that is worth a WARN, and a FAIL.
        z: peer_rule.cut of all comparisons of the run.

    Subjects with fewer than ``MIN_PAST`` values have centre, loss and width NaN and limits inf: nothing can be said.
    """
    center, own, count = _own(past)
    enough = count >= MIN_PAST
    center[~enough] = np.nan
    sigma, df = _moderated(own, count, enough, floors[1])
    each = normal_tail(z)
    # Variance of a median of normal values, which tends to π/2n: simulated from 5 values on, met within 0.5 %.
    blur = np.sqrt(1 + math.pi / 2 / (np.maximum(count, 1) + np.where(count % 2, 0.5, 1.33)))
    freedoms, which = np.unique(df, return_inverse=True)
    quantiles = np.array([t_quantile(each, freedom) if each < 0.5 else 0.0 for freedom in freedoms.tolist()])
    width = blur * sigma
    at = quantiles[which] * width
    warn_at, fail_at = (np.where(enough, np.maximum(floor, at), np.inf) for floor in floors)
    chance = _chance(fail_at, width, freedoms, which)
    return Compared(center, _loss(now, center, higher), warn_at, fail_at, sigma, chance)


def _chance(at: Floats, width: Floats, freedoms: Floats, which: npt.NDArray[np.intp]) -> Floats:
    """That a healthy subject lies beyond ``at``; between a hundred points of the tail its logarithm is drawn straight."""
    with np.errstate(divide="ignore", invalid="ignore"):
        widths = np.where(width > 0, at / width, np.inf)
    found = np.zeros(len(at))
    for number, freedom in enumerate(freedoms.tolist()):
        mine = (which == number) & np.isfinite(widths)
        if mine.any():
            points = np.linspace(widths[mine].min(), widths[mine].max(), 100)
            tails = [math.log(max(t_tail(float(point), freedom), 1e-300)) for point in points]
            found[mine] = np.exp(np.interp(widths[mine], points, tails))
    return found


def trend(past: Floats, higher: bool) -> Trend:
    """What became of each subject: a step that was seen twice, or a slow decline.

    Args:
        past: float64[r, u], oldest first, this run included; NaN where a run has no value of the subject.
        higher: True where larger numbers are better.

    A step is what the last two values of a subject have in common (one bad night is none). A decline is found by a CUSUM
    (E. S. Page, 1954) whose scores are clipped, so that no single run can raise the alarm.
    """
    runs, subjects = past.shape
    count = np.isfinite(past).sum(axis=0)
    enough = count >= MIN_PAST + 1
    steady = Trend(np.zeros(subjects, np.int8), np.where(enough, 0.0, np.nan), np.full(subjects, -1, np.int64))
    if not enough.any():
        return steady
    first = past[: max(MIN_PAST, min(REFERENCE, runs // 2))]
    # A subject that joined later has its own first runs.
    late = np.isfinite(first).sum(axis=0) < MIN_PAST
    center = middle_of(first)
    if late.any():
        center[late] = middle_of(_first_values(past[:, late], MIN_PAST))
    sigma = _run_widths(past, center, enough)
    with np.errstate(divide="ignore", invalid="ignore"):
        loss = _loss(past, center, higher)
        score = np.where(np.isfinite(loss), loss / sigma, 0.0)
    total, begin = np.zeros(subjects), np.zeros(subjects, np.int64)
    for run in range(runs):
        added = np.maximum(total + np.clip(score[run], -CLIPPED, CLIPPED) - FORGIVEN, 0.0)
        # A run without a value says nothing: neither worse nor forgiven.
        total = np.where(np.isfinite(loss[run]), added, total)
        begin = np.where(total == 0, run + 1, begin)
    alarmed = (total > ALARM) & enough
    size = _recent_loss(loss)
    step = enough & _twice(loss, score)
    code = np.where(step, STEP, np.where(alarmed & (size > 0), DECLINE, STEADY)).astype(np.int8)
    since = np.where(step, _step_begin(loss, score), begin)
    told = code != STEADY
    return Trend(code, np.where(told, size, steady.size), np.where(told, np.minimum(since, runs - 1), -1))


def _loss(value: Floats, center: Floats, higher: bool) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((1 - value / center) if higher else (value / center - 1))


def middle_of(past: Floats) -> Floats:
    """Median of each subject's values; NaN without any."""
    count = np.isfinite(past).sum(axis=0)
    ranked = np.sort(past, axis=0)  # NaN last
    columns = np.arange(past.shape[1])
    return np.asarray((ranked[np.maximum(count - 1, 0) // 2, columns] + ranked[count // 2 * (count > 1), columns]) / 2)


def _own(past: Floats) -> tuple[Floats, Floats, npt.NDArray[np.intp]]:
    """Median, relative robust width and number of each subject's values; NaN without any."""
    count = np.isfinite(past).sum(axis=0)
    center, width = np.full(past.shape[1], np.nan), np.full(past.shape[1], np.nan)
    ranked = np.sort(past, axis=0)  # NaN last
    for number in np.unique(count[count > 0]).tolist():
        these = count == number
        center[these], width[these] = robust(ranked[:number, these].T, _SETTLED)
    with np.errstate(divide="ignore", invalid="ignore"):
        return center, np.abs(width / center), count


def _moderated(
    own: Floats, count: npt.NDArray[np.intp], enough: npt.NDArray[np.bool_], floor: float
) -> tuple[Floats, Floats]:
    """Relative width of each subject and its degrees of freedom, its own runs and all like subjects put together."""
    # Fitted to simulated robust widths of 5 to 60 normal values: their logarithms scatter as those of so many degrees of freedom.
    freedom = np.asarray(0.75 * count + 0.3, np.float64)
    known = enough & np.isfinite(own) & (own > 0)
    common, worth = (floor / WIDTHS_IN_FLOOR) ** 2, _PRIOR_DF
    if known.sum() >= _POOL_FROM:
        common, worth = _common(own[known] ** 2, freedom[known])
    df = freedom + worth
    variance = (freedom * np.nan_to_num(own) ** 2 + worth * common) / df
    return np.where(enough, np.sqrt(variance), np.nan), df


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


def _first_values(past: Floats, number: int) -> Floats:
    """The first ``number`` values of each subject, whatever their runs."""
    if np.isfinite(past[:number]).all():
        return past[:number]
    order = np.argsort(~np.isfinite(past), axis=0, kind="stable")
    return np.asarray(np.take_along_axis(past, order, axis=0)[:number])


def _run_widths(past: Floats, center: Floats, enough: npt.NDArray[np.bool_]) -> Floats:
    """Relative width of a run of each subject, by the differences of runs that follow each other: a drift does not widen it."""
    runs = past.shape[0]
    dense = _first_values(past, runs)
    with np.errstate(invalid="ignore", divide="ignore"):
        steps = np.diff(dense, axis=0) / np.abs(center) / math.sqrt(2)
    count = np.isfinite(steps).sum(axis=0)
    own = np.full(past.shape[1], np.nan)
    ranked = np.sort(np.abs(steps), axis=0)
    rows = np.maximum(count - 1, 0)
    columns = np.arange(past.shape[1])
    if runs > 1:
        own = MAD_TO_SIGMA * (ranked[rows // 2, columns] + ranked[(rows + 1) // 2, columns]) / 2
    # The MAD holds a third of the information of its values (and neighbouring differences overlap).
    shrunk, _ = _moderated(own, np.maximum(count // 3, 2), enough & (count > 0), STEP_FLOOR)
    return np.maximum(shrunk, 1e-9)


def _recent_loss(loss: Floats) -> Floats:
    """Median loss of the last three values of each subject."""
    return np.asarray(np.nan_to_num(middle_of(_first_values(loss[::-1], 3))))


def _twice(loss: Floats, score: Floats) -> npt.NDArray[np.bool_]:
    """True where the last two values are both beyond the step."""
    losses = _first_values(loss[::-1], 2)
    scores = _first_values(np.where(np.isfinite(loss), score, np.nan)[::-1], 2)
    return np.asarray(((losses > STEP_FLOOR) & (scores > STEP_WIDTHS)).all(axis=0) & (len(losses) == 2))


def _step_begin(loss: Floats, score: Floats) -> npt.NDArray[np.int64]:
    """Index of the run from which on every value is beyond half of the step."""
    high = (~np.isfinite(loss) | (score > STEP_WIDTHS / 2))[::-1]
    return (len(loss) - np.where(high.all(axis=0), len(loss), np.argmin(high, axis=0))).astype(np.int64)
