"""Is a unit slower than it used to be, suddenly or slowly? Its own past runs are the best peers it has: numbers only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpcaccept.judge.peer_rule import MAD_TO_SIGMA, Compared

Floats = npt.NDArray[np.float64]
#: Fewer past values than this say nothing of a unit's own width.
MIN_PAST = 5
#: Codes of ``Trend.code``.
STEADY, STEP, DECLINE = 0, 1, 2


@dataclass(frozen=True)
class Trend:
    """What became of each unit over its runs.

    Attributes:
        code: int8[u]: STEADY, STEP (the last two runs lie beyond the cut) or DECLINE (slow, by the CUSUM).
        size: float64[u], relative loss of the recent runs against the first ones; 0 where steady, NaN with too few runs.
        since: int64[u], index of the run from which on it is so; -1 where steady.
    """

    code: npt.NDArray[np.int8]
    size: Floats
    since: npt.NDArray[np.int64]


def compare_with_past(past: Floats, now: Floats, higher: bool, floors: tuple[float, float], z: float) -> Compared:
    """Each unit against its own past runs.

    Args:
        past: float64[r, u], oldest first, NaN where a run has no (good) value of the unit.
        now: float64[u], the number of this run.
        higher: True where larger numbers are better.
        floors: smallest relative loss that is worth a WARN, and a FAIL.
        z: peer_rule.cut of all comparisons of the run.

    Units with fewer than ``MIN_PAST`` values have centre, loss and width NaN and limits inf: nothing can be said.
    """
    enough = np.isfinite(past).sum(axis=0) >= MIN_PAST
    center, sigma = np.full(now.shape, np.nan), np.full(now.shape, np.nan)
    if enough.any():
        known = past[:, enough]
        center[enough] = np.nanmedian(known, axis=0)
        sigma[enough] = MAD_TO_SIGMA * np.nanmedian(np.abs(known - center[enough]), axis=0) / np.abs(center[enough])
    loss = _loss(now, center, higher)
    warn_at, fail_at = (np.where(enough, np.maximum(floor, z * sigma), np.inf) for floor in floors)
    return Compared(center, loss, warn_at, fail_at, sigma)


def _loss(value: Floats, center: Floats, higher: bool) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return (1 - value / center) if higher else (value / center - 1)
