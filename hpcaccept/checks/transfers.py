"""Times how fast bytes move between the host and its GPU, and verifies that all of them arrive."""

from __future__ import annotations

import contextlib
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from hpcaccept.measure.device import open_device
from hpcaccept.measure.gpu import driver
from hpcaccept.measure.host.numa import bound_near
from hpcaccept.measure.kernels import pattern
from hpcaccept.measure.timing import Pace, spread, time_blocks
from hpcaccept.model.check import Check, CheckContext, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_least, at_most
from hpcaccept.model.parameter import HOUR_S, MOST_BLOCKS, MOST_BYTES, param
from hpcaccept.units import show, show_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hpcaccept.measure.device import Device
    from hpcaccept.measure.gpu.driver import Gpu

    Call = Callable[[], object]
    Tensor = Any

_ITEM_BYTES = 8
_ONE_WAY = ("h2d", "d2h")
_WAYS = (*_ONE_WAY, "both")
#: One lane in one direction, B/s, by PCIe generation: transfers per second × encoding (8b/10b, 128b/130b, 242 of the 256
#: bytes of a FLIT) / 8. https://pcisig.com/specifications (2.0, 3.0 … 6.0), as in https://en.wikipedia.org/wiki/PCI_Express
#: (2026-11).
_LANE_BYTES = {
    1: 2.5e9 * 8 / 10 / 8,
    2: 5e9 * 8 / 10 / 8,
    3: 8e9 * 128 / 130 / 8,
    4: 16e9 * 128 / 130 / 8,
    5: 32e9 * 128 / 130 / 8,
    6: 64e9 * 242 / 256 / 8,
}
_LEAST_SHARE = 0.55


