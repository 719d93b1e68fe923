"""Finds the group of nodes that is slower than others of its size, between two nodes and all of them."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from hpcaccept.checks.shared import nccl_transport
from hpcaccept.checks.shared.exchange import FACTORS, SOURCE, Exchange, exchange, length_of, sync, wrong_elements
from hpcaccept.measure.device import open_device
from hpcaccept.measure.ranks import collective
from hpcaccept.model.check import Check, CheckContext, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_least, at_most
from hpcaccept.model.parameter import HOUR_S, MOST_BLOCKS, MOST_BYTES, param
from hpcaccept.parse.slurm.topology import own_leaf
from hpcaccept.units import show, show_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hpcaccept.measure.device import Device

_MIB, _GIB = 1 << 20, 1 << 30
_KINDS = ("leaf", "doubling")
_SHARE = at_least(0.8, "share", "ours: healthy groups of one size differ by a few percent, a lost uplink of two is 0.5")
_CARDS = at_least(
    0.3, "share", "ours, provisional: half of the lowest that is published for a healthy cluster (65 % at 16 GB)"
)
#: Where ranks outnumber cores, the scheduler may keep a group waiting for as long as its transfers take: only what is slower still is judged.
_CROWDED = 0.3
#: A group below the limit is measured again, beside all others, so often.
_AGAIN = 3
#: From this size on a collective is bound by what leaves a node.
_BOUND_FROM = 64 * _MIB
#: Nodes of a group that its name can hold.
_NAMED = 4


@dataclass(frozen=True)
class GroupCollectives(Check):
    """All-reduce (or another collective) in groups of nodes, all groups of a size at once: what a pair hides and all nodes together blur.

    Groups: ``leaf``, the nodes of each leaf switch or block, where the topology is known; ``doubling``, groups of 2, 4, 8 … nodes, fewer
    than all, next to each other in the order of leaves and ranks. Nodes that are left over sit a size out. All ranks of a node belong to
    its group.

    Each size is a level of its own: a group is compared with the other groups of its level, which run at the same time, and with nothing
    else. ``group_share`` is its rate over the median of the others; of a level the slowest group is shown, and every one below the limit.
    A suspect is measured up to three times more, beside all others, and its best rate counts. Of slow groups that contain each other the
    smallest is named: a fault of one node or link slows all groups that it is in, and no others.

    The topology comes from Slurm, which tells each task its switch or block (SLURM_TOPOLOGY_ADDR), or from ``leaves``.

    ``cards_share`` holds the slowest and the fastest group of a level against what the network cards of its nodes can carry, which does not
    depend on other groups: all of them may be slow. Above 1 the record is an ERROR, as in ``allreduce``.

    What it does not mean: ``pairs`` names a node or link; here a group that is slow although all its pairs are fast speaks of what they
    share: a leaf's uplinks, a rail's spine, routes that collide. All nodes together are ``allreduce``; rails over all nodes ``collectives``.
    hpcaccept isolate narrows a slow group down. Where ranks outnumber cores (virtual nodes of one machine) the scheduler decides with them: there only a group that has lost more than 70 % is judged.

    Parameters:
        groups: ``leaf``, ``doubling``.
        operation: which collective.
        size_bytes: of the larger buffer; 0 means 1 GiB on GPUs and 1 MiB on CPUs.
        blocks: timed blocks of a level, the best of which counts.
        block_s: seconds per block; 0 means 0.1 on GPUs and 0.03 on CPUs.
        leaves: lists of nodes, one for each leaf: ``["node[01-16]", "node[17-32]"]``; empty: what Slurm says.
    """

    name: ClassVar = "group_collectives"
    revision: ClassVar = 1
    about: ClassVar = "A collective in groups of 2, 4, 8 … nodes and of each leaf, all at once: the slow group by name."
    needs: ClassVar = ("torch", "torch.distributed")
    scope: ClassVar = "world"
    isolated_by: ClassVar = "allreduce"
    metrics: ClassVar = (
        Metric(
            "busbw_bytes", "B/s", "higher", "Bus bandwidth of a group of this size, the median of the groups.",
            title="bus bandwidth in groups ({})", scope="world",
            formula="algbw · (n - 1)/n; all-reduce 2·(n - 1)/n, broadcast 1; n ranks of a group", source=SOURCE,
        ),
        Metric(
            "group_share", "share", "higher",
            "The slowest group of a size against the others of that size. Too small: what its nodes share is slow, or one of them; "
            "hpcaccept isolate narrows it down.", title="slowest group against its like ({})", scope="world",
            formula="rate of the group / median rate of the other groups of its size", statistic="median", noise="ratio",
            required=False, limit=_SHARE, code=FindingCode.GROUP_SLOW,
        ),
        Metric(
            "wrong_elements", "elements", "lower", "Elements that this rank received and that are wrong.",
            title="collectives in groups, wrong results ({})", formula="count of received ≠ what the others' numbers must give",
            statistic="worst", required=False, code=FindingCode.SUM_WRONG,
            limit=at_most(0, "elements", "sums of whole numbers below 2^24 are exact in float32, in any order"),
        ),
        *nccl_transport.METRICS[:-1],
        replace(
            nccl_transport.METRICS[-1], direction="higher", statistic="median", noise="ratio", limit=_CARDS,
            code=FindingCode.CARDS_UNUSED,
            help="Bus bandwidth of the slowest or fastest group of a size over the most that the RDMA cards of its nodes can carry. Low in "
            "all groups: look at cards that are not used (NCCL_IB_HCA, GPUDirect), host configuration ('gpudirect') and rates ('ib_links').",
        ),
    )  # fmt: skip

    groups: tuple[str, ...] = param(_KINDS, one_of=_KINDS, not_empty=True)
    operation: str = param("all_reduce", one_of=tuple(FACTORS))
    size_bytes: int = param(0, at_least=0, at_most=MOST_BYTES, unit="B")
    blocks: int = param(3, at_least=1, at_most=MOST_BLOCKS)
    block_s: float = param(0.0, at_least=0, at_most=HOUR_S, unit="s")
    leaves: tuple[str, ...] = param((), matching=r"[\w.,\[\]-]{1,100000}")

    def measure(self, ctx: CheckContext) -> None:
        """Each level in turn; see the class.

        Raises:
            Unavailable: no group of two nodes that is not all of them, or nodes with unlike numbers of ranks.
        """
        if ctx.size > collective.MOST_RANKS:
            raise Unavailable(f"Sums over {ctx.size} ranks would not be exact, {collective.MOST_RANKS} is the most.")
        leaf_of = _leaf_of(ctx, self.leaves)
        levels, absent = levels_of(ctx.allgather(ctx.node), leaf_of, self.groups)
        if ctx.rank == 0:
            for kind, why in absent.items():
                ctx.unsupported(kind, why)
        if not levels:
            raise Unavailable(
                f"There is no group to measure: {'; '.join(absent.values())}.", "Ask for three nodes or more."
            )
        device = open_device(ctx.device)
        least = _CROWDED if any(ctx.allgather(ctx.in_turn)) else _SHARE.lower or 0.0
        slow: list[Group] = []
        rates: list[nccl_transport.Rate] = []
        with ctx.process_group() as backend:
            for level in levels:
                found, of_cards = self._level(ctx, device, level, least)
                slow += found
                rates += of_cards
            if ctx.rank == 0:
                ctx.fact("group_share", told(slow))
            nccl_transport.report(ctx, backend, "")
            nccl_transport.judge_rates(ctx, backend, rates)

    def _level(
        self, ctx: CheckContext, device: Device, level: Level, least: float
    ) -> tuple[list[Group], list[nccl_transport.Rate]]:
        """Measure and emit a level; on rank 0 the slow groups, and what the cards are held against."""
        size_bytes = self.size_bytes or (_GIB if device.kind == "cuda" else _MIB)
        variant = f"{level.name}/{self.operation}/{show_bytes(size_bytes)}"
        team = Team.of(level, ctx.rank)
        ranks = len(level.groups[0].ranks)
        length = length_of(size_bytes, ranks)
        work = exchange(self.operation, team, device.name, length) if team else None
        moved = length * collective.ITEM_BYTES * FACTORS[self.operation](ranks)
        best: list[float] = []
        for attempt in range(1 + _AGAIN):
            ctx.beat(f"{variant}, attempt {attempt + 1}")
            figures = self._figures(ctx, device, work)
            seconds = [collective.slowest(figures, group.ranks) for group in level.groups]
            if ctx.rank == 0 and attempt == 0:
                for repeat, block in enumerate(zip(*seconds, strict=True)):
                    ctx.emit("busbw_bytes", moved / statistics.median(block), variant, repeat)
            rate = [moved / min(blocks) for blocks in seconds]
            best = [max(pair) for pair in zip(rate, best or rate, strict=True)]
            if min(shares(best)) >= least:  # the same on every rank, as the figures are
                break
        if work:
            self._verify(ctx, device, work, variant)
        if ctx.rank:
            return [], []
        ctx.fact(f"groups[{level.name}]", _listed(level, best))
        cards = []
        if size_bytes >= _BOUND_FROM:
            cards = [
                _card_rate(self.operation, level, name, rate, variant)
                for name, rate in (("slowest", min(best)), ("fastest", max(best)))
            ]
        return _emit_shares(ctx, level, best, variant, least), cards

    def _figures(self, ctx: CheckContext, device: Device, work: Exchange | None) -> list[list[float]]:
        """Seconds of a call on each rank in each block; a rank that sits out waits."""
        call, refill = (work.call, work.refill) if work else (_nothing, _nothing)
        block_s = self.block_s or (0.1 if device.kind == "cuda" else 0.03)
        return collective.block_seconds(ctx, device, call, sync(device), refill, self.blocks, block_s)

    def _verify(self, ctx: CheckContext, device: Device, work: Exchange, variant: str) -> None:
        work.refill()
        work.call()
        device.synchronize()
        ctx.emit("wrong_elements", wrong_elements(work), variant)


def _nothing() -> None:
    """What a rank does that sits a level out."""


# --- groups -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """Nodes that exchange with each other.

    Attributes:
        leaf: that they hang on, where that is why they are a group; else empty.
        nodes: their names.
        ranks: of all of them, in order.
    """

    leaf: str
    nodes: tuple[str, ...]
    ranks: tuple[int, ...]

    @property
    def name(self) -> str:
        """Short, without brackets; no other group of its level has it."""
        return self.leaf or (
            ", ".join(self.nodes) if len(self.nodes) <= _NAMED else f"{self.nodes[0]} … {self.nodes[-1]}"
        )

    def __str__(self) -> str:
        """Every node, as Slurm writes them."""
        from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet

        folded = str(NodeSet.fromlist(list(self.nodes), resolver=RESOLVER_NOGROUP))
        return f"{self.leaf} ({folded})" if self.leaf else folded


@dataclass(frozen=True)
class Level:
    """Groups of one size, no two of which share a node.

    Attributes:
        name: ``4 nodes``, ``leaves of 4 nodes``.
        nodes: of each group.
        groups: of them.
    """

    name: str
    nodes: int
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Team:
    """The group of this rank.

    Attributes:
        ranks: all of them, in order.
        place: of this rank among them.
        handle: torch's group.
    """

    ranks: tuple[int, ...]
    place: int
    handle: Any

    @classmethod
    def of(cls, level: Level, rank: int) -> Team | None:
        """This rank's team, opened together with its other members; None for a rank that sits out."""
        import torch.distributed as dist

        ranks = next((group.ranks for group in level.groups if rank in group.ranks), ())
        # Only members meet, so that groups do not wait for each other.
        return (
            cls(ranks, ranks.index(rank), dist.new_group(list(ranks), use_local_synchronization=True))
            if ranks
            else None
        )


