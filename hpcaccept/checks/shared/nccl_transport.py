"""Finds the transport over which the ranks talk, and compares it with the expected one. Shared by the checks of collectives; not a check itself.

RDMA that is there and not used costs a factor of 100 and is no error to NCCL: it logs a line and goes on over TCP
(NVIDIA/aicr#2683: about 3 instead of 489 GB/s). So the log of every rank is read, and what was chosen is compared with what
the node has.

And beside the log stands the rate itself: what leaves a node leaves it through its cards, so a bus bandwidth above what they can carry
did not take the path that the log, or whoever set the run up, says (a published table has a run at 239 % of it).
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.errors import NotUnderstood, ToolError
from hpcaccept.measure.device import open_device
from hpcaccept.measure.host import infiniband
from hpcaccept.measure.ranks.nic_cut import TOLERANCE, ceiling
from hpcaccept.measure.ranks.process_group import nccl_log
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.parse.nccl_log import nothing_to_judge, parse_nccl_log, shortfall
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hpcaccept.model.check import CheckContext

METRICS = (
    Metric(
        "channels", "channels", "exact",
        "Channels that NCCL opened on this rank over each transport (gloo and MPI: their peers), as far as it logged them.",
        title="channels over {}",
        formula="lines 'Channel … via …' in NCCL's log of this rank",
        source="https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html#nccl-debug", headline=False,
    ),
    Metric(
        "fallback", "fall-backs", "lower",
        "This rank uses a slower transport than the node has; the facts 'transport' and 'fallback' say which and why. RDMA: is "
        "/dev/infiniband in the image, are libibverbs and the network's plugin, do 'ibv_devinfo' and the memlock limit allow it? "
        "P2P and NVLS: 'nvidia-smi topo -m', the fabric manager, IOMMU and ACS.", title="transport slower than the node has ({})",
        formula="1 where NCCL's log falls short of the expectation named by the variant, else 0",
        source="https://github.com/NVIDIA/aicr/issues/2683", statistic="worst", required=False, headline=False,
        limit=at_most(0, "fall-backs", "what the node has is to be used"), code=FindingCode.TRANSPORT_FALLBACK,
    ),
    Metric(
        "cards_share", "share", "exact",
        "Bus bandwidth over the most that the RDMA cards of the nodes can carry; comparable between numbers of nodes, which bus bandwidth "
        "is not. Above 1 the ranks are connected over something else, and the record is an ERROR.",
        title="share of what the network cards carry ({})",
        formula="median busbw_bytes / ceiling: all-reduce, all-gather, reduce-scatter B · ((R-1)/R) / ((n-1)/n), all-to-all that / g, "
        "broadcast B; n nodes of g ranks, R = n · g, B rate of a node's active ports",
        source="hpcaccept/measure/ranks/nic_cut.py", scope="world", required=False, headline=False,
    ),
)  # fmt: skip

#: Settings with which somebody chose TCP.
_ASKED_FOR_TCP = {"NCCL_IB_DISABLE": ("1", "true", "yes"), "NCCL_NET": ("socket",)}


@dataclass(frozen=True)
class Rate:
    """What a collective between nodes reached.

    Attributes:
        variant: of its metric.
        operation: a name that ``nic_cut`` knows.
        nodes: that its group spans.
        ranks_per_node: of its group.
        sharing: groups that use the cards of a node at the same time.
        busbw_bytes: B/s; of groups that share cards, their mean.
    """

    variant: str
    operation: str
    nodes: int
    ranks_per_node: int
    sharing: int
    busbw_bytes: float


def report(ctx: CheckContext, backend: str, wish: str) -> None:
    """Record what this rank's connections use, and emit ``channels`` and ``fallback``. All ranks together.

    A log that is not understood leaves ``channels`` out, which makes the record an ERROR; its text is kept.

    Args:
        ctx: of the check.
        backend: ``nccl``, ``gloo`` or ``mpi``.
        wish: one of ``EXPECTATIONS``, or empty: RDMA where most nodes have an active port for it.
    """
    ctx.fact("library", open_device(ctx.device).collectives() if backend != "mpi" else "MPI")
    ports = active_ports()
    expected, why = expectation(wish, dict(ctx.allgather((ctx.node, len(ports)))), os.environ)
    ctx.fact("nccl_environment", settings(os.environ) or "none")
    ctx.fact("rdma_ports", ", ".join(ports) or "none is active")
    if backend != "nccl":
        ctx.fact("transport", backend)
        ctx.emit("channels", ctx.size - 1, backend)
        ctx.unsupported("fallback", f"{backend} does not say what it uses, and stands in for NCCL here")
        return
    text, file = nccl_log(os.environ)
    level = os.environ.get("NCCL_DEBUG", "")
    if level and level.upper() not in ("INFO", "TRACE"):
        ctx.fact("transport", f"not known: NCCL_DEBUG={level} was set by the user")
        ctx.emit("channels", 0, "not logged")
        ctx.unsupported("fallback", f"NCCL_DEBUG={level} keeps NCCL from saying what it uses; unset it, or set INFO")
        return
    try:
        _judge(ctx, text, expected, why)
    except NotUnderstood as fault:
        asked = " ".join(f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith("NCCL_DEBUG"))
        ctx.fact(
            "transport", f"not understood: {fault.message} (log: {file or 'none'}; asked for with {asked or 'nothing'})"
        )
        ctx.keep("nccl.log", text)


def even_nodes(nodes: Sequence[str]) -> tuple[int, int]:
    """How many nodes the ranks are on, and how many are on each; (0, 0) where they differ.

    Args:
        nodes: of each rank.
    """
    count = Counter(nodes)
    return (len(count), next(iter(count.values()))) if len(set(count.values())) == 1 else (0, 0)


def judge_rates(ctx: CheckContext, backend: str, rates: Iterable[Rate]) -> None:
    """Emit ``cards_share`` of each rate. All ranks together, as the last thing of a check.

    Args:
        ctx: of the check.
        backend: ``nccl``, ``gloo`` or ``mpi``: only the first is bound to the cards.
        rates: the same on every rank that has any.

    Raises:
        ToolError: on every rank, when a rate is more than the cards can carry.
    """
    nodes = dict(ctx.allgather((ctx.node, card_bytes())))
    logs = ctx.allgather(_crossing(nccl_log(os.environ)[0]) if backend == "nccl" else ("", False))
    if backend != "nccl" or len(nodes) < 2:
        return
    if ctx.rank == 0 and (why := _not_bound(nodes, [over for over, _ in logs])):
        ctx.unsupported("cards_share", why)
    excess = ""
    if ctx.rank == 0 and not _not_bound(nodes, [over for over, _ in logs]):
        in_network = any(sharp for _, sharp in logs)
        excess = _emit_shares(ctx, rates, min(nodes.values()), in_network)
    if told := next((text for text in ctx.allgather(excess) if text), ""):
        raise ToolError(
            told,
            "Which way did it go? NCCL_DEBUG=INFO, NCCL_MNNVL_ENABLE=0; do the node names say which ranks share a node?",
        )


def card_bytes() -> float:
    """Bytes per second, in one direction, of all RDMA ports of this node that are active; 0 where one does not say.

    EFA's driver told 100 Gb/s of every card for years (its link layer is "Unspecified"), and a bond may tell the rate of one of its links.
    """
    found = [port for port in infiniband.ports(infiniband.adapters(counters=False)).values() if port.active]
    known = all(port.link_layer in ("InfiniBand", "Ethernet") and "bond" not in port.name for port in found)
    return sum(port.rate_bits for port in found) / 8 if known else 0.0


def _crossing(text: str) -> tuple[str, bool]:
    """What else than cards may carry bytes between nodes by the log of this rank, and whether switches add up."""
    try:
        log = parse_nccl_log(text)
    except NotUnderstood:
        return "", False
    return ("NVLink connects the nodes" if log.mnnvl else ""), any(
        name.startswith("COLLNET/") for name, _ in log.channels
    )


def _not_bound(nodes: Mapping[str, float], crossing: Iterable[str]) -> str:
    """Why the cards bound nothing, empty where they do."""
    if other := next((text for text in crossing if text), ""):
        return other
    without = [node for node, rate in nodes.items() if not rate]
    return f"{len(without)} of {len(nodes)} nodes have no RDMA port that is active and says its rate" if without else ""


def _emit_shares(ctx: CheckContext, rates: Iterable[Rate], node_bytes: float, in_network: bool) -> str:
    """Emit; a sentence about the rate that is furthest above what can be, empty when none is."""
    worst, told = TOLERANCE, ""
    for rate in rates:
        most = ceiling(
            rate.operation, rate.nodes, rate.ranks_per_node, node_bytes / rate.sharing, in_network=in_network
        )
        share = rate.busbw_bytes / most
        ctx.emit("cards_share", share, rate.variant)
        if share > worst:
            worst = share
            told = (
                f"{rate.variant} reached {show(rate.busbw_bytes, 'B/s')}, {share:.0%} of the {show(most, 'B/s')} that the network cards of "
                f"{rate.nodes} nodes can carry: the ranks are not connected the way that is reported"
            )
    return told


def settings(environ: Mapping[str, str]) -> str:
    """What was set for NCCL, but for what makes it log."""
    return " ".join(f"{k}={v}" for k, v in sorted(environ.items()) if "NCCL_" in k and not k.startswith("NCCL_DEBUG"))


def active_ports() -> tuple[str, ...]:
    """``mlx5_0/1 (InfiniBand)`` for every port of this node that could carry RDMA now (RoCE: ``Ethernet``)."""
    found = infiniband.ports(infiniband.adapters())
    return tuple(f"{name} ({port.link_layer})" for name, port in found.items() if port.state == "ACTIVE")


def expectation(wish: str, ports: Mapping[str, int], environ: Mapping[str, str]) -> tuple[str, str]:
    """What is expected, and why.

    Args:
        wish: of the suite; empty to derive it.
        ports: node → active RDMA ports.
        environ: of this rank.
    """
    if wish:
        return wish, "the suite says so"
    if len(ports) < 2:
        return "any", "all ranks are on one node"
    for name, values in _ASKED_FOR_TCP.items():
        if environ.get(name, "").lower() in values:
            return "any", f"{name}={environ[name]} asks for TCP"
    able = sum(count > 0 for count in ports.values())
    has = f"{able} of {len(ports)} nodes have an active InfiniBand, RoCE or EFA port"
    return ("rdma" if 2 * able > len(ports) else "any"), has


def _judge(ctx: CheckContext, text: str, expected: str, why: str) -> None:
    log = parse_nccl_log(text)
    why_not = nothing_to_judge(log, expected)
    # Whether it is RDMA is in the log of every rank, whether it is GPUDirect only in those with a channel that leaves the node.
    lacking = shortfall(log, "rdma" if why_not and expected == "gdr" else expected)
    ctx.fact("transport", str(log))
    for transport, count in log.channels or (("not logged", 0),):
        ctx.emit("channels", count, transport)
    if expected == "any":
        ctx.unsupported("fallback", f"no transport is expected: {why}")
        return
    if why_not and not lacking:
        ctx.unsupported("fallback", why_not)
        return
    ctx.emit("fallback", 1 if lacking else 0, expected)
    if lacking:
        ctx.fact("fallback", f"{lacking}; {expected} is expected because {why}")