@dataclass(frozen=True)
class Transfers(Check):
    """The rate of copies from the host to its GPU (``h2d``), back (``d2h``), and in both directions at once (``both``).

    How: host memory is pinned, and the rank first binds itself to the NUMA node of its GPU (as sysfs says), so that the
    memory lies there too; the fact ``numa`` says what was bound, or why not. Copies of ``size_bytes`` are queued without
    waiting and timed by events; the first calls are never counted, then ``blocks`` blocks are kept. Then the target is
    cleared, one more copy is made, and every byte of it is compared with a pattern that uses every bit.

    That is done twice. ``together``: all GPUs of all nodes copy, which is what training does to them; the sum over the GPUs
    of a node, ``node_rate_bytes``, is compared with the other nodes, ``together_bytes`` of each GPU is kept. Then alone,
    one GPU of each node after the other, which is what nvbandwidth and most published figures mean: ``rate_bytes``, which
    is compared between GPUs. GPUs that share a PCIe switch share its way up: half the rate together and the full rate
    alone is how such a node is built, not a fault, so GPUs are not compared by what they reach together. (Where ranks
    outnumber cores they measure in turn, so that they are alone anyway, and there is no ``together``.)

    Variants: ``h2d``, ``d2h`` and ``both`` (bytes of both directions over the time of both).

    ``link_share`` is the rate alone over what the PCIe link of GPU and slot can carry in one direction (generation and
    width as the driver gives their maximum): 0.82 to 0.88 is what healthy links reach (A100 26 of 31.5, H200 55.4 of 63 GB/s:
    github.com/stas00/ml-engineering, network; microsoft/superbenchmark fleet figures). A link that came up with half of
    its lanes or one generation lower stays below 0.45.

    What it does not mean: with an NVLink-C2C host link (GB200, GH200) there is no PCIe link to take a share of; then, and
    where the driver does not say, ``link_share`` is not judged. On a CPU the same code copies between two buffers in host
    memory, both directions one after the other: that shows that the code works and how fast the host copies, no link.

    Parameters:
        size_bytes: of one copy; 0 means 256 MiB on a GPU, 16 MiB on a CPU.
        blocks: timed blocks, all of them kept.
        block_s: seconds per block; 0 means 0.1 on a GPU and 0.02 on a CPU.
    """

    name: ClassVar = "transfers"
    revision: ClassVar = 1
    about: ClassVar = "Copies between host and GPU, one way and both, NUMA-bound, every byte verified."
    needs: ClassVar = ("torch",)
    metrics: ClassVar = (
        Metric(
            "rate_bytes", "B/s", "higher",
            "Bytes copied per second while no other GPU of the node copies. Slower than the peers: look at the PCIe link (nvidia-smi -q -d PERFORMANCE; "
            "lspci -vv, LnkSta), at the fact 'numa', and at what else uses the host's memory.", title="host to GPU copy ({})",
            formula="size (h2d, d2h) or 2 · size (both) / seconds per copy, one figure per block",
            source="https://github.com/NVIDIA/nvbandwidth", peer_floor=0.02,
        ),
        Metric(
            "node_rate_bytes", "B/s", "higher",
            "Bytes that the GPUs of a node copy per second together. Slower than the other nodes with links that are well: memory "
            "modules, NUMA settings of the firmware, or other users of the host's memory.", title="host to GPU copies of all GPUs ({})", scope="node",
            formula="Σ over the node's GPUs of together_bytes, block by block", peer_floor=0.03, required=False,
        ),
        Metric(
            "together_bytes", "B/s", "higher", "Bytes copied per second while all GPUs of the node copy.", title="host to GPU copy beside the other GPUs ({})",
            formula="as rate_bytes", required=False, headline=False,
        ),
        Metric(
            "link_share", "share", "higher",
            "Rate over the nominal rate of the PCIe link. Too small: lanes or a generation were lost when the link came up. "
            "Reseat or exchange the riser or the GPU; compare 'nvidia-smi -q -d PCIE' under load.", title="host to GPU copy against the link rate ({})",
            formula="median rate_bytes / (lanes · B/s per lane of the generation)",
            source="https://github.com/stas00/ml-engineering/tree/master/network (0.85 to 0.88 of nominal)",
            statistic="median", noise="ratio", required=False, headline=False,
            limit=at_least(
                _LEAST_SHARE, "share",
                "ours: healthy links reach 0.82 to 0.88, AzNHC accepts virtual ones from 0.57 (ND40rs_v2, 9 of 15.75 GB/s), half a link reaches 0.45",
            ), code=FindingCode.LINK_SLOW,
        ),
        Metric(
            "wrong_elements", "elements", "lower", "Words of 8 bytes that did not arrive as they were sent.", title="host to GPU copy, wrong results ({})",
            formula="count of target ≠ source after the timed copies", statistic="worst",
            limit=at_most(0, "elements", "a copy changes nothing"), code=FindingCode.COPY_WRONG,
        ),
        Metric(
            "spread", "share", "exact", "How far the blocks lie apart; above 5 % the rate is suspect.", title="host to GPU copy, spread ({})",
            formula="(max - min) / median of the blocks", headline=False,
        ),
    )  # fmt: skip

    size_bytes: int = param(0, also=(0,), at_least=_ITEM_BYTES, at_most=MOST_BYTES, unit="B")
    blocks: int = param(5, at_least=1, at_most=MOST_BLOCKS)
    block_s: float = param(0.0, at_least=0, at_most=HOUR_S, unit="s")

    def measure(self, ctx: CheckContext) -> dict[str, list[float]]:
        """All GPUs at once; see the class."""
        return self._rates(ctx, "rate_bytes") if ctx.in_turn else self._rates(ctx, "together_bytes", "/together")

    def compare(self, ctx: CheckContext, kept: Any) -> None:
        """One GPU of each node after the other: the rate of a link that nobody shares.

        Every rank passes every barrier, whatever happens in its turn: the others must not wait for it.
        """
        everyone = ctx.allgather((ctx.node, ctx.local_rank, kept))
        if ctx.local_rank == 0:
            _emit_node(ctx, [rates for node, _, rates in everyone if node == ctx.node])
        with contextlib.ExitStack() as rest:
            for _ in range(max(local for _, local, _ in everyone) + 1 - ctx.local_rank):
                rest.callback(ctx.barrier)
            for _ in range(ctx.local_rank):
                ctx.barrier()
            if kept:
                _judge_link(ctx, kept if ctx.in_turn else self._rates(ctx, "rate_bytes"))

    def _rates(self, ctx: CheckContext, metric: str, suffix: str = "") -> dict[str, list[float]]:
        """Way → B/s of each block, emitted and verified."""
        device = open_device(ctx.device)
        device.select()  # before anything is pinned: see Cuda.host_buffer
        gpu = device.kind == "cuda"
        length = (self.size_bytes or (256 << 20 if gpu else 16 << 20)) // _ITEM_BYTES
        block_s = self.block_s or (0.1 if gpu else 0.02)
        rates: dict[str, list[float]] = {}
        with bound_near(_bus_id(ctx)) as where:
            ctx.fact("numa", where)
            lanes = both_lanes(device, length)
            for way in _WAYS:
                used = [lane for name, lane in lanes.items() if way in (name, "both")]
                call = used[0].call if len(used) == 1 else device.side_by_side([lane.call for lane in used])
                ctx.beat(way + suffix)
                seconds = time_blocks(device.time_calls, call, Pace(self.blocks, block_s, 2 * block_s))
                rates[way] = [len(used) * length * _ITEM_BYTES / s for s in seconds]
                for repeat, rate in enumerate(rates[way]):
                    ctx.emit(metric, rate, way, repeat)
                ctx.emit("spread", spread(seconds), way + suffix)
                ctx.emit("wrong_elements", wrong_elements(device, used, call), way + suffix)
        ctx.fact("copies", f"of {show_bytes(length * _ITEM_BYTES)}")
        return rates


