"""Times the copies from each GPU of a node to each other one, and finds the pair that is slower than its like."""

from __future__ import annotations

import functools
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from hpcaccept.measure import device as devices
from hpcaccept.measure.gpu import driver, links
from hpcaccept.measure.kernels import pattern
from hpcaccept.measure.timing import Pace, time_blocks
from hpcaccept.model.check import Check, CheckContext, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_least, at_most
from hpcaccept.model.metric_key import Pair
from hpcaccept.model.parameter import HOUR_S, MOST_BLOCKS, MOST_BYTES, param
from hpcaccept.units import show, show_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Tensor = Any

_ITEM_BYTES = 8
_HOST_BUFFERS = 2
_LEAST_SHARE = 0.8
_LEAST_BYTES = 0.5e9


@dataclass(frozen=True)
class PeerToPeer(Check):
    """The bandwidth of copies between any two GPUs of a node, one way (``0→3``) and both ways at once (``0↔3``).

    How: the first rank of each node copies while the others wait, so that each pair has the node to itself; it takes the
    GPUs that were asked for in CUDA's order. Every cell: the first copies are never counted, then ``blocks`` blocks
    timed by events on the GPU that sends; then the target is cleared, copied to once more, and every byte compared with
    a pattern of the sender's own. A copy that CUDA cannot do directly goes through host memory and is measured as it
    is; the fact ``peer_access`` shows which cells those are.

    ``bandwidth_bytes`` is compared with the same cell of the other nodes. ``cell_share`` needs no other node: it is the cell
    over the median of the cells of the same kind of link in this node (NVSwitch, number of NVLinks, PCIe switch, host
    bridge, socket, as the driver says; the fact ``links`` tells), so that a bad link is named even on one node alone. Where
    the driver does not say, cells are not judged so: which of them are alike is not known. A GPU whose cells are all slow
    has a bad port of its own; one cell is one pair.

    What it does not mean: nothing here loads several pairs at once, so it says nothing about a switch under full load
    (``collectives`` does). A node whose cells are all equally slow is seen by its peers, by a baseline and, below what one
    lane of PCIe carries, by ``slowest_bytes``. The first rank keeps a CUDA context on each GPU until the step ends (about
    0.5 GB each): let it come late in a suite. On a CPU two buffers in host memory stand for devices: that shows that the
    code works, and no link; ``cell_share`` is not judged there. That copies on GPUs overlap both ways has been shown on
    no GPU yet.

    Parameters:
        size_bytes: of one copy; 0 means 256 MiB on GPUs, 8 MiB on a CPU.
        blocks: timed blocks per cell, all of them kept.
        block_s: seconds per block; 0 means 0.01.
    """

    name: ClassVar = "peer_to_peer"
    revision: ClassVar = 1
    about: ClassVar = "The matrix of copies between the GPUs of a node, the outlier cell named, every byte verified."
    needs: ClassVar = ("torch",)
    metrics: ClassVar = (
        Metric(
            "bandwidth_bytes", "B/s", "higher",
            "Bytes copied per second from one GPU to another (→), or both ways together (↔).", title="GPU to GPU copy ({})", scope="node",
            formula="size (→) or 2 · size (↔) / seconds per copy, one figure per block",
            source="https://github.com/NVIDIA/nvbandwidth", peer_floor=0.05, headline=False, cells="pair",
        ),
        Metric(
            "cell_share", "share", "higher",
            "This pair over the median of the pairs of this node on the same kind of link. Too small: look at the NVLinks of both "
            "(nvidia-smi nvlink -s, -e), the fabric manager, 'nvidia-smi topo -m', IOMMU and ACS.", title="GPU to GPU copy against like pairs ({})", scope="node",
            formula="median bandwidth_bytes of the cell / median over the cells of its kind", cells="pair",
            source="measuring cells, not means: https://github.com/NVIDIA/nvbandwidth", statistic="median", noise="ratio",
            required=False,
            limit=at_least(
                _LEAST_SHARE, "share",
                "ours: like cells of healthy nodes differ by a percent (nvbandwidth's sample: 276.3 ± 0.3 GB/s); losing 4 of 18 NVLinks costs 22 %",
            ), code=FindingCode.LINK_SLOW,
        ),
        Metric(
            "slowest_bytes", "B/s", "higher",
            "The slowest pair, one way. A node that is slow everywhere must not pass because its pairs are equally slow.", title="slowest GPU to GPU copy", scope="node",
            formula="min over the cells of median bandwidth_bytes", source="https://github.com/huggingface/gpu-fryer/issues/10",
            statistic="worst", required=False, headline=False, cells="pair",
            limit=at_least(_LEAST_BYTES, "B/s", "ours: half of one lane of PCIe 3.0; no GPU is fit for work behind less"),
            code=FindingCode.LINK_SLOW,
        ),
        Metric(
            "wrong_elements", "elements", "lower", "Words of 8 bytes that did not arrive as they were sent.", title="GPU to GPU copy, wrong results ({})", scope="node",
            formula="count of target ≠ source after the timed copies", statistic="worst",
            limit=at_most(0, "elements", "a copy changes nothing"), cells="pair", code=FindingCode.COPY_WRONG,
        ),
    )  # fmt: skip

    size_bytes: int = param(0, also=(0,), at_least=_ITEM_BYTES, at_most=MOST_BYTES, unit="B")
    blocks: int = param(3, at_least=1, at_most=MOST_BLOCKS)
    block_s: float = param(0.0, at_least=0, at_most=HOUR_S, unit="s")

    def measure(self, ctx: CheckContext) -> None:
        """Every cell in turn, by the first rank of the node; see the class."""
        found = _devices(ctx)
        if ctx.local_rank:
            return
        gpu = found[0].kind == "cuda"
        length = (self.size_bytes or (256 << 20 if gpu else 8 << 20)) // _ITEM_BYTES
        pace = Pace(self.blocks, self.block_s or 0.01, 2 * (self.block_s or 0.01))
        ends = [end_on(device, number, length) for number, device in enumerate(found)]
        rates: dict[tuple[int, int], float] = {}
        for i, j in _pairs(len(ends)):
            rates[i, j] = statistics.median(_cell(ctx, str(Pair(str(i), str(j))), [(ends[i], ends[j])], pace))
        for i, j in _pairs(len(ends)):
            if i < j:
                _cell(ctx, str(Pair(str(i), str(j), both_ways=True)), [(ends[i], ends[j]), (ends[j], ends[i])], pace)
        ctx.fact("peer_access", _access(found))
        ctx.fact("copies", f"of {show_bytes(length * _ITEM_BYTES)}")
        if not gpu:
            ctx.unsupported("cell_share", "copies within host memory cross no link")
            return
        kinds = links.classes([device.name for device in found])
        ctx.fact("links", _links(kinds))
        _judge_cells(ctx, {cell: rate for cell, rate in rates.items() if kinds[cell] != links.UNKNOWN}, kinds)
        slowest = min(rates, key=lambda cell: rates[cell])
        ctx.emit("slowest_bytes", rates[slowest], str(Pair(str(slowest[0]), str(slowest[1]))))
        del ends
        found[0].give_back()


