"""Times the host memory of each socket, and verifies that it holds what was written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from hpcaccept.measure.device import Cpu
from hpcaccept.measure.host import cpu_packages, host
from hpcaccept.measure.kernels import pattern
from hpcaccept.measure.kernels import stream as kernels
from hpcaccept.measure.slices import block_figure
from hpcaccept.measure.timing import spread
from hpcaccept.model.check import Check, CheckContext
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.parameter import HOUR_S, MOST_BLOCKS, MOST_BYTES, param

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.measure.host.cpu_packages import Core

_LEAST_BYTES = 64 << 20


@dataclass(frozen=True)
class Stream(Check):
    """The rate of STREAM's four kernels on the host memory of each socket, all cores at work, every element verified.

    Variants: socket and kernel, as in ``socket0/triad``; one rank of each node measures for the node. copy
    ``out = x``, scale ``out = 3·x``, add ``out = x + y``, triad ``out = x + 3·y``, in float64.

    How: a thread is pinned to each core that the job may use (one hardware thread of each core; no more than the CPU
    quota allows), on all sockets at once. Each has its part of the socket's three arrays, which it touches first, so
    that it lies in the memory next to it. For each kernel ``out`` is filled with NaN; all cores together warm up with one
    pass and then make passes for ``block_s``, ``blocks`` times; then every element of ``out`` is compared with what
    whole numbers of a known pattern must give, exactly.

    Bytes are counted as STREAM counts them (https://www.cs.virginia.edu/stream/ref.html): read plus written, copy and
    scale 2, add and triad 3 arrays; the cache line that a CPU may fetch before it overwrites it is not counted. A
    core's figure is bytes over its median pass, a socket's the sum over its cores.

    What it does not mean: not latency, not random access; not the memory behind a CPU without any core of this job. The
    arrays are at least 4 × the last level caches of the socket, as STREAM demands, unless memory is short or
    ``size_bytes`` says otherwise: the fact ``buffers`` tells. A fault outside these arrays is not seen.

    Parameters:
        size_bytes: of each of the three arrays of a socket; 0 means 4 × its last level caches, at least 64 MiB.
        share: largest share of the free memory that all arrays together may take, for a node that may use all cores of
            its host; smaller arrays are used instead.
        blocks: timed blocks, all of them kept.
        block_s: seconds per block, at least one pass.
    """

    name: ClassVar = "stream"
    revision: ClassVar = 1
    about: ClassVar = "STREAM copy, scale, add and triad on each socket's memory, every element verified."
    needs: ClassVar = ("torch",)
    on_device: ClassVar = False
    metrics: ClassVar = (
        Metric(
            "rate_bytes", "B/s", "higher", "Bytes read plus written per second by all cores of a socket.", title="STREAM bandwidth on the CPU ({})", scope="node",
            formula="sum over the cores of 2 (copy, scale) or 3 (add, triad) · array bytes / median seconds per pass",
            source=kernels.SOURCE, peer_floor=0.10, kind="memory",
        ),
        Metric(
            "wrong_elements", "elements", "lower", "Elements that do not hold what was written to them.", title="STREAM on the CPU, wrong results ({})", scope="node",
            formula="count of out ≠ expected after the timed passes", statistic="worst",
            limit=at_most(0, "elements", "whole numbers below 2^53 are exact in float64"), code=FindingCode.RESULT_WRONG,
        ),
        Metric(
            "slowest_core_share", "share", "exact", "Triad rate of the slowest core as a share of the median core's.", title="slowest core in STREAM ({})",
            formula="lowest / median over the cores of a socket, each by its median block", scope="node",
        ),
        Metric(
            "spread", "share", "exact", "How far the blocks lie apart; above 5 % the rate is suspect.", title="STREAM on the CPU, spread ({})", scope="node",
            formula="(max - min) / median of the blocks",
        ),
    )  # fmt: skip

    size_bytes: int = param(0, at_least=0, at_most=MOST_BYTES, unit="B")
    share: float = param(0.25, above=0, at_most=1, unit="share")
    blocks: int = param(5, at_least=1, at_most=MOST_BLOCKS)
    block_s: float = param(0.1, at_least=0, at_most=HOUR_S, unit="s")

    def measure(self, ctx: CheckContext) -> None:
        """All sockets at once, one kernel after the other; see the class."""
        if ctx.local_rank != 0:
            return
        crew = cpu_packages.of_node(ctx)
        lengths = self._lengths(ctx, crew)
        done = cpu_packages.together(crew, lambda core, wait: self._work(ctx, core is crew[0], lengths[core], wait))
        for kernel, arrays in kernels.ARRAYS.items():
            moved = [arrays * lengths[core] * kernels.ITEM_BYTES for core in crew]
            rates = [[size / s for s in mine[kernel][0]] for size, mine in zip(moved, done, strict=True)]
            found = cpu_packages.by_socket(crew, rates)
            for socket, figures in found.items():
                variant = f"{socket}/{kernel}"
                for repeat, rate in enumerate(figures.rates):
                    ctx.emit("rate_bytes", rate, variant, repeat)
                wrong = sum(mine[kernel][1] for core, mine in zip(crew, done, strict=True) if core.variant == socket)
                ctx.emit("wrong_elements", wrong, variant)
                ctx.emit("spread", spread(figures.rates), variant)
        cpu_packages.emit(ctx, crew, found)  # of the last kernel, triad

    def _lengths(self, ctx: CheckContext, crew: list[Core]) -> dict[Core, int]:
        """Elements of each core's part of one array."""
        lengths: dict[Core, int] = {}
        members = {socket: [core for core in crew if core.socket == socket] for socket in {c.socket for c in crew}}
        # Virtual nodes that share a kernel and measure at the same time share its memory as they share its cores.
        part = len(crew) / max(len(crew), len(cpu_packages.cores(host.affinity())))
        most = int(self.share * part * Cpu().free_bytes()) // (3 * len(members))
        for socket, mine in members.items():
            cache_bytes = cpu_packages.cache_bytes(socket)
            asked = self.size_bytes or max(_LEAST_BYTES, 4 * cache_bytes)
            length = max(1, min(asked, most) // kernels.ITEM_BYTES // len(mine))
            lengths |= dict.fromkeys(mine, length)
            what = kernels.buffers(length * len(mine) * kernels.ITEM_BYTES, cache_bytes)
            short = f"; {self.share * part:.0%} of the free memory allow no more" if most < asked else ""
            ctx.fact(f"buffers[socket{socket}]", what + short)
        return lengths

    def _work(
        self, ctx: CheckContext, speaks: bool, length: int, wait: Callable[[], object]
    ) -> dict[str, tuple[list[float], int]]:
        """Of one core: kernel → seconds per pass, a median for each block, and how many elements were wrong."""
        tables = kernels.tables("cpu")
        x, y, out = (room(length) for _ in range(3))
        for array, table in zip((x, y), tables, strict=True):
            pattern.fill(array, table)
        found = {}
        for kernel in kernels.ARRAYS:
            if speaks:
                ctx.beat(kernel)
            out.fill_(math.nan)
            call = kernels.kernel_call(kernel, x, y, out)
            wait()
            call()
            figures = []
            for _ in range(self.blocks):
                wait()
                figures.append(block_figure(partial(cpu_packages.window, call), self.block_s))
            found[kernel] = figures, pattern.wrong_elements(out, kernels.expected(kernel, *tables))
        return found


def room(length: int) -> Any:
    """float64[length] of untouched memory. From numpy, which asks the kernel for huge pages: 7 % at 64 MiB."""
    import numpy as np
    import torch

    return torch.from_numpy(np.empty(length, dtype=np.float64))
