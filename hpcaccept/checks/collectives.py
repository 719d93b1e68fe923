"""Times how fast ranks exchange data in the ways that training does, within nodes and across them, and verifies all of it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from hpcaccept.checks.shared import nccl_transport
from hpcaccept.checks.shared.exchange import (
    FACTORS,
    SOURCE,
    exchange,
    length_of,
    refusal,
    sync,
    wrong_elements,
)
from hpcaccept.measure.device import open_device
from hpcaccept.measure.ranks import collective
from hpcaccept.model.check import Check, CheckContext, Shorter, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_least, at_most
from hpcaccept.model.parameter import HOUR_S, MOST_BLOCKS, MOST_BYTES, param
from hpcaccept.parse.nccl_log import EXPECTATIONS
from hpcaccept.units import show_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.measure.device import Device

Tensor = Any

_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30
_HOST_SIZES = (4 * _KIB, _MIB)
_GPU_SIZES = (8, 4 * _KIB, _MIB, 64 * _MIB, _GIB)
#: Below it a collective costs its latency, from it on its bandwidth is asked about.
_BANDWIDTH_FROM = _MIB
_GROUPS = ("world", "node", "rail")
_LEAST_SHARE = 0.8
_FEWEST_RAILS = 3


@dataclass(frozen=True)
class Collectives(Check):
    """Latency and bandwidth of all-gather, reduce-scatter, all-to-all, broadcast and all-reduce in float32, for three kinds of groups.

    Groups: ``world``, all ranks (its all-reduce is the check ``allreduce``, and is measured here where there is no other group);
    ``node``, the ranks of each node, all nodes at the same time; ``rail``, the ranks with the same local index of all nodes, all rails at the same time, which is how
    traffic leaves a node with a network card per GPU. A group that would be another one again is left out.

    Variants: operation, group and size of the larger buffer, as in ``all_gather/node/64MiB`` or ``broadcast/rail3/1GiB``.

    How: as in ``allreduce``: the first call is dropped; in each block all ranks of all groups call back to back; a block's
    figure is that of the slowest rank of the group. Then the receiving buffers are cleared, one more call is made, and
    every rank compares every element with what each of the others must have sent to just this place.

    ``algbw`` is size / time, ``busbw`` is algbw times nccl-tests' factor: (n - 1)/n, 2·(n - 1)/n for all-reduce, 1 for
    broadcast. Numbers of ``node`` groups belong to nodes and are compared between them: latency for sizes below 1 MiB,
    bus bandwidth from there on; where ranks outnumber cores they are verified only. ``rail_share`` compares rails with each other (three or more, on GPUs), so that a slow rail
    is named in the first run of a cluster.

    What NCCL connected the ranks over is read from its log, as in ``allreduce``: ``channels``, ``fallback``.

    What it does not mean: a slow node slows every group that it is in; ``world`` and ``rail`` say that somebody is slow,
    ``node`` and ``pairs`` say who. A collective that the backend does not have is NOT_RUN with what it said. gloo shows that
    the code works, not how fast a fabric is. Multicast and reduction in the switch (NVLS, SHARP) beat what busbw can be
    on a wire. That NCCL's own errors come out as errors has been shown on no GPU yet.

    Parameters:
        sizes_bytes: of the larger buffer; empty means 8 B … 1 GiB on GPUs, 4 KiB and 1 MiB on CPUs. Rounded down so that
            each rank has the same share, a multiple of 16 bytes where it is larger than that.
        operations: which of the five.
        groups: ``world``, ``node``, ``rail``.
        blocks: timed blocks, all of them kept; 0 means 5 on GPUs and 3 on CPUs.
        block_s: seconds per block (at most 1000 calls); 0 means 0.1 on GPUs and 0.02 on CPUs.
        expect_transport: as in ``allreduce``: ``rdma``, ``gdr``, ``p2p``, ``nvls``, ``any``, or empty.
    """

    name: ClassVar = "collectives"
    revision: ClassVar = 1
    about: ClassVar = "All-gather, reduce-scatter, all-to-all, broadcast, in nodes and across, each element verified."
    needs: ClassVar = ("torch", "torch.distributed")
    scope: ClassVar = "world"
    shorter: ClassVar = (
        Shorter({"operations": ["all_reduce", "all_to_all"]}, 0.4, "all-gather, reduce-scatter and broadcast"),
    )
    metrics: ClassVar = (
        Metric(
            "latency_s", "s", "lower", "Time of one call on the slowest rank of the group.", title="collective time ({})", scope="world",
            formula="max over ranks of the median of a block's calls", source=SOURCE, required=False, headline=False,
        ),
        Metric(
            "algbw_bytes", "B/s", "higher", "Size of the larger buffer over the time of one call.", title="collective algorithm bandwidth ({})", scope="world",
            formula="size / latency_s", source=SOURCE, required=False, headline=False,
        ),
        Metric(
            "busbw_bytes", "B/s", "higher", "Bandwidth that a ring would need per rank.", title="collective bus bandwidth ({})", scope="world",
            formula="algbw · (n - 1)/n; all-reduce 2·(n - 1)/n, broadcast 1", source=SOURCE, required=False,
            headline=False,
        ),
        Metric(
            "rail_share", "share", "higher",
            "This rail over the median of the rails. Too small: look at the network card, cable and switch port of this local "
            "index on every node (check 'ib_links', 'pairs' between two nodes).", title="rail against the other rails ({})", scope="world",
            formula="median busbw_bytes of the rail / median over the rails", source=SOURCE, statistic="median", noise="ratio",
            required=False, headline=False,
            limit=at_least(_LEAST_SHARE, "share", "ours: healthy rails differ by a few percent; half a link is 0.5"),
            code=FindingCode.RAIL_SLOW,
        ),
        Metric(
            "node_latency_s", "s", "lower", "Time of one call on the slowest rank of the node.", title="collective time within the node ({})", scope="node",
            formula="max over the node's ranks of the median of a block's calls", source=SOURCE, peer_floor=0.25,
            required=False, headline=False,
        ),
        Metric(
            "node_busbw_bytes", "B/s", "higher",
            "Bandwidth that a ring within the node would need per rank. Slower than the other nodes: check 'peer_to_peer' "
            "names the pair, 'health' the links.", title="collective bus bandwidth within the node ({})", scope="node",
            formula="size / node_latency_s · (n - 1)/n; all-reduce 2·(n - 1)/n, broadcast 1", source=SOURCE,
            peer_floor=0.03, required=False, headline=False,
        ),
        Metric(
            "wrong_elements", "elements", "lower", "Elements that this rank received and that are wrong.", title="collectives, wrong results ({})",
            formula="count of received ≠ what the others' numbers must give", statistic="worst",
            limit=at_most(0, "elements", "sums of whole numbers below 2^24 are exact in float32, in any order"),
            code=FindingCode.SUM_WRONG,
        ),
        *nccl_transport.METRICS,
    )  # fmt: skip

    sizes_bytes: tuple[int, ...] = param((), at_least=1, at_most=MOST_BYTES, unit="B")
    operations: tuple[str, ...] = param(tuple(FACTORS), one_of=tuple(FACTORS), not_empty=True, variants=True)
    groups: tuple[str, ...] = param(_GROUPS, one_of=_GROUPS, not_empty=True)
    blocks: int = param(0, at_least=0, at_most=MOST_BLOCKS)
    block_s: float = param(0.0, at_least=0, at_most=HOUR_S, unit="s")
    expect_transport: str = param("", one_of=("", *EXPECTATIONS))

    def measure(self, ctx: CheckContext) -> None:
        """Each group, operation and size in turn, all ranks together; see the class."""
        if ctx.size == 1:
            raise Unavailable("The check needs at least two ranks.", "Ask for two ranks or more.")
        if ctx.size > collective.MOST_RANKS:
            raise Unavailable(f"Sums over {ctx.size} ranks would not be exact, {collective.MOST_RANKS} is the most.")
        layouts, absent = groups_of(ctx.allgather(ctx.node))
        for group in self.groups:
            if group in absent:
                ctx.unsupported(group, absent[group])
        if not set(self.groups) & set(layouts):
            raise Unavailable(
                f"There is no group to measure: {absent[self.groups[0]]}." if self.groups else "No group is asked for."
            )
        if ctx.in_turn and ctx.local_rank == 0 and "node" in layouts:
            for metric in ("node_latency_s", "node_busbw_bytes"):
                ctx.unsupported(metric, "ranks outnumber cores: it would measure the scheduler, not the node")
        device = open_device(ctx.device)
        rates: list[nccl_transport.Rate] = []
        with ctx.process_group() as backend:
            there = [group for group in self.groups if group in layouts]
            for group in there:
                team = Team.from_layout(group, layouts[group], ctx.rank)
                rates += self._measure_group(ctx, device, team, alone=len(there) == 1)
            nccl_transport.report(ctx, backend, self.expect_transport)
            nccl_transport.judge_rates(ctx, backend, rates)

    def _measure_group(
        self, ctx: CheckContext, device: Device, team: Team, *, alone: bool
    ) -> list[nccl_transport.Rate]:
        """Measure and emit a group; on rank 0 what its collectives between nodes reached."""
        rates = []
        nodes, each = nccl_transport.even_nodes(ctx.allgather(ctx.node))
        for operation in self.operations:
            if operation == "all_reduce" and team.group == "world" and not alone:
                continue  # is a check of its own
            if why := refusal(ctx, device, exchange(operation, team, device.name, len(team.ranks))):
                ctx.unsupported(f"{operation}/{team.group}", why)
                continue
            for size_bytes in self.sizes_bytes or (_GPU_SIZES if device.kind == "cuda" else _HOST_SIZES):
                reached = self._measure_size(ctx, device, team, operation, size_bytes)
                if not reached or not each or team.group == "node":
                    continue
                variant = f"{operation}/{team.group}/{show_bytes(size_bytes)}"
                rail = team.group == "rail"
                rates.append(
                    nccl_transport.Rate(variant, operation, nodes, 1 if rail else each, each if rail else 1, reached)
                )
        return rates

    def _measure_size(self, ctx: CheckContext, device: Device, team: Team, operation: str, size_bytes: int) -> float:
        """Measure and emit one size; on rank 0 its bus bandwidth, of rails their mean, elsewhere 0."""
        variant = f"{operation}/{team.name}/{show_bytes(size_bytes)}"
        ctx.beat(variant)
        length = length_of(size_bytes, len(team.ranks))
        work = exchange(operation, team, device.name, length)
        blocks, block_s = (5, 0.1) if device.kind == "cuda" else (3, 0.02)
        figures = collective.block_seconds(
            ctx, device, work.call, sync(device), work.refill, self.blocks or blocks, self.block_s or block_s
        )
        work.refill()
        work.call()
        device.synchronize()
        ctx.emit("wrong_elements", wrong_elements(work), variant)
        seconds = {name: collective.slowest(figures, ranks) for name, ranks in team.all_named().items()}
        bandwidth = size_bytes >= _BANDWIDTH_FROM
        moved = {name: length * collective.ITEM_BYTES * FACTORS[operation](len(team.ranks)) for name in seconds}
        if team.group == "node":
            _emit_node(ctx, variant, seconds[team.name], moved[team.name] if bandwidth else 0.0)
        elif ctx.rank == 0:
            size = show_bytes(size_bytes)
            for name, figure in seconds.items():
                _emit_world(ctx, f"{operation}/{name}/{size}", figure, length * collective.ITEM_BYTES, moved[name])
            if team.group == "rail" and bandwidth and device.kind == "cuda" and len(seconds) >= _FEWEST_RAILS:
                for name, share in shares(seconds).items():
                    ctx.emit("rail_share", share, f"{operation}/{name}/{size}")
            return statistics.fmean(moved[name] / statistics.median(figure) for name, figure in seconds.items())
        return 0.0


# --- groups -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Team:
    """The group of this rank, among groups of the same kind that exchange at the same time.

    Attributes:
        group: ``world``, ``node``, ``rail``.
        teams: ranks of each of them.
        index: which of them is this rank's.
        place: of this rank in it.
        handle: torch's group, None for the world.
    """

    group: str
    teams: tuple[tuple[int, ...], ...]
    index: int
    place: int
    handle: Any = None

    @classmethod
    def from_layout(cls, group: str, teams: tuple[tuple[int, ...], ...], rank: int) -> Team:
        """This rank's team; opens it, together with its other members."""
        import torch.distributed as dist

        index = next(number for number, ranks in enumerate(teams) if rank in ranks)
        # Only members meet: with a group per node, letting everyone take part in all would grow with the square.
        handle = None if group == "world" else dist.new_group(list(teams[index]), use_local_synchronization=True)
        return cls(group, teams, index, teams[index].index(rank), handle)

    @property
    def ranks(self) -> tuple[int, ...]:
        """Members of this rank's team, in order."""
        return self.teams[self.index]

    @property
    def name(self) -> str:
        """``rail3``; of the others there is one name for all."""
        return f"rail{self.index}" if self.group == "rail" else self.group

    def all_named(self) -> dict[str, tuple[int, ...]]:
        """The teams that one rank may speak of: its own node, or all rails."""
        if self.group == "rail":
            return {f"rail{index}": ranks for index, ranks in enumerate(self.teams)}
        return {self.name: self.ranks}


