"""Times how fast all ranks add up their numbers, and verifies the sum."""

from __future__ import annotations

import functools
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from hpcaccept.checks.shared import nccl_transport
from hpcaccept.measure.device import Cpu, open_device
from hpcaccept.measure.kernels import pattern
from hpcaccept.measure.ranks import collective
from hpcaccept.measure.timing import spread
from hpcaccept.model.check import Check, CheckContext, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.parameter import HOUR_S, MOST_BLOCKS, MOST_BYTES, param
from hpcaccept.parse.nccl_log import EXPECTATIONS
from hpcaccept.units import show_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.measure.device import Device

    Tensor = Any

_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30
_ITEM_BYTES = collective.ITEM_BYTES
_HOST_SIZES = (4 * _KIB, _MIB, 16 * _MIB, 64 * _MIB)
_NCCL_SIZES = (8, 128, 4 * _KIB, 64 * _KIB, _MIB, 4 * _MIB, 16 * _MIB, 64 * _MIB, 256 * _MIB, _GIB)
_BACKENDS = ("device", "mpi")
_SOURCE = "https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md"


@dataclass(frozen=True)
class Allreduce(Check):
    """Latency and bandwidth of a float32 sum over all ranks, over NCCL (gloo on CPUs) and over MPI.

    Variants: backend and size of the buffer, as in ``nccl/64MiB``. ``nccl`` or ``gloo`` go through
    ``torch.distributed``; ``mpi`` is ``MPI_Allreduce`` on host memory and says how the ranks coordinate, not how GPUs
    talk to each other.

    How: for each size, in place as nccl-tests does by default in its second half,

    1. the first call is dropped: it opens connections;
    2. ``blocks`` times: fill the buffer anew, wait for all, then call back to back for ``block_s``. A block's figure is
       the median of its calls (NCCL: their mean, by CUDA events, as nccl-tests reports) on its **slowest** rank;
    3. fill the buffer once more, with whole numbers that depend on the element and on the rank; one call; every rank
       compares every element with the exact sum. (Summing in place without filling anew multiplies the numbers by the
       number of ranks each time: a check of that is wrong on every healthy cluster.)

    ``algbw`` is size / time. ``busbw`` is algbw · 2·(n - 1)/n, the traffic of a ring per rank: comparable between
    numbers of ranks, and equal to a wire's speed only where a ring is what runs (not NVLS, not a tree).

    What it does not mean: with more ranks than cores it measures the scheduler; gloo is a stand-in for NCCL that shows
    that the code works, not how fast a fabric is. One launch may be slow for its whole life: compare several.

    What NCCL connected the ranks over (NVLS, P2P, SHM, InfiniBand, TCP) is read from its log on every rank: facts
    ``transport`` and ``library``, metric ``channels``. ``fallback`` is 1, and the rank fails, where that is less than what
    is expected: RDMA between nodes when most nodes have an active port for it, or what ``expect_transport`` says. A log
    that is not understood is an ERROR with its text kept; where nothing is expected, ``fallback`` is not judged.

    Parameters:
        sizes_bytes: buffer sizes of both backends; empty means 8 B … 1 GiB for NCCL, 4 KiB … 64 MiB for gloo and MPI.
        backends: ``device`` (NCCL or gloo) and ``mpi``.
        blocks: timed blocks, all of them kept; 0 means 5 on GPUs and 3 on CPUs.
        block_s: seconds per block (at most 1000 calls); 0 means 0.1 on GPUs and 0.03 on CPUs.
        expect_transport: ``rdma`` (nothing over TCP), ``gdr`` (nor through host memory on the way to the network), ``p2p``
            (nothing through host memory within a node), ``nvls`` (multicast in the switch is used), ``any`` (nothing), or
            empty: as above.
    """

    name: ClassVar = "allreduce"
    revision: ClassVar = 1
    about: ClassVar = "Latency and bus bandwidth of a sum over all ranks, every element verified on every rank."
    needs: ClassVar = ("torch", "torch.distributed")
    scope: ClassVar = "world"
    metrics: ClassVar = (
        Metric(
            "latency_s", "s", "lower", "Time of one all-reduce on the slowest rank.", title="all-reduce time ({})", scope="world",
            formula="max over ranks of the median of a block's calls", source=_SOURCE, headline=False,
        ),
        Metric(
            "algbw_bytes", "B/s", "higher", "Size of the buffer over the time of one all-reduce.", title="all-reduce algorithm bandwidth ({})", scope="world",
            formula="size / latency_s", source=_SOURCE, headline=False,
        ),
        Metric(
            "busbw_bytes", "B/s", "higher", "Bandwidth that a ring would need per rank.", title="all-reduce bus bandwidth ({})", scope="world",
            formula="algbw · 2·(n - 1)/n for n ranks", source=_SOURCE,
        ),
        Metric(
            "spread", "share", "exact", "How far the blocks lie apart.", title="all-reduce spread ({})", scope="world",
            formula="(max - min) / median of latency_s",
        ),
        Metric(
            "wrong_elements", "elements", "lower", "Elements of the sum that are wrong on this rank.", title="all-reduce, wrong results ({})",
            formula="count of result ≠ Σ over ranks", statistic="worst",
            limit=at_most(0, "elements", "sums of whole numbers below 2^24 are exact in float32, in any order"),
            code=FindingCode.SUM_WRONG,
        ),
        *nccl_transport.METRICS,
    )  # fmt: skip

    sizes_bytes: tuple[int, ...] = param((), at_least=1, at_most=MOST_BYTES, unit="B")
    backends: tuple[str, ...] = param(_BACKENDS, one_of=_BACKENDS, not_empty=True)
    blocks: int = param(0, at_least=0, at_most=MOST_BLOCKS)
    block_s: float = param(0.0, at_least=0, at_most=HOUR_S, unit="s")
    expect_transport: str = param("", one_of=("", *EXPECTATIONS))

    def measure(self, ctx: CheckContext) -> None:
        """Each backend and size in turn, all ranks together; see the class."""
        if ctx.size == 1:
            raise Unavailable("allreduce needs at least two ranks.", "Ask for two ranks or more.")
        if ctx.size > collective.MOST_RANKS:
            raise Unavailable(f"Sums over {ctx.size} ranks would not be exact, {collective.MOST_RANKS} is the most.")
        device = open_device(ctx.device)
        backend, rates = "mpi", []
        if "device" in self.backends:
            with ctx.process_group() as backend:
                for size_bytes in self.sizes_bytes or (_NCCL_SIZES if backend == "nccl" else _HOST_SIZES):
                    reached = self._measure_size(ctx, device, backend, size_bytes)
                    rates.append((f"{backend}/{show_bytes(size_bytes)}", reached))
                nccl_transport.report(ctx, backend, self.expect_transport)
        if "mpi" in self.backends:
            for size_bytes in self.sizes_bytes or _HOST_SIZES:
                self._measure_size(ctx, Cpu(), "mpi", size_bytes)
            if "device" not in self.backends:
                nccl_transport.report(ctx, "mpi", self.expect_transport)
        nodes, each = nccl_transport.even_nodes(ctx.allgather(ctx.node))
        bound = [nccl_transport.Rate(variant, "all_reduce", nodes, each, 1, busbw) for variant, busbw in rates if each]
        nccl_transport.judge_rates(ctx, backend, bound)

    def _measure_size(self, ctx: CheckContext, device: Device, backend: str, size_bytes: int) -> float:
        """Measure and emit one size; its bus bandwidth on rank 0, 0 on others."""
        variant = f"{backend}/{show_bytes(size_bytes)}"
        ctx.beat(variant)
        length = max(1, size_bytes // _ITEM_BYTES)
        buffer, call = reduction(ctx, device, backend, length)
        _, sync = reduction(ctx, device, backend, 1)
        table = collective.numbers(ctx.rank).to(buffer.device)
        refill = functools.partial(pattern.fill, buffer, table)
        refill()
        blocks, block_s = (5, 0.1) if device.kind == "cuda" else (3, 0.03)
        figures = collective.block_seconds(
            ctx, device, call, sync, refill, self.blocks or blocks, self.block_s or block_s
        )
        refill()
        call()
        device.synchronize()
        expected = collective.total(range(ctx.size)).to(buffer.device)
        ctx.emit("wrong_elements", pattern.wrong_elements(buffer, expected), variant)
        if ctx.rank:
            return 0.0
        seconds = collective.slowest(figures, range(ctx.size))
        _emit(ctx, variant, length * _ITEM_BYTES, seconds)
        return 2 * (ctx.size - 1) / ctx.size * length * _ITEM_BYTES / statistics.median(seconds)


def reduction(ctx: CheckContext, device: Device, backend: str, length: int) -> tuple[Tensor, Callable[[], object]]:
    """A float32 buffer and the call that sums it over all ranks in place, bound and nothing else."""
    import numpy as np
    import torch

    if backend == "mpi":  # numpy asks for huge pages (7 % at 64 MiB), but not for zeros, which come from calloc
        array = np.ones(length, dtype=np.float32)
        return torch.from_numpy(array), functools.partial(ctx.reduce_sum, array)
    buffer = torch.zeros(length, dtype=torch.float32, device=device.name)
    return buffer, functools.partial(torch.distributed.all_reduce, buffer)


def _emit(ctx: CheckContext, variant: str, size_bytes: int, seconds: list[float]) -> None:
    factor = 2 * (ctx.size - 1) / ctx.size
    for repeat, latency_s in enumerate(seconds):
        ctx.emit("latency_s", latency_s, variant, repeat)
        ctx.emit("algbw_bytes", size_bytes / latency_s, variant, repeat)
        ctx.emit("busbw_bytes", factor * size_bytes / latency_s, variant, repeat)
    ctx.emit("spread", spread(seconds), variant)
