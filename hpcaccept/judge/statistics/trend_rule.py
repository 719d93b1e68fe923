"""What became of a subject over its runs: a step that stayed, a slow decline, or nothing. Numbers only.

A decline is the **slope** of a subject's values, each held to three widths about its middle so that no single run can raise the alarm. Of
a healthy subject it is normal, whatever the tails of its noise: a sum of some twenty bounded numbers. Its variance is that of the
values about their own slopes, of all like subjects put together, and grows with what a run has of the run before. So its limit follows
from the number of series that are looked at in a run and the chance that one of them may alarm. Who varies
more than its like must decline by the measure of its own values, too. Since when it is so is told by a CUSUM
(E. S. Page, 1954), which decides nothing: its alarms know neither the number of series nor how badly the first runs are known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpcaccept.judge.statistics.history_rule import loss_of
from hpcaccept.judge.statistics.run_noise import (
    MIN_PAST,
    OWN_DF,
    RESTLESS,
    first_values,
    kept_of,
    middle_of,
    moderated,
    step_widths,
)
from hpcaccept.judge.statistics.student_t import normal_tail, t_quantiles

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
#: A step is as far out as this, in widths and relatively, in the last two runs (simulated in docs/explanation/detection.md).
STEP_WIDTHS, STEP_FLOOR = 5.0, 0.004
#: Widths to which a value is held.
CLIPPED = 3.0
#: A tenth of the subjects may vary more than the others do: their own values must say so, too, by ten times the chance of one, at most by this.
_RESTLESS_SHARE, _LEAST_SURE = 10.0, 0.01
#: CUSUM that says since when: loss per run that is forgiven, in widths.
FORGIVEN = 0.75
#: The first runs, up to this many, say what a subject was like.
REFERENCE = 12
#: Codes of ``Trend.code``.
STEADY, STEP, DECLINE = 0, 1, 2


@dataclass(frozen=True)
class Trend:
    """What became of each subject over its runs.

    Attributes:
        code: int8[u]: STEADY, STEP (the last two runs lie beyond the cut) or DECLINE (slow, by the slope).
        size: float64[u], relative loss of the recent runs against the first ones; 0 where steady, NaN with too few runs.
        since: int64[u], index of the run from which on it is so; -1 where steady.
    """

    code: npt.NDArray[np.int8]
    size: Floats
    since: npt.NDArray[np.int64]


def trend(past: Floats, higher: bool, z: float, typical: Bools | None = None, *, steps: bool = True) -> Trend:
    """What became of each subject: a step that was seen twice, or a slow decline; who got better is steady.

    Args:
        past: float64[r, u], oldest first, this run included; NaN where a run has no value of the subject.
        higher: True where larger numbers are better.
        z: peer_rule.cut of all series that are looked at.
        typical: bool[u], subjects that say how much like subjects vary; None: all of them.
        steps: False asks for declines only.

    A step is what the last two values of a subject have in common (one bad night is none).
    """
    runs, subjects = past.shape
    enough = np.isfinite(past).sum(axis=0) >= MIN_PAST + 1
    steady = Trend(np.zeros(subjects, np.int8), np.where(enough, 0.0, np.nan), np.full(subjects, -1, np.int64))
    if not enough.any():
        return steady
    center = _first_middle(past)
    sigma, df, kept = _run_widths(past, center, enough, np.ones(subjects, bool) if typical is None else typical)
    with np.errstate(divide="ignore", invalid="ignore"):
        loss = loss_of(past, center, higher)
        score = np.where(np.isfinite(loss), loss / sigma, 0.0)
    size = _recent_loss(loss)
    step = enough & _twice(loss, score) if steps else np.zeros(subjects, bool)
    beyond, alone = _slope(loss / sigma, kept, enough if typical is None else enough & typical)
    slopes = enough & (size > 0) & (beyond > _limits(df, z)) & (alone > _limits_alone(past, z))
    code = np.where(step, STEP, np.where(slopes, DECLINE, STEADY)).astype(np.int8)
    since = np.where(step, _step_begin(loss, score), _slow_begin(score, np.isfinite(loss)))
    told = code != STEADY
    return Trend(code, np.where(told, size, steady.size), np.where(told, np.minimum(since, runs - 1), -1))


def _first_middle(past: Floats) -> Floats:
    """What each subject was like at first; who joined later has first runs of its own."""
    first = past[: max(MIN_PAST, min(REFERENCE, len(past) // 2))]
    center = middle_of(first)
    late = np.isfinite(first).sum(axis=0) < MIN_PAST
    if late.any():
        center[late] = middle_of(first_values(past[:, late], MIN_PAST))
    return center


def _run_widths(past: Floats, center: Floats, enough: Bools, typical: Bools) -> tuple[Floats, Floats, float]:
    """Relative width of a run of each subject, its degrees of freedom, and how much of it the next run has.

    By the differences of runs that follow each other, so that a drift does not widen it; those of runs that resemble each other are small.
    """
    own, count = step_widths(past, center)
    kept = kept_of(past, enough & typical)
    # The MAD holds a third of the information of its values (and neighbouring differences overlap).
    worth = np.maximum(count // 3, 2)
    shrunk, df = moderated(own, worth, enough & (count > 0), STEP_FLOOR)
    # Who varies far more than its like, from run to run, has no other width than its own.
    with np.errstate(invalid="ignore"):
        restless = own > RESTLESS * shrunk
    shrunk, df = np.where(restless, own, shrunk), np.where(restless, OWN_DF * worth, df)
    return np.maximum(shrunk / math.sqrt(1 - kept), 1e-9), df, kept


def _slope(widths: Floats, kept: float, typical: Bools) -> tuple[Floats, Floats]:
    """float64[u] twice: how far each subject's slope lies beyond none, in standard deviations by what all like subjects leave about theirs, and
    by what its own values do; positive is worse.
    """
    there = np.isfinite(widths)
    with np.errstate(invalid="ignore"):
        held = np.clip(widths - middle_of(np.where(there, widths, np.nan)), -CLIPPED, CLIPPED)
    held = np.where(there, held, 0.0)
    count = np.maximum(there.sum(axis=0), 1)
    when = np.arange(len(widths))[:, None] * there
    weight = np.where(there, when - when.sum(axis=0) / count, 0.0)
    squares = np.maximum((weight**2).sum(axis=0), 1e-12)
    along = (weight * held).sum(axis=0)
    level = held.sum(axis=0) / count
    rest = (held**2).sum(axis=0) - count * level**2 - along**2 / squares
    # What the values of all like subjects leave about their own slopes; of runs that resemble each other mean and slope take more.
    spread = _spread(weight, squares, kept)
    free = np.maximum(count - _spread(there.astype(float), count.astype(float), kept) / count - spread / squares, 0.1)
    variance = float(rest[typical].sum() / free[typical].sum()) if typical.any() else 1.0
    own = np.maximum(rest, 1e-12) / np.maximum(count - 2, 1)
    return np.asarray(along / np.sqrt(max(variance, 0.5) * spread)), np.asarray(along / np.sqrt(own * squares))


def _spread(weight: Floats, squares: Floats, kept: float) -> Floats:
    """Variance of a weighted sum of runs of variance 1 that resemble each other: wᵀ R w of an AR(1)."""
    total, lag, share = squares.copy(), 1, kept
    while share > 0.01 and lag < len(weight):
        total += 2 * share * (weight[lag:] * weight[:-lag]).sum(axis=0)
        lag, share = lag + 1, share * kept
    return np.asarray(np.maximum(total, squares))


def _limits(df: Floats, z: float) -> Floats:
    """float64[u]: of the slope, for widths of so many degrees of freedom."""
    each = normal_tail(z)
    return t_quantiles(each, df) if each < 0.5 else np.zeros(len(df))


def _limits_alone(past: Floats, z: float) -> Floats:
    """float64[u]: of a slope that is measured by the subject's own values: one of ten may vary more than its like, and has them alone."""
    each = min(_RESTLESS_SHARE * normal_tail(z), _LEAST_SURE)
    return t_quantiles(each, np.maximum(np.isfinite(past).sum(axis=0) - 2.0, 1.0))