def groups_of(nodes: Sequence[str]) -> tuple[dict[str, tuple[tuple[int, ...], ...]], dict[str, str]]:
    """Kind of group → ranks of each such group, and the kinds that there are not, with the reason.

    Args:
        nodes: of each rank.
    """
    by_node: dict[str, list[int]] = {}
    for rank, node in enumerate(nodes):
        by_node.setdefault(node, []).append(rank)
    found: dict[str, tuple[tuple[int, ...], ...]] = {}
    absent: dict[str, str] = {}
    sizes = {len(ranks) for ranks in by_node.values()}
    if len(by_node) > 1:
        found["world"] = (tuple(range(len(nodes))),)
    else:
        absent["world"] = absent["rail"] = "all ranks are on one node: its group is 'node'"
    if len(sizes) > 1:
        absent["node"] = absent["rail"] = f"nodes have unlike numbers of ranks: {min(sizes)} to {max(sizes)}"
    elif sizes == {1}:
        absent["node"] = absent["rail"] = "there is one rank on each node: its group is 'world'"
    else:
        found["node"] = tuple(tuple(ranks) for ranks in by_node.values())
        if len(by_node) > 1:
            found["rail"] = tuple(zip(*by_node.values(), strict=True))
    return found, absent


# --- figures ----------------------------------------------------------------------------------------------------------


def shares(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Each team's rate over the median of the teams'. All of them move the same bytes."""
    rates = {name: 1 / statistics.median(figures) for name, figures in seconds.items()}
    middle = statistics.median(rates.values())
    return {name: rate / middle for name, rate in rates.items()}


def _emit_world(ctx: CheckContext, variant: str, seconds: list[float], size_bytes: int, moved_bytes: float) -> None:
    for repeat, latency_s in enumerate(seconds):
        ctx.emit("latency_s", latency_s, variant, repeat)
        ctx.emit("algbw_bytes", size_bytes / latency_s, variant, repeat)
        ctx.emit("busbw_bytes", moved_bytes / latency_s, variant, repeat)


def _emit_node(ctx: CheckContext, variant: str, seconds: list[float], moved_bytes: float) -> None:
    """By the first rank of the node; latency or, where bytes are what is asked about, bandwidth."""
    if ctx.local_rank or ctx.in_turn:
        return
    for repeat, latency_s in enumerate(seconds):
        if moved_bytes:
            ctx.emit("node_busbw_bytes", moved_bytes / latency_s, variant, repeat)
        else:
            ctx.emit("node_latency_s", latency_s, variant, repeat)
