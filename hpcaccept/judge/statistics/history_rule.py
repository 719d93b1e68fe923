"""The rule for a sudden slowdown against a subject's own past runs, the best peers it has: numbers only.

How much a subject varies from run to run is ``judge.statistics.run_noise``. How far out chance alone goes is asked of each number of
**sightings**: a subject that is low today, and was so in the k − 1 runs before, is blamed where all like subjects together would be that
low so often with the chance that is left to k (a half for one sighting, a quarter for two …: all of them together are no more than the
stated one). One sighting takes a loss far out; of two or three in sequence smaller ones will do.

- Where noise is normal and runs are independent, the chance of k sightings is that of one to the power of k.
- **Heavy tails, and runs that were disturbed**, are seen in the past of all like subjects: as many of their values as chance leaves to
  a sighting must lie beyond its limit. Where healthy subjects were beyond the limit of one sighting, and it went by, one is no evidence:
  it takes a second run. (Not a second launch: the past is of the best launches, too.) A loss of a quarter is always told.
- **Runs that resemble the run before** (lag-one autocorrelation ρ) make k sightings worth 1 + (k − 1)(1 − ρ)/(1 + ρ) of them: the
  exponent of the joint tail of k values of a normal AR(1), 1ᵀ Σ⁻¹ 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hpcaccept.judge.statistics.peer_rule import MAD_TO_SIGMA, Compared, robust
from hpcaccept.judge.statistics.run_noise import (
    MIN_PAST,
    OWN_DF,
    RESTLESS,
    first_values,
    kept_of,
    middle_of,
    middle_of_others,
    moderated,
    own,
    resolution_of,
    step_widths,
    unseen,
)
from hpcaccept.judge.statistics.student_t import normal_quantile, normal_tail, t_quantile, t_quantiles
from hpcaccept.judge.statistics.tail import HEAVIEST, TAIL_FROM, tail_of, width_of_tail

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
#: Most sightings in sequence that are asked for.
MOST_SIGHTINGS = 5
#: Relative loss that is told at once, whatever went by in other runs; of classes that vary much (storage) so many floors.
TOLD_AT_ONCE, FLOORS_AT_ONCE = 0.25, 10.0
#: So many like subjects must have a past before a common shift can be told from a slow subject.
ENOUGH_TO_SHIFT = 4
#: A restless subject shows as one over so many runs. (Of fewer, two low ones look so, which may be the beginning of a loss.)
_TOLD_BY = 12
#: What is so many widths low, today and in the runs before, may be the beginning of a loss.
_LOW = 2.0
#: No limit lies so few widths out.
_NEAR = 1.0
#: So many subjects tell what went by, of each metric.
_POOLED = 1024
#: So many past values tell the tail as well as all of them.
_TAIL_VALUES = 20_000
#: Of fewer past values than this no tail can be told from a normal one: they are taken for a t of so many degrees of freedom.
_TELL_THE_TAIL, _FEW_ARE_HEAVY = 500, 10.0
#: Degrees of freedom of a MAD, for each of its values: it holds 37 % of what the standard deviation does.
_MAD_DF = 0.37
#: Widths of a value that failed: beyond every limit.
_FAR = 1e9


@dataclass(frozen=True)
class ComparedWithPast:
    """What the own past says.

    Attributes:
        compared: centre, loss and limits; the limits are those of the number of sightings that blames first.
        shift: relative change of all like subjects together, which is taken out of the centres; None where it was left in.
    """

    compared: Compared
    shift: float | None = None


def compare_with_past(
    past: Floats,
    now: Floats,
    higher: bool,
    floors: tuple[float, float],
    z: float,
    *,
    failed: Bools | None = None,
    moved: bool = False,
    gone_by: tuple[int, int] = (0, 0),
    known: Repeats | None = None,
    first_look: bool = False,
) -> ComparedWithPast:
    """Each subject against its own past runs.

    Args:
        past: float64[r, u], oldest first, NaN where a run has no (good) value of the subject. All subjects are alike: their widths
            are put together.
        now: float64[u], the number of this run.
        higher: True where larger numbers are better.
        floors: smallest relative loss that is worth a WARN, and a FAIL.
        z: peer_rule.cut of all comparisons of the run.
        failed: bool[r, u], values that failed and are NaN in the past; None: no value did.
        moved: True where something may have moved all like subjects: what they have in common is taken out, where enough can tell.
        gone_by: ``one_offs`` of all metrics of the run, and of how many values: what disturbs a launch disturbs any of them.
        known: of the past and the failing floor, where it is known already.
        first_look: True asks who should be launched again: one sighting suffices, whatever went by in other runs.

    Subjects with fewer than ``MIN_PAST`` values have centre, loss and width NaN and limits inf: nothing can be said.
    """
    known, shift = known or Repeats.of(past, floors[1]), None
    if moved:
        known, shift = _shifted(known, now)
    center, width = known.center, known.width
    lows = _lows(past, higher, width, failed, loss_of(now, center, higher) / width)
    limit = np.minimum(
        _limit(lows, known, z, gone_by, first_look=first_look) * width, max(TOLD_AT_ONCE, FLOORS_AT_ONCE * floors[1])
    )
    warn_at, fail_at = (np.where(known.enough, np.maximum(floor, limit), np.inf) for floor in floors)
    return ComparedWithPast(Compared(center, loss_of(now, center, higher), warn_at, fail_at, known.sigma), shift)


def one_offs(
    known: Repeats, past: Floats, now: Floats, higher: bool, z: float, failed: Bools | None = None
) -> tuple[int, int]:
    """How many past values lay beyond the limit of one sighting, and went by; and of how many values.

    Args: ``known`` of the past; the others as of ``compare_with_past``.
    """
    each, low_now = normal_tail(z), loss_of(now, known.center, higher) / known.width
    count = int(np.isfinite(past).sum())
    some = slice(None, None, max(1, past.shape[1] // _POOLED))
    pool = _went_by(
        past[:, some], higher, known.width[some], None if failed is None else failed[:, some], low_now[some]
    )
    if not each < 0.5 or not len(pool):
        return 0, count
    at = _widths_of(each / 2, _tail_of(pool))
    # Nearly all lie near their own middle: only subjects that have one far out are looked at closely, but all of them.
    far = (loss_of(past, known.center, higher) > at / 2 * known.width).any(axis=0)
    close = _went_by(past[:, far], higher, known.width[far], None if failed is None else failed[:, far], low_now[far])
    return int((close > at).sum()), count


@dataclass(frozen=True, eq=False)
class Repeats:
    """How subjects repeat themselves.

    Attributes:
        center: float64[u], median of the past; NaN with too few values.
        sigma: float64[u], relative width of a run.
        width: float64[u], the same of a difference from the centre.
        df: float64[u], degrees of freedom of either.
        enough: bool[u], subjects with enough values.
        kept: how much of a run's noise the next run has.
    """

    center: Floats
    sigma: Floats
    width: Floats
    df: Floats
    enough: Bools
    kept: float

    @classmethod
    def of(cls, past: Floats, floor: float) -> Repeats:
        """By the past of like subjects, and the floor of their metric.

        What is rounded to steps differs by a part of a step at least: the variance of rounding, step² / 12, is added.
        """
        center, own_width, count = own(past)
        enough = count >= MIN_PAST
        center[~enough] = np.nan
        sigma, df = moderated(own_width, count, enough, floor)
        sigma, df = _unless_restless(past, own_width, count, sigma, df)
        sigma = np.hypot(sigma, resolution_of(past) / math.sqrt(12))
        kept = kept_of(past, enough)
        sigma = sigma / math.sqrt(max(1 - unseen(kept, float(count[enough].mean() if enough.any() else 2)), 0.1))
        return cls(center, sigma, sigma * _blur(count, kept), df, enough, kept)


def levelled(past: Floats) -> Floats:
    """The past without what all like subjects gained or lost from run to run, on the level of the last one; as it was where too few tell.

    Runs of several environments are put side by side so, and those of virtual nodes that share a machine.
    """
    center = middle_of(past)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(center > 0, past / center, np.nan)
    told = np.isfinite(share).sum(axis=1) >= ENOUGH_TO_SHIFT
    common = np.where(told, middle_of(share.T), np.nan)
    if not len(past) or not told[-1]:
        return past
    with np.errstate(divide="ignore", invalid="ignore"):  # a run in which nobody reached anything
        factor = common[-1] / common
    return past * np.where(told & np.isfinite(factor) & (factor > 0), factor, 1.0)[:, None]


def loss_of(value: Floats, center: Floats, higher: bool) -> Floats:
    """Relative loss against the centre; positive is worse."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((1 - value / center) if higher else (value / center - 1))


