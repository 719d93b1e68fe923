"""How fast is the device's memory, and does it hold what was written?"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from hpcaccept.measure import pattern
from hpcaccept.measure.device import open_device
from hpcaccept.measure.timing import Pace, spread, time_blocks
from hpcaccept.model.check import Bench, Check
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.units import show_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.measure.device import Device

    Tensor = Any

#: STREAM counts what is read plus what is written, and not what a cache line costs that is fetched to be overwritten.
#: https://www.cs.virginia.edu/stream/ref.html#counting
_ARRAYS = {"copy": 2, "scale": 2, "add": 3, "triad": 3}
_SCALAR = 3.0
_ITEM_BYTES = 8
#: Length of the pattern, a prime.
_PERIOD = 65521


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
            "rate_bytes", "B/s", "higher", "Bytes read plus written per second by one STREAM kernel.",
            formula="2 (copy, scale) or 3 (add, triad) · array bytes / seconds per pass, one figure per block",
            source="https://www.cs.virginia.edu/stream/ref.html", peer_floor=0.02,
        ),
        Metric(
            "wrong_elements", "elements", "lower", "Elements that do not hold what was written to them.",
            formula="count of out ≠ expected after the timed passes", statistic="worst",
            limit=at_most(0, "elements", "whole numbers below 2^53 are exact in float64"),
        ),
        Metric(
            "spread", "share", "exact", "How far the blocks lie apart; above 5 % the rate is suspect.",
            formula="(max - min) / median of the blocks",
        ),
    )  # fmt: skip

    size_bytes: int = 0
    blocks: int = 5
    block_s: float = 0.0
    warm_s: float = 0.0

    def measure(self, bench: Bench) -> None:
        """Each kernel in turn; see the class."""
        device = open_device(bench.device)
        length = (self.size_bytes or _default_bytes(device)) // _ITEM_BYTES
        block_s = self.block_s or (0.5 if device.kind == "cuda" else 0.02)
        pace = Pace(self.blocks, block_s, self.warm_s or 2 * block_s)
        tables = _tables(device.name)
        x, y, out = (tables[0].new_empty(length) for _ in range(3))
        for array, table in zip((x, y), tables, strict=True):
            pattern.fill(array, table)
        for kernel, arrays in _ARRAYS.items():
            bench.beat(kernel)
            out.fill_(math.nan)
            seconds = time_blocks(device.time_calls, kernel_call(kernel, x, y, out), pace)
            rates = [arrays * length * _ITEM_BYTES / s for s in seconds]
            for repeat, rate in enumerate(rates):
                bench.emit("rate_bytes", rate, kernel, repeat)
            bench.emit("wrong_elements", pattern.wrong_elements(out, _expected(kernel, *tables)), kernel)
            bench.emit("spread", spread(rates), kernel)
        bench.fact("buffers", _buffers(length * _ITEM_BYTES, device.cache_bytes()))


def kernel_call(kernel: str, x: Tensor, y: Tensor, out: Tensor) -> Callable[[], object]:
    """The call that is timed: one torch operation that reads and writes each element once."""
    import torch

    calls: dict[str, Callable[[], object]] = {
        "copy": functools.partial(out.copy_, x),
        "scale": functools.partial(torch.mul, x, _SCALAR, out=out),
        "add": functools.partial(torch.add, x, y, out=out),
        "triad": functools.partial(torch.add, x, y, alpha=_SCALAR, out=out),
    }
    return calls[kernel]


def _default_bytes(device: Device) -> int:
    return max(1 << 30, 4 * device.cache_bytes()) if device.kind == "cuda" else 64 << 20


def _tables(device: str) -> tuple[Tensor, Tensor]:
    """One period of x and of y: whole numbers, different at every place, none of them 0."""
    import torch

    index = torch.arange(_PERIOD, dtype=torch.int64, device=device)
    return (index + 1).to(torch.float64), (index * 7919 % _PERIOD + 1).to(torch.float64)


def _expected(kernel: str, x: Tensor, y: Tensor) -> Tensor:
    return {"copy": x, "scale": _SCALAR * x, "add": x + y, "triad": x + _SCALAR * y}[kernel]


def _buffers(size_bytes: int, cache_bytes: int) -> str:
    what = f"3 arrays of {show_bytes(size_bytes)}"
    if not cache_bytes:
        return f"{what}, last level cache unknown"
    enough = "at least" if size_bytes >= 4 * cache_bytes else "LESS THAN"
    return f"{what}, {enough} 4 × the last level cache of {show_bytes(cache_bytes)}"