@dataclass(frozen=True)
class Lane:
    """One direction of copies.

    Attributes:
        source: int64[length], filled with ``table`` again and again.
        target: int64[length] on the other side.
        table: the pattern.
    """

    source: Tensor
    target: Tensor
    table: Tensor

    def call(self) -> None:
        """Queue one copy."""
        self.target.copy_(self.source, non_blocking=True)


def both_lanes(device: Device, length: int) -> dict[str, Lane]:
    """``h2d`` and ``d2h`` of a device, each with buffers and a pattern of its own."""
    import torch

    def on_device() -> Tensor:
        return torch.empty(length, dtype=torch.int64, device=device.name)

    host = device.host_buffer
    sides = {"h2d": (host(length), on_device()), "d2h": (on_device(), host(length))}
    lanes = {}
    for seed, (way, (source, target)) in enumerate(sides.items()):
        table = pattern.words(seed, "cpu")
        pattern.fill(source, table.to(source.device))
        lanes[way] = Lane(source, target, table)
    return lanes


def wrong_elements(device: Device, lanes: Sequence[Lane], call: Call) -> int:
    """Words that one more copy does not bring over into cleared targets (the pattern holds no 0)."""
    for lane in lanes:
        lane.target.zero_()
    call()
    device.synchronize()
    return sum(pattern.wrong_elements(lane.target, lane.table.to(lane.target.device)) for lane in lanes)


def _emit_node(ctx: CheckContext, rates: list[dict[str, list[float]] | None]) -> None:
    """What the ranks of this node reached together, if all of them did."""
    if ctx.in_turn:
        ctx.unsupported("node_rate_bytes", "ranks outnumber cores: they measure one after another")
        return
    known = [mine for mine in rates if mine]
    if len(known) < len(rates):
        ctx.unsupported("node_rate_bytes", f"{len(rates) - len(known)} of {len(rates)} ranks could not measure")
        return
    for way in _WAYS:
        for repeat, block in enumerate(zip(*(mine[way] for mine in known), strict=True)):
            ctx.emit("node_rate_bytes", sum(block), way, repeat)


def _judge_link(ctx: CheckContext, rates: dict[str, list[float]]) -> None:
    """What the link achieved of what it could carry, where that is known and PCIe is what it is."""
    gpu = _own_gpu(ctx)
    nominal = nominal_bytes(gpu) if gpu else 0.0
    if gpu and gpu.coherent:
        ctx.unsupported("link_share", "GPU and CPU are joined chip to chip: PCIe says nothing of the way between them")
        return
    if not nominal:
        why = (
            "a CPU has no link to itself" if ctx.device == "cpu" else "the driver does not say what the link can carry"
        )
        ctx.unsupported("link_share", why)
        return
    shares = {way: statistics.median(rates[way]) / nominal for way in _ONE_WAY}
    if max(shares.values()) > 1:
        ctx.unsupported(
            "link_share",
            f"faster than what the driver calls its PCIe link ({show(nominal, 'B/s')}): it is NVLink-C2C, or virtual",
        )
        return
    for way, share in shares.items():
        ctx.emit("link_share", share, way)


def nominal_bytes(gpu: Gpu) -> float:
    """What GPU and slot together can carry in one direction, B/s; 0 where the driver does not say."""
    return _LANE_BYTES.get(gpu.pcie_gen_max or 0, 0.0) * (gpu.pcie_width_max or 0)


def _own_gpu(ctx: CheckContext) -> Gpu | None:
    """As the driver describes it; None on a CPU, and where the driver cannot be asked for certain."""
    try:
        return driver.identity_of(ctx.device)
    except Unavailable:
        return None


def _bus_id(ctx: CheckContext) -> str:
    gpu = _own_gpu(ctx)
    return (gpu.pci_bus_id or "") if gpu else ""