@dataclass(frozen=True)
class End:
    """One GPU with what it sends and what it receives into.

    Attributes:
        device: of the GPU.
        source: int64[length], its own pattern.
        target: int64[length].
        table: the pattern.
    """

    device: devices.Device
    source: Tensor
    target: Tensor
    table: Tensor


def end_on(device: devices.Device, number: int, length: int) -> End:
    """Buffers on a device, with the pattern of this number."""
    import torch

    table = pattern.words(number, device.name)
    source, target = (torch.empty(length, dtype=torch.int64, device=device.name) for _ in range(2))
    pattern.fill(source, table)
    return End(device, source, target, table)


def copy(one: End, other: End) -> None:
    """Queue one copy: on the sender's stream, as torch does it."""
    other.target.copy_(one.source, non_blocking=True)


def shares(
    rates: Mapping[tuple[int, int], float], kinds: Mapping[tuple[int, int], str]
) -> dict[tuple[int, int], float]:
    """Each cell over the median of the cells of its kind.

    Args:
        rates: cell → B/s.
        kinds: cell → kind of link.
    """
    like: dict[str, list[float]] = {}
    for cell, rate in rates.items():
        like.setdefault(kinds[cell], []).append(rate)
    return {cell: rate / statistics.median(like[kinds[cell]]) for cell, rate in rates.items()}