def levels_of(
    nodes: Sequence[str], leaf_of: Mapping[str, str], kinds: Iterable[str] = _KINDS
) -> tuple[list[Level], dict[str, str]]:
    """The levels in the order in which they are measured, and the kinds that there are not, with the reason.

    Args:
        nodes: of each rank.
        leaf_of: node → its leaf, where that is known.
        kinds: that are asked for.

    Raises:
        Unavailable: nodes have unlike numbers of ranks.
    """
    ranks: dict[str, list[int]] = {}
    for rank, node in enumerate(nodes):
        ranks.setdefault(node, []).append(rank)
    if len({len(mine) for mine in ranks.values()}) > 1:
        raise Unavailable(
            "Nodes have unlike numbers of ranks: their groups cannot be compared.", "Ask for whole nodes."
        )
    leaves: dict[str, list[str]] = {}
    for node in ranks:
        leaves.setdefault(leaf_of.get(node, ""), []).append(node)
    found: list[Level] = []
    absent: dict[str, str] = {}
    if "leaf" in kinds:
        found += _leaf_levels({leaf: mine for leaf, mine in leaves.items() if leaf}, ranks)
        if not found:
            absent["leaf"] = _no_leaves(leaf_of, leaves)
    if "doubling" in kinds:
        ordered = [node for mine in leaves.values() for node in mine]
        same = [_as_sets(level) for level in found]
        doubling = [level for level in _doubling(ordered, ranks) if _as_sets(level) not in same]
        found += doubling
        if not doubling:
            absent["doubling"] = (
                "two nodes have no group but themselves" if len(ordered) < 3 else "its groups are the leaves"
            )
    return sorted(found, key=lambda level: level.nodes), absent


