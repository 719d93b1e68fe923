"""Times ranks together, and verifies every element of what they exchange.

A block's figure is the median of its calls (NCCL: their mean, by CUDA events, as nccl-tests reports); of several ranks the
slowest one counts, because all wait for it. Numbers are whole and below 2^24, so that sums of them are exact in
float32 in any order, and another sequence for each rank, so that a result that is missing a rank, has it twice or has it
in another's place is wrong.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from hpcaccept.measure.device import Device
    from hpcaccept.model.check import CheckContext

    Tensor = Any

#: Length of the pattern, a prime; its numbers are 1 … 1021, so that sums over 16,432 ranks stay below 2^24.
PERIOD = 1021
MOST_RANKS = (1 << 24) // PERIOD
ITEM_BYTES = 4
_MOST_CALLS = 1000


def offset(rank: int) -> int:
    """Where in the pattern this rank's numbers begin: another place for each rank; they recur after 1021 ranks."""
    return 131 * rank % PERIOD


def numbers(rank: int = 0) -> Tensor:
    """float32[1021], one period of this rank's numbers, none of them 0: those of rank 0 from ``offset`` on."""
    import torch

    return ((torch.arange(PERIOD) + offset(rank)) % PERIOD + 1).to(torch.float32)


def total(ranks: Iterable[int]) -> Tensor:
    """float32[1021], one period of the sum of these ranks' numbers, exact up to ``MOST_RANKS`` of them.

    How many ranks begin at each place is counted first: the work does not grow with the ranks.
    """
    import numpy as np
    import torch

    begins = np.bincount([offset(rank) for rank in ranks], minlength=PERIOD)
    places = np.arange(PERIOD)
    return torch.from_numpy((((places[:, None] + places) % PERIOD + 1) @ begins).astype(np.float32))


def block_seconds(
    ctx: CheckContext,
    device: Device,
    call: Callable[[], object],
    sync: Callable[[], object],
    refill: Callable[[], object],
    blocks: int,
    block_s: float,
) -> list[list[float]]:
    """Seconds per call of each rank in each block, ``[rank][block]``; every rank gets all of them.

    The first call is dropped: it opens connections, to a peer that is new and for a size that takes another way, and may
    last longer than a block. All ranks make the same number of calls.

    Args:
        ctx: all of its ranks take part.
        device: whose clock it is.
        call: what is timed, on every rank alike.
        sync: a short collective over all ranks: they leave the patient barrier up to 2 ms apart.
        refill: puts the buffer back before each block.
        blocks: how many.
        block_s: seconds per block, at most 1000 calls.
    """
    call()
    device.synchronize()  # what it has only queued must not end in the next one's time
    count = 1
    for _ in range(2):  # a single call has its launch in it, and would make a short block
        per_call = statistics.median(device.time_calls(call, count))
        slowest_s = max(ctx.allgather(per_call))
        count = max(1, min(_MOST_CALLS, math.ceil(block_s / slowest_s)))
        if count == 1:
            break
    figures = []
    for _ in range(blocks):
        refill()
        ctx.barrier()
        sync()
        call()  # not timed: what a rank has just filled, or slept through, is in other caches than in a row of calls
        figures.append(statistics.median(device.time_calls(call, count)))
    return ctx.allgather(figures)


def slowest(figures: Sequence[Sequence[float]], ranks: Iterable[int]) -> list[float]:
    """Of each block the seconds of the slowest of these ranks."""
    return [max(block) for block in zip(*(figures[rank] for rank in ranks), strict=True)]
