"""Times a repeated call: warm up until steady, then N blocks of equal work.

A block is one figure: seconds per call, the median of as many calls as fill ``block_s`` (on a GPU their mean, by the
GPU's own clock). A median, because on a CPU a call that was interrupted says something about the neighbours. All blocks
are kept; who reads them takes the best as the capability and the spread as a warning. The clock is not here:
``time_calls`` is the device's.
"""

from __future__ import annotations

import contextlib
import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    Call = Callable[[], object]
    #: ``(call, count) → seconds per call`` for ``count`` calls in a row: one figure each, or one for all.
    TimeCalls = Callable[[Call, int], Sequence[float]]

#: Two neighbouring warm-up batches within this share of each other are steady: a GPU's clock moves in steps of
#: 15 MHz, about 1 % of 1.5 GHz.
STEADY_SHARE = 0.01


@dataclass(frozen=True)
class Pace:
    """How long to measure.

    Attributes:
        blocks: figures to take.
        block_s: seconds that one block should last at least, if one call is not longer.
        warm_s: seconds after which warming up ends even if it is not steady; the spread of the blocks will tell.
    """

    blocks: int
    block_s: float
    warm_s: float


def time_blocks(
    time_calls: TimeCalls, call: Call, pace: Pace, during: AbstractContextManager[object] | None = None
) -> list[float]:
    """Seconds per call, one figure for each block. The first calls are never in it.

    Args:
        time_calls: of the device.
        call: what is timed.
        pace: how long to measure.
        during: open while the blocks run, and not while they are warmed up for: who watches the device is told so.
    """
    count = max(1, math.ceil(pace.block_s / warm_up(time_calls, call, pace)))
    with during or contextlib.nullcontext():
        return [statistics.median(time_calls(call, count)) for _ in range(pace.blocks)]


def warm_up(time_calls: TimeCalls, call: Call, pace: Pace) -> float:
    """Call until two batches in a row take the same time; gives seconds per call of the last one.

    The first call counts for nothing, not even for the time that warming up may take: it loads libraries, picks kernels and
    opens ways to a new peer, which can last longer than all of that.
    """
    batch_s = pace.block_s / 4
    time_calls(call, 1)
    spent, count, before = 0.0, 1, math.inf
    while True:
        per_call = max(statistics.median(time_calls(call, count)), 1e-9)
        spent += per_call * count
        if spent >= pace.warm_s or (per_call * count >= batch_s / 2 and abs(before / per_call - 1) <= STEADY_SHARE):
            return per_call
        before = per_call
        count = max(1, min(count * 16, math.ceil(batch_s / per_call)))


def spread(figures: Sequence[float]) -> float:
    """(max - min) / median of the figures, a share; 0 for a single one."""
    return (max(figures) - min(figures)) / statistics.median(figures)