def _unless_restless(
    past: Floats, own_width: Floats, count: npt.NDArray[np.intp], sigma: Floats, df: Floats
) -> tuple[Floats, Floats]:
    """Widths and their degrees of freedom; who varies far more than its like, from run to run, has no other width than its own."""
    with np.errstate(invalid="ignore"):
        restless = (own_width > RESTLESS * sigma) & (count >= _TOLD_BY)
    if restless.any():
        # A loss that lasts, or grows, is no restlessness: it does not show from one run to the next.
        some = past[:, restless]
        restless[restless] = step_widths(some, middle_of(some))[0] > RESTLESS * sigma[restless]
    return np.where(restless, own_width, sigma), np.where(restless, OWN_DF * count, df)


def _blur(count: npt.NDArray[np.intp], kept: float) -> Floats:
    """Widths by which a value differs from the median of so many others, which is itself known roughly.

    Variance of a median of normal values, which tends to π/2n: simulated from 5 values on, met within 0.5 %. Of runs that resemble each
    other (1 + ρ) / (1 − ρ) are worth one.
    """
    worth = (1 - kept) / (1 + kept)
    return np.asarray(np.sqrt(1 + math.pi / 2 / (np.maximum(count, 1) + np.where(count % 2, 0.5, 1.33)) / worth))