def _judge_cells(ctx: CheckContext, rates: dict[tuple[int, int], float], kinds: Mapping[tuple[int, int], str]) -> None:
    """Each cell among its like; those whose link is not known could be of any kind."""
    if not rates:
        ctx.unsupported(
            "cell_share",
            "the driver does not say by what the GPUs are connected, so which of them are comparable is not known",
        )
        return
    relative = shares(rates, kinds)
    for (i, j), share in relative.items():
        ctx.emit("cell_share", share, str(Pair(str(i), str(j))))
    (i, j), least = min(relative.items(), key=lambda item: item[1])
    ctx.fact("worst_cell", f"{i}→{j}: {show(rates[i, j], 'B/s')}, {least:.0%} of its kind")


def _cell(ctx: CheckContext, variant: str, ways: Sequence[tuple[End, End]], pace: Pace) -> list[float]:
    """B/s of each block of one cell, emitted and verified."""
    ctx.beat(variant)
    first = ways[0][0].device
    calls = [functools.partial(copy, one, other) for one, other in ways]
    call = calls[0] if len(calls) == 1 else first.side_by_side(calls, [ways[0][1].device.name])
    size_bytes = sum(len(one.source) for one, _ in ways) * _ITEM_BYTES
    rates = [size_bytes / seconds for seconds in time_blocks(first.time_calls, call, pace)]
    for repeat, rate in enumerate(rates):
        ctx.emit("bandwidth_bytes", rate, variant, repeat)
    for _, other in ways:
        other.target.zero_()
        other.device.synchronize()
    call()
    wrong = 0
    for one, other in ways:
        one.device.synchronize()
        other.device.synchronize()
        wrong += pattern.wrong_elements(other.target, one.table.to(other.target.device))
    ctx.emit("wrong_elements", wrong, variant)
    return rates


def _devices(ctx: CheckContext) -> list[devices.Device]:
    """What the matrix is of.

    Raises:
        Unavailable: there are no two GPUs, on all ranks of the node alike.
    """
    if ctx.device == "cpu":
        return [devices.open_device("cpu") for _ in range(_HOST_BUFFERS)]
    vendor, asked, seen = driver.installed(), ctx.gpus_asked or len(ctx.node_ranks), devices.visible()
    if asked < 2:
        raise Unavailable("One GPU alone has nobody to copy to.", "Ask for two GPUs or more on each node.")
    if seen < asked:
        raise Unavailable(
            f"This rank sees {seen} of the {asked} GPUs that were asked for, so the matrix cannot be whole.",
            "Let every rank see all GPUs of its node (no --gpus-per-task, no --gpu-bind); check 'identity' names missing ones.",
        )
    return [devices.open_device(vendor.device(number)) for number in range(asked)]


def _pairs(count: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(count) for j in range(count) if i != j]


def _access(found: Sequence[devices.Device]) -> str:
    """``every pair``, or the pairs whose copies go through the host."""
    blind = [f"{i}→{j}" for i, j in _pairs(len(found)) if not found[i].reaches(found[j].name)]
    return f"through the host: {' '.join(blind)}" if blind else "every pair"


def _links(kinds: Mapping[tuple[int, int], str]) -> str:
    """``56 cells over NVSwitch``."""
    count = {kind: list(kinds.values()).count(kind) for kind in dict.fromkeys(kinds.values())}
    return ", ".join(f"{number} cells over {kind}" for kind, number in count.items())
