"""Over what do the ranks talk, and is it what was to be expected? Shared by the checks of collectives; no check itself.

RDMA that is there and not used costs a factor of 100 and is no error to NCCL: it logs a line and goes on over TCP
(NVIDIA/aicr#2683: about 3 instead of 489 GB/s). So the log of every rank is read, and what was chosen is compared with what
the node has.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hpcaccept.errors import NotUnderstood
from hpcaccept.measure.device import open_device
from hpcaccept.measure.host import infiniband
from hpcaccept.measure.ranks.process_group import nccl_log
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.parse.nccl_log import parse_nccl_log, shortfall

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcaccept.model.check import CheckContext

METRICS = (
    Metric(
        "channels", "channels", "exact",
        "Channels that NCCL opened on this rank over each transport (gloo and MPI: their peers), as far as it logged them.",
        formula="lines 'Channel … via …' in NCCL's log of this rank",
        source="https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html#nccl-debug", headline=False,
    ),
    Metric(
        "fallback", "fall-backs", "lower",
        "This rank uses a slower transport than the node has; the facts 'transport' and 'fallback' say which and why. RDMA: is "
        "/dev/infiniband in the image, are libibverbs and the network's plugin, do 'ibv_devinfo' and the memlock limit allow it? "
        "P2P and NVLS: 'nvidia-smi topo -m', the fabric manager, IOMMU and ACS.",
        formula="1 where NCCL's log falls short of the expectation named by the variant, else 0",
        source="https://github.com/NVIDIA/aicr/issues/2683", statistic="worst", required=False, headline=False,
        limit=at_most(0, "fall-backs", "what the node has is to be used"),
    ),
)  # fmt: skip

#: Settings with which somebody chose TCP.
_ASKED_FOR_TCP = {"NCCL_IB_DISABLE": ("1", "true", "yes"), "NCCL_NET": ("socket",)}


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
    lacking = shortfall(log, expected)
    ctx.fact("transport", str(log))
    for transport, count in log.channels or (("not logged", 0),):
        ctx.emit("channels", count, transport)
    if expected == "any":
        ctx.unsupported("fallback", f"no transport is expected: {why}")
        return
    ctx.emit("fallback", 1 if lacking else 0, expected)
    if lacking:
        ctx.fact("fallback", f"{lacking}; {expected} is expected because {why}")