def _shifted(known: Repeats, now: Floats) -> tuple[Repeats, float | None]:
    """Centres moved by what all subjects gained or lost, widths as far as they were moved unequally; None: too few could tell.

    What each was moved by is known from this run alone: by the MAD of so many subjects, of which one standard error is added, and where
    it is surely wider than chance makes it, the limit follows from its few degrees of freedom.
    """
    center, width = known.center, known.width
    there = np.isfinite(center) & (center > 0)
    if there.sum() < ENOUGH_TO_SHIFT:
        return known, None
    ratio, number = now[there] / center[there], int(there.sum())
    shift = float(np.median(ratio))
    if not 0 < shift < math.inf:
        return known, shift - 1
    unequal = MAD_TO_SIGMA * float(np.median(np.abs(ratio / shift - 1)))
    usual = float(np.median(width[there]))
    ratio_of_widths, error = unequal / usual if usual > 0 else 1.0, 1.2 / math.sqrt(number)
    wide = max(1.0, ratio_of_widths * (1 + error))
    surely = ratio_of_widths > 1 + 2 * error
    df = np.minimum(known.df, _MAD_DF * number) if surely else known.df
    return replace(known, center=center * shift, sigma=known.sigma * wide, width=width * wide, df=df), shift - 1


def _lows(past: Floats, higher: bool, width: Floats, failed: Bools | None, now: Floats) -> _Lows:
    """How low past values were among the others of their subjects, in widths.

    Args:
        past: float64[r, u].
        higher: True where larger numbers are better.
        width: float64[u].
        failed: bool[r, u] or None, as of ``compare_with_past``.
        now: float64[u], how low the subject is in this run, in widths.
    """
    last = np.full((min(MOST_SIGHTINGS - 1, len(past)), past.shape[1]), np.nan)
    # Nobody else is near any limit.
    near = np.flatnonzero(now > _NEAR)
    if len(near):
        widths = _widths_below(past[:, near], higher, width[near])
        if failed is not None:
            widths[failed[:, near]] = _FAR
        last[:, near] = first_values(widths[::-1], len(last))
    some = slice(None, None, max(1, past.shape[1] // _POOLED))
    return _Lows(
        _went_by(past[:, some], higher, width[some], None if failed is None else failed[:, some], now[some]), last
    )


def _widths_below(past: Floats, higher: bool, width: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return loss_of(past, middle_of_others(past), higher) / width


def _went_by(past: Floats, higher: bool, width: Floats, failed: Bools | None, now: Floats) -> Floats:
    """Past values that were no beginning of anything, the lowest first."""
    widths = _widths_below(past, higher, width)
    went_by = np.isfinite(widths)
    # Of a subject that failed in the run after, this was no chance: it was the first sighting.
    if failed is not None:
        went_by[:-1] &= ~failed[1:]
        widths = np.where(failed, _FAR, widths)
    # Nor is what has lasted until now.
    lasting = now > _LOW
    for run in range(len(widths) - 1, -1, -1):
        lasting = lasting & ((widths[run] > _LOW) | np.isnan(widths[run]))
        if not lasting.any():
            break
        went_by[run] &= ~lasting
    return np.asarray(np.sort(widths[went_by])[::-1])


@dataclass(frozen=True, eq=False)
class _Lows:
    """Past values in widths below the middle of the others.

    Attributes:
        went_by: float64[n], of many subjects, the lowest value first.
        last: float64[k, u], of the last runs of each subject that is low now, the latest first; NaN where there are not so many.
    """

    went_by: Floats
    last: Floats


def _limit(lows: _Lows, known: Repeats, z: float, gone_by: tuple[int, int], *, first_look: bool) -> Floats:
    """float64[u]: widths beyond which this run blames a subject, given how low it was in its last runs; inf: nothing does."""
    each = normal_tail(z)
    if not each < 0.5:
        return np.zeros(len(known.df))
    limit, heavy = np.full(len(known.df), np.inf), _tail_of(lows.went_by)
    low: Bools
    for sightings in range(1, min(MOST_SIGHTINGS, len(lows.last) + 1) + 1):
        chance = each / 2**sightings
        worth = 1 + (sightings - 1) * (1 - known.kept) / (1 + known.kept)
        one = chance ** (1 / worth)
        # All sightings of a subject share its width: where that is known badly, so is their chance.
        at = t_quantiles(chance, known.df) / normal_quantile(chance) * _widths_of(one, heavy)
        if sightings == 1:
            beyond = np.searchsorted(-lows.went_by, -at, side="left")
            rare = _is_rare(beyond, len(lows.went_by), chance) & _is_rare(np.asarray(gone_by[0]), gone_by[1], chance)
            # Of the heaviest tail that is tried nobody knows how heavy it is.
            low = rare if heavy > HEAVIEST and not first_look else np.full(len(at), first_look)
        else:
            at = np.maximum(at, _seen(one, lows.went_by))
            low = np.asarray((lows.last[: sightings - 1] > at).all(axis=0))
        limit = np.where(low, np.minimum(limit, at), limit)
    return limit


def _widths_of(chance: float, heavy: float) -> float:
    """Widths beyond which a value lies by this chance, by the tail of its noise."""
    return max(normal_quantile(chance), t_quantile(chance, heavy) / width_of_tail(heavy))


def _tail_of(went_by: Floats) -> float:
    """Degrees of freedom of the tail that the fast side of the past values looks like; few values cannot tell, and are not believed."""
    some = went_by[:: max(1, len(went_by) // _TAIL_VALUES)]
    heavy = math.inf
    if len(some) >= TAIL_FROM:
        heavy = tail_of(some, np.full(len(some), robust(some[None, :])[1][0]))
    return min(heavy, _FEW_ARE_HEAVY) if len(some) < _TELL_THE_TAIL else heavy


def _is_rare(beyond: npt.NDArray[np.intp], of: int, chance: float) -> Bools:
    """True where no more of the past values lay beyond a limit than its chance makes of them."""
    expected = chance * of
    return np.asarray(beyond <= expected + 3 * math.sqrt(expected))


def _seen(chance: float, went_by: Floats) -> float:
    """Widths that no more than this share of the past values lie beyond; of too few values the largest."""
    return float(went_by[min(int(chance * len(went_by)), len(went_by) - 1)]) if len(went_by) else 0.0
