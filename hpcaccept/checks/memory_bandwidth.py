"""Times the device's memory, and verifies that it holds what was written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpcaccept.measure.device import open_device
from hpcaccept.measure.kernels import pattern, stream
from hpcaccept.measure.slices import own_calls
from hpcaccept.measure.timing import Pace, spread, time_blocks
from hpcaccept.model.check import Check, CheckContext
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.parameter import HOUR_S, MOST_BLOCKS, MOST_BYTES, param

if TYPE_CHECKING:
    from hpcaccept.measure.device import Device


@dataclass(frozen=True)
class MemoryBandwidth(Check):
    """The rate of STREAM's four kernels on the device's memory, and whether every element written is right.

    Variants, with x, y and out of float64 as in STREAM:
    copy ``out = x``, scale ``out = 3·x``, add ``out = x + y``, triad ``out = x + 3·y``.

    How: ``out`` is filled with NaN; the kernel runs until two batches agree within 1 %, then in ``blocks`` blocks (a block's
    figure is its median call, on a GPU the mean by events);
    then every element of ``out`` is compared with what whole numbers of a known pattern must give, exactly. Bytes are
    counted as STREAM counts them: read plus written (copy and scale 2, add and triad 3 arrays). A tool that counts a
    copy once, or that counts the write-allocate traffic of a CPU, gives 1/2 or 3/2 of the same copy.

    What the rate does not mean: bandwidth of random access; the bandwidth of the whole node, when this rank uses only
    some of its cores; and on a CPU not that of DRAM unless the arrays are at least four times the last level cache
    (the fact ``buffers`` says). A fault in memory outside these three arrays is not seen.

    Parameters:
        size_bytes: of each of the three arrays; 0 means 1 GiB (or 4 × the L2 cache, if larger) on a GPU, 64 MiB on a
            CPU.
        blocks: timed blocks, all of them kept.
        block_s: seconds per block; 0 means 0.5 on a GPU and 0.02 on a CPU.
        warm_s: longest warm-up; 0 means 2 blocks.
    """

    name: ClassVar = "memory_bandwidth"
    revision: ClassVar = 1
    about: ClassVar = "STREAM copy, scale, add and triad on the device's memory, every element verified."
    needs: ClassVar = ("torch",)
    metrics: ClassVar = (
        Metric(
            "rate_bytes", "B/s", "higher", "Bytes read plus written per second by one STREAM kernel.", title="memory bandwidth ({})",
            formula="2 (copy, scale) or 3 (add, triad) · array bytes / seconds per pass, one figure per block",
            source=stream.SOURCE, peer_floor=0.02, kind="memory",
        ),
        Metric(
            "wrong_elements", "elements", "lower", "Elements that do not hold what was written to them.", title="memory bandwidth, wrong results ({})",
            formula="count of out ≠ expected after the timed passes", statistic="worst",
            limit=at_most(0, "elements", "whole numbers below 2^53 are exact in float64"), code=FindingCode.RESULT_WRONG,
        ),
        Metric(
            "spread", "share", "exact", "How far the blocks lie apart; above 5 % the rate is suspect.", title="memory bandwidth, spread ({})",
            formula="(max - min) / median of the blocks",
        ),
    )  # fmt: skip

    size_bytes: int = param(0, also=(0,), at_least=stream.ITEM_BYTES, at_most=MOST_BYTES, unit="B")
    blocks: int = param(5, at_least=1, at_most=MOST_BLOCKS)
    block_s: float = param(0.0, at_least=0, at_most=HOUR_S, unit="s")
    warm_s: float = param(0.0, at_least=0, at_most=HOUR_S, unit="s")

    def measure(self, ctx: CheckContext) -> None:
        """Each kernel in turn; see the class."""
        device = open_device(ctx.device)
        length = (self.size_bytes or _default_bytes(device)) // stream.ITEM_BYTES
        block_s = self.block_s or (0.5 if device.kind == "cuda" else 0.02)
        pace = Pace(self.blocks, block_s, self.warm_s or 2 * block_s)
        tables = stream.tables(device.name)
        x, y, out = (tables[0].new_empty(length) for _ in range(3))
        for array, table in zip((x, y), tables, strict=True):
            pattern.fill(array, table)
        for kernel, arrays in stream.ARRAYS.items():
            ctx.beat(kernel)
            out.fill_(math.nan)
            seconds = time_blocks(own_calls(device), stream.kernel_call(kernel, x, y, out), pace)
            rates = [arrays * length * stream.ITEM_BYTES / s for s in seconds]
            for repeat, rate in enumerate(rates):
                ctx.emit("rate_bytes", rate, kernel, repeat)
            ctx.emit("wrong_elements", pattern.wrong_elements(out, stream.expected(kernel, *tables)), kernel)
            ctx.emit("spread", spread(rates), kernel)
        ctx.fact("buffers", stream.buffers(length * stream.ITEM_BYTES, device.cache_bytes()))


def _default_bytes(device: Device) -> int:
    return max(1 << 30, 4 * device.cache_bytes()) if device.kind == "cuda" else 64 << 20