def _as_sets(level: Level) -> set[frozenset[int]]:
    return {frozenset(group.ranks) for group in level.groups}


def _no_leaves(leaf_of: Mapping[str, str], leaves: Mapping[str, Sequence[str]]) -> str:
    if not leaf_of:
        return "the topology is not known: Slurm says nothing of it, and the suite has no leaves"
    return "all nodes are on one leaf" if len(leaves) == 1 else "no two of the nodes are on one leaf"


def _leaf_levels(leaves: Mapping[str, Sequence[str]], ranks: Mapping[str, list[int]]) -> list[Level]:
    """Leaves with as many nodes are compared with each other; one with a single node, or with all of them, is no group."""
    levels = []
    for size in sorted({len(mine) for mine in leaves.values()}):
        groups = tuple(_group(mine, ranks, leaf) for leaf, mine in leaves.items() if len(mine) == size)
        if 1 < size < len(ranks):
            levels.append(Level(f"leaves of {size} nodes", size, groups))
    return levels


def _doubling(ordered: Sequence[str], ranks: Mapping[str, list[int]]) -> Iterable[Level]:
    size = 2
    while size < len(ordered):
        starts = range(0, len(ordered) - size + 1, size)
        yield Level(f"{size} nodes", size, tuple(_group(ordered[k : k + size], ranks) for k in starts))
        size *= 2


