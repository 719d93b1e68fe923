"""Timing under a CPU quota that binds: the process runs in slices, and only a row of calls over several of them says what it can do.

Within a slice a call is as fast as without the quota, so that the median of few calls does not see it. The calls must wait for no other rank:
how many there are follows from this rank's own clock.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from hpcaccept.measure.host import host

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hpcaccept.measure.device import Device

    Call = Callable[[], object]
    TimeCalls = Callable[[Call, int], Sequence[float]]

#: Several periods of a quota: 0.1 s unless a site has set another (cpu.cfs_period_us, cpu.max).
SLICES_S = 0.4


def own_calls(device: Device, clock: Callable[[], float] = time.perf_counter) -> TimeCalls:
    """How calls of a rank by itself are timed: as its device does it, or on a CPU under such a quota by their mean over several slices.

    Args:
        device: that the calls run on.
        clock: seconds from any start.
    """
    if device.kind != "cpu" or not host.quota_binds():
        return device.time_calls

    def mean_over_slices(call: Call, count: int) -> list[float]:
        start, done = clock(), 0
        while done < count or clock() - start < SLICES_S:
            call()
            done += 1
        return [(clock() - start) / done]

    return mean_over_slices


def block_figure(window: Callable[[float], Sequence[float]], window_s: float) -> float:
    """Seconds per call of one block: the median of its calls, or their mean over several slices.

    Args:
        window: seconds → seconds of each call made meanwhile.
        window_s: how long a block lasts.
    """
    if not host.quota_binds():
        return statistics.median(window(window_s))
    return statistics.fmean(window(max(window_s, SLICES_S)))
