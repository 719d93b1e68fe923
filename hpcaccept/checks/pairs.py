"""Times the links between nodes, two at a time, and finds the slow link or node."""

from __future__ import annotations

import hashlib
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from hpcaccept.measure.device import open_device
from hpcaccept.measure.kernels import pattern
from hpcaccept.measure.ranks import collective
from hpcaccept.model.check import Check, CheckContext, Shorter, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_least, at_most
from hpcaccept.model.parameter import HOUR_S, MOST_BLOCKS, MOST_BYTES, param

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hpcaccept.measure.device import Device

    Tensor = Any

_MIB = 1 << 20
_WORD_BYTES = 8
#: With fewer partners a node's median is no witness: of two links one cannot say which is slow.
_WITNESSES = 3
_LINK = at_least(0.5, "share", "ours, provisional: ends that are fast elsewhere keep more than half together")


@dataclass(frozen=True)
class Pairs(Check):
    """Every node exchanges data with other nodes, one at a time, all pairs of a round at once.

    How: a round-robin tournament (the circle method) in an order that is drawn from the names of the nodes: in each round
    every node has one partner and no node idles (one does where their number is odd), and nodes of one rack, which may share
    a fault, rarely meet. The ranks of a pair with the same index within their node, the *rails*, exchange at
    the same time: both send and receive ``size_bytes`` over NCCL (gloo on CPUs). The first exchange of a round is
    dropped: it opens the connection. Then ``blocks`` blocks, each as long as ``block_s`` on the slowest pair; the time
    of an exchange is that of its slower end, and the best block counts. One more exchange is verified word by word.

    ``exchange_bytes[node3]`` is what this rank and its partner on node3 sent each other, per direction. From the matrix
    follow two answers that are kept apart:

    * ``node_bytes``, the median over a rank's partners, is compared with that of its peers: a slow **node** (its port,
      its adapter) is slow with everybody.
    * ``link_share``, an exchange over what the slower of its two ends reaches with its median partner: a slow **link**
      (a cable, a route) is slow although both its ends are fast elsewhere. It is named by both ends, and neither node is
      blamed for it. It needs at least three partners per node.

    What it does not mean: a pair alone does not load the core of the fabric; what only fails when all talk to all is
    for ``collectives``. Between virtual nodes on one kernel it measures memory copies and the scheduler.

    Parameters:
        size_bytes: sent by each end in one exchange; 0 means 64 MiB on GPUs and 1 MiB on CPUs.
        rounds: most rounds; a node meets as many partners. 0 means all, but 15 at most.
        blocks: timed blocks of a round.
        block_s: seconds per block on the slowest pair; 0 means 0.05 on GPUs and 0.02 on CPUs.
    """

    name: ClassVar = "pairs"
    revision: ClassVar = 1
    about: ClassVar = "Exchange between nodes two at a time: the slow node, or the slow link, by name."
    needs: ClassVar = ("torch", "torch.distributed")
    scope: ClassVar = "world"
    shorter: ClassVar = (Shorter({"rounds": 4}, 4 / 15, "links to more than four partners of each node"),)
    metrics: ClassVar = (
        Metric(
            "node_bytes", "B/s", "higher", "What a rank and its partners exchange, per direction: the median partner. "
            "Low with everybody: look at the node's port ('ibstat', 'ethtool'), its PCIe link and its routes.", title="exchange with other nodes",
            formula="median over partners of exchange_bytes", peer_floor=0.02,
        ),
        Metric(
            "exchange_bytes", "B/s", "higher", "What a rank and one partner exchange, per direction.", title="exchange with {}",
            formula="size / seconds of the slower end, the best block", headline=False, cells="partner",
        ),
        Metric(
            "link_share", "share", "higher", "The slowest link, relative to what both its ends reach elsewhere. "
            "Low: swap the cable or look at the route between these two; both nodes are fast with others.", title="slowest link against its ends ({})",
            formula="exchange_bytes / smaller of the two ends' node_bytes", scope="world", statistic="median", noise="ratio",
            limit=_LINK, required=False, code=FindingCode.LINK_SLOW,
        ),
        Metric(
            "wrong_words", "words", "lower", "64-bit words that did not arrive as they were sent.", title="exchange, wrong words ({})",
            formula="count of received ≠ sent", statistic="worst",
            limit=at_most(0, "words", "a link delivers what was sent or reports an error"), cells="partner", code=FindingCode.COPY_WRONG,
        ),
    )  # fmt: skip

    size_bytes: int = param(0, at_least=0, at_most=MOST_BYTES, unit="B")
    rounds: int = param(0, at_least=0, at_most=MOST_BLOCKS)
    blocks: int = param(3, at_least=1, at_most=MOST_BLOCKS)
    block_s: float = param(0.0, at_least=0, at_most=HOUR_S, unit="s")

    def measure(self, ctx: CheckContext) -> None:
        """All rounds; see the class."""
        nodes = _nodes(ctx)
        everyone = ctx.allgather(ctx.node)
        names = [everyone[ranks[0]] for ranks in nodes]
        device = open_device(ctx.device)
        on_gpu = device.kind == "cuda"
        words = max(1, (self.size_bytes or (64 * _MIB if on_gpu else _MIB)) // _WORD_BYTES)
        block_s = self.block_s or (0.05 if on_gpu else 0.02)
        mine = next(index for index, ranks in enumerate(nodes) if ctx.rank in ranks)
        rail = nodes[mine].index(ctx.rank)
        times: dict[int, float] = {}
        with ctx.process_group() as backend:
            ctx.fact("backend", backend)
            exchange = _Exchange(device, ctx.rank, words)
            for number, partners in enumerate(drawn_tournament(names, self.rounds)):
                ctx.beat(f"round {number + 1}")
                partner = partners[mine]
                peer = None if partner is None else nodes[partner][rail]
                seconds, wrong = self._round(ctx, device, exchange, peer, block_s)
                if partner is not None:
                    times[partner] = seconds
                    ctx.emit("wrong_words", wrong, names[partner])
        _conclude(ctx, nodes, names, words * _WORD_BYTES, times)

    def _round(
        self, ctx: CheckContext, device: Device, exchange: _Exchange, peer: int | None, block_s: float
    ) -> tuple[float, int]:
        """Seconds of the best block's exchange on this end, and words that came wrong; a rank that sits out waits."""
        call = exchange.with_rank(peer)
        # An exchange more puts the ends in step; its content stays, so that there is nothing to refill.
        figures = collective.block_seconds(ctx, device, call, call, lambda: None, self.blocks, block_s)
        return min(figures[ctx.rank]), 0 if peer is None else exchange.wrong_words(peer)


def _conclude(
    ctx: CheckContext, nodes: list[list[int]], names: list[str], size_bytes: int, times: dict[int, float]
) -> None:
    """From every end's times to rates of ends, nodes and links."""
    # As text: what is gathered over MPI keeps its meaning whatever carries it.
    table = ctx.allgather({str(partner): seconds for partner, seconds in times.items()})
    matrix = {
        (node, rail): {
            int(partner): size_bytes / max(seconds, table[nodes[int(partner)][rail]][str(node)])
            for partner, seconds in table[rank].items()
        }
        for node, ranks in enumerate(nodes)
        for rail, rank in enumerate(ranks)
    }
    row = next(matrix[node, ranks.index(ctx.rank)] for node, ranks in enumerate(nodes) if ctx.rank in ranks)
    for partner, rate in sorted(row.items()):
        ctx.emit("exchange_bytes", rate, names[partner])
    ctx.emit("node_bytes", statistics.median(row.values()))
    if ctx.rank == 0:
        _emit_links(ctx, matrix, names)


def _emit_links(ctx: CheckContext, matrix: dict[tuple[int, int], dict[int, float]], names: list[str]) -> None:
    """The worst link, and every other one that misses the limit."""
    if min(len(row) for row in matrix.values()) < _WITNESSES:
        ctx.unsupported("link_share", f"a node needs {_WITNESSES} partners to tell a slow link from a slow node")
        return
    shares = sorted(link_shares(matrix))
    several = any(rail for _, rail in matrix)
    for share, (first, second, rail) in [entry for entry in shares if not _LINK.met_by(entry[0])] or shares[:1]:
        ctx.emit("link_share", share, f"{names[first]} – {names[second]}" + (f", rail {rail}" if several else ""))


class _Exchange:
    """Both ends' buffers, and the call that swaps them."""

    def __init__(self, device: Device, rank: int, words: int) -> None:
        import torch

        self._device = device
        self._out = torch.empty(words, dtype=torch.int64, device=device.name)
        self._in = torch.zeros(words, dtype=torch.int64, device=device.name)
        pattern.fill(self._out, pattern.words(rank, device.name))

    def with_rank(self, peer: int | None) -> Callable[[], object]:
        """One exchange with a rank, to its end; nothing for a rank that sits out."""
        import torch.distributed as dist

        if peer is None:
            return lambda: None
        # Receive first: gloo's "ready to receive" would queue behind our own data, and the two ways would take turns.
        operations = [dist.P2POp(dist.irecv, self._in, peer), dist.P2POp(dist.isend, self._out, peer)]

        def call() -> None:
            for work in dist.batch_isend_irecv(operations):
                work.wait()

        return call

    def wrong_words(self, peer: int) -> int:
        """Exchange once more, into a buffer that held something else, and compare every word."""
        self._in.zero_()
        self.with_rank(peer)()
        self._device.synchronize()
        return pattern.wrong_elements(self._in, pattern.words(peer, self._device.name))


def drawn_tournament(names: list[str], rounds: int = 0) -> Iterator[list[int | None]]:
    """``tournament`` in an order that looks random and follows from the names alone: every rank finds the same one.

    In their own order, the few rounds of a large run would let neighbours meet neighbours: a rack behind one bad uplink
    would be the median partner of a healthy node.

    Args:
        names: of the nodes.
        rounds: as for ``tournament``.
    """
    everyone = "\n".join(names)

    def drawn(node: int) -> bytes:
        return hashlib.sha256(f"{everyone}\n{node}".encode()).digest()

    order = sorted(range(len(names)), key=drawn)
    seat = {node: number for number, node in enumerate(order)}
    for partners in tournament(len(names), rounds):
        met = (partners[seat[node]] for node in range(len(names)))
        yield [None if partner is None else order[partner] for partner in met]


def tournament(nodes: int, rounds: int = 0) -> Iterator[list[int | None]]:
    """The partner of each node, round by round: in all n - 1 rounds (n where n is odd) every pair meets once.

    The circle method: https://en.wikipedia.org/wiki/Round-robin_tournament#Circle_method

    Args:
        nodes: how many.
        rounds: at most so many; 0 means all, but 15 at most.
    """
    circle = nodes - 1 if nodes % 2 == 0 else nodes
    for number in range(min(circle, rounds or 15)):
        partners: list[int | None] = [(2 * number - node) % circle for node in range(circle)]
        # The one who would meet itself meets the node outside of the circle, or sits out where there is none.
        partners[number] = nodes - 1 if nodes % 2 == 0 else None
        yield partners + ([number] if nodes % 2 == 0 else [])


def link_shares(matrix: dict[tuple[int, int], dict[int, float]]) -> Iterator[tuple[float, tuple[int, int, int]]]:
    """Each link's rate over what the slower of its ends reaches with its median partner.

    Args:
        matrix: (node, rail) → partner → B/s, the same from both ends.

    Yields:
        The share, and the link: both nodes and the rail.
    """
    medians = {place: statistics.median(row.values()) for place, row in matrix.items()}
    for (node, rail), row in matrix.items():
        for partner, rate in row.items():
            if node < partner:
                yield rate / min(medians[node, rail], medians[partner, rail]), (node, partner, rail)


def _nodes(ctx: CheckContext) -> list[list[int]]:
    """The ranks of each node, nodes in the order of their first ranks.

    Raises:
        Unavailable: one node alone, or nodes with unlike numbers of ranks.
    """
    found = {tuple(ranks) for ranks in ctx.allgather(list(ctx.node_ranks))}
    nodes = sorted([list(ranks) for ranks in found])
    if len(nodes) < 2:
        raise Unavailable("One node alone has no links to other nodes.", "Ask for two nodes or more.")
    if len({len(ranks) for ranks in nodes}) > 1:
        raise Unavailable("Nodes have unlike numbers of ranks: their rails cannot be paired.", "Ask for whole nodes.")
    return nodes