def _group(nodes: Sequence[str], ranks: Mapping[str, list[int]], leaf: str = "") -> Group:
    return Group(leaf, tuple(nodes), tuple(sorted(rank for node in nodes for rank in ranks[node])))


def _leaf_of(ctx: CheckContext, leaves: Sequence[str]) -> dict[str, str]:
    """Node → leaf, as the suite says or else Slurm."""
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet

    mine = own_leaf(os.environ)
    if leaves:
        on = (number for number, folded in enumerate(leaves) if ctx.node in NodeSet(folded, resolver=RESOLVER_NOGROUP))
        mine = next((f"leaf {number + 1}" for number in on), "")
    return {node: leaf for node, leaf in ctx.allgather((ctx.node, mine)) if leaf}


# --- figures ----------------------------------------------------------------------------------------------------------


def shares(rates: Sequence[float]) -> list[float]:
    """Each group's rate over the median of the others; 1 for a group without others."""
    return [
        rate / statistics.median(others) if (others := [*rates[:place], *rates[place + 1 :]]) else 1.0
        for place, rate in enumerate(rates)
    ]


def smallest(groups: Iterable[Group]) -> list[Group]:
    """Those that contain no other of them."""
    found = list(groups)
    return [group for group in found if not any(set(other.ranks) < set(group.ranks) for other in found)]


def told(slow: Sequence[Group]) -> str:
    """Which of the slow groups are to be looked at."""
    if not slow:
        return "no group is slow beside its like"
    named = "; ".join(dict.fromkeys(map(str, smallest(slow)[:8])))
    return f"smallest slow groups: {named}; {len(slow)} groups are slow, and each of the others contains one of these"


def _emit_shares(ctx: CheckContext, level: Level, rates: Sequence[float], variant: str, least: float) -> list[Group]:
    """Emit the slowest group, and every other one that misses the limit; those that do."""
    if len(rates) < 2:
        ctx.unsupported(f"group_share[{variant}]", f"{level.groups[0]} is the only group of {level.name}")
        return []
    ranked = sorted(zip(shares(rates), level.groups, strict=True), key=lambda each: each[0])
    slow = [each for each in ranked if each[0] < least]
    if not slow and not _SHARE.met_by(ranked[0][0]):
        share, group = ranked[0]
        ctx.unsupported(
            f"group_share[{variant}]",
            f"ranks outnumber cores: that {group} reaches {share:.0%} of the others may be the scheduler's doing",
        )
        return []
    for share, group in slow or ranked[:1]:
        ctx.emit("group_share", share, f"{variant}/{group.name}")
    return [group for _, group in slow]


def _listed(level: Level, rates: Sequence[float]) -> str:
    ranked = sorted(zip(rates, level.groups, strict=True), key=lambda each: each[0])
    more = f", and {len(ranked) - 8} faster ones" if len(ranked) > 8 else ""
    return ", ".join(f"{group} {show(rate, 'B/s')}" for rate, group in ranked[:8]) + more


def _card_rate(operation: str, level: Level, which: str, rate: float, variant: str) -> nccl_transport.Rate:
    each = len(level.groups[0].ranks) // level.nodes
    return nccl_transport.Rate(f"{variant}/{which}", operation, level.nodes, each, 1, rate)