def _slow_begin(score: Floats, there: Bools) -> npt.NDArray[np.int64]:
    """Index of the run from which on a CUSUM of the losses never came back to nothing."""
    total, begin = np.zeros(score.shape[1]), np.zeros(score.shape[1], np.int64)
    for run, (row, here) in enumerate(zip(score, there, strict=True)):
        added = np.maximum(total + np.clip(row, -CLIPPED, CLIPPED) - FORGIVEN, 0.0)
        # A run without a value says nothing: neither worse nor forgiven.
        total = np.where(here, added, total)
        begin = np.where(total == 0, run + 1, begin)
    return begin


def _recent_loss(loss: Floats) -> Floats:
    """Median loss of the last three values of each subject."""
    return np.asarray(np.nan_to_num(middle_of(first_values(loss[::-1], 3))))


def _twice(loss: Floats, score: Floats) -> Bools:
    """True where the last two values are both beyond the step."""
    losses = first_values(loss[::-1], 2)
    scores = first_values(np.where(np.isfinite(loss), score, np.nan)[::-1], 2)
    return np.asarray(((losses > STEP_FLOOR) & (scores > STEP_WIDTHS)).all(axis=0) & (len(losses) == 2))


def _step_begin(loss: Floats, score: Floats) -> npt.NDArray[np.int64]:
    """Index of the run from which on every value is beyond half of the step."""
    high = (~np.isfinite(loss) | (score > STEP_WIDTHS / 2))[::-1]
    return (len(loss) - np.where(high.all(axis=0), len(loss), np.argmin(high, axis=0))).astype(np.int64)
