"""When is a unit too slow among its like? Numbers in, numbers out: centre, loss and cut of each unit of one comparison."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
#: Consistency factor of the MAD for a normal distribution.
MAD_TO_SIGMA = 1.4826
#: Up to so many like units each is compared with the others only: among four, one slow unit is a quarter of the evidence.
ALONE_AMONG = 32


@dataclass(frozen=True)
class Compared:
    """One comparison: float64[u] each, one entry per unit.

    Attributes:
        center: what the unit is compared with, in the unit of the values; NaN: there is nothing to compare it with.
        loss: relative loss against the centre; positive is worse, in both directions.
        warn_at: relative loss beyond which the unit is a WARN; inf: never.
        fail_at: relative loss beyond which it is a FAIL; from 1 on no rate could be blamed: the comparison is undecided.
        sigma: robust relative width of what the unit is compared with.
    """

    center: Floats
    loss: Floats
    warn_at: Floats
    fail_at: Floats
    sigma: Floats


def cut(comparisons: int, false_alarm_rate: float) -> float:
    """Widths beyond which a unit is blamed, so that a healthy run of normal noise blames anybody at the stated rate (Šidák)."""
    if not comparisons:
        return 0.0
    # expm1, log1p and the lower tail: 1 - each would be 1 for rates below 1e-16, which has no quantile.
    each = -math.expm1(math.log1p(-false_alarm_rate) / comparisons)
    return -NormalDist().inv_cdf(each)


def compare_with_peers(
    value: Floats, higher: bool, node: npt.NDArray[np.intp], floors: tuple[float, float], z: float
) -> Compared:
    """Each unit against its like units of the run.

    Args:
        value: float64[u], one number per unit, finite, of like units (device model, setting).
        higher: True where larger numbers are better.
        node: int[u], index of the node of each unit.
        floors: smallest relative loss that is worth a WARN, and a FAIL.
        z: ``cut`` of all comparisons of the run.
    """
    center, width = _peers_of(value)
    with np.errstate(divide="ignore", invalid="ignore"):
        loss = (1 - value / center) if higher else (value / center - 1)
        sigma = np.abs(width / center)
    warn_at, fail_at = (np.maximum(floor, z * sigma) for floor in floors)
    return Compared(center, loss, warn_at, fail_at, sigma)


def _peers_of(values: Floats) -> tuple[Floats, Floats]:
    """Centre and robust width of each unit's peers, without the unit itself where it could hide behind its own weight."""
    if len(values) > ALONE_AMONG:
        center = np.median(values)
        sigma = MAD_TO_SIGMA * np.median(np.abs(values - center))
        return np.full(len(values), center), np.full(len(values), sigma)
    others = _others(values)
    centers = np.median(others, axis=1)
    sigmas = MAD_TO_SIGMA * np.median(np.abs(others - centers[:, None]), axis=1)
    return centers, sigmas


def _others(values: Floats) -> Floats:
    """float64[u, u - 1]: row i holds all values but the i-th."""
    count = len(values)
    return np.broadcast_to(values, (count, count))[~np.eye(count, dtype=bool)].reshape(count, count - 1)
