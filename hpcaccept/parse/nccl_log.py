"""Over what NCCL connected a rank, from the log it writes with ``NCCL_DEBUG=INFO`` (one process, one file).

Read are the lines that name a transport: of a channel (``… via P2P/CUMEM``), of the network (``Using network IB``), of
multicast in the switch (``NVLS comm 0x…``), of libfabric's provider, and the communicators with their ranks and nodes.

Traps:
    * A log without channels is no proof: since NCCL 2.27 they belong to the subsystems P2P, SHM and NET, and they are
      written when a connection is first used.
    * ``NVLS multicast support is available`` says that it could be used, not that it is.
    * ``NET/Socket`` also stands in lines about plugins that were tried and not taken: only channels and the chosen
      network count.
    * The plugin of AWS can run over TCP itself (``Selected provider is tcp``), and Google's Fast Socket and GPUDirect-TCPX are TCP
      whatever they are called. So nothing is RDMA but what is known to be.
    * A rank may have no channel over the network at all, because its neighbours in the rings are in its node: such a log says nothing
      of GPUDirect.

Sources: NVIDIA/nccl, ``src/transport/{p2p,shm,net,coll_net,nvls}.cc``, ``src/init.cc``, ``src/plugin/net.cc`` (2.18 to 2.28);
https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html#nccl-debug-subsys; ROCm/rccl, which adds the
communicator to each channel.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.errors import NotUnderstood

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What may be expected of a rank's connections: see ``shortfall``.
EXPECTATIONS = ("rdma", "gdr", "nvls", "p2p", "any")

_LINE = re.compile(r"\bNCCL (INFO|WARN) (.*)$")
_VIA = re.compile(
    r"(?:\d+(?:\[\w+\])? -> \d+(?:\[\w+\])?|Coll \S+ : \d+)(?: \[(?:send|receive)\])?\s+via (?P<via>.+?)"
    r"(?: comm 0x[0-9a-f]+ nRanks \d+)?$",
    re.IGNORECASE,
)
#: NET/AWS Libfabric/0/GDRDMA, NET/IB/0(8)/GDRDMA/Shared, NET/IB/0/GDRDMA(PCI), COLLNET/SHARP/0: kind, name, what follows the device.
_NETWORK = re.compile(r"(?P<kind>NET|COLLNET)/(?P<name>[^/]+)/-?\d+(?:\(\d+\))?(?P<rest>(?:/[\w()]+)*)$")
_LOCAL = {"P2P": "P2P", "SHM": "SHM", "DIRECT SHARED MEMORY": "SHM"}
_COMM = re.compile(
    r"comm (?P<comm>0x[0-9a-f]+) rank (?P<rank>\d+) nranks (?P<ranks>\d+)(?: nNodes (?P<nodes>\d+))?", re.IGNORECASE
)
_USING = re.compile(r"^Using network (?P<name>.+)$")
_PROVIDER = re.compile(r"^NET/OFI Selected provider is (?P<name>[^\s,]+)", re.IGNORECASE)
_VERSION = re.compile(r"^R?NCCL version (\S+)")
#: ``src/init.cc`` and ``src/mnnvl.cc``, and channels of ``src/transport/p2p.cc``.
_MNNVL = re.compile(r"^comm 0x[0-9a-f]+ .*\bMNNVL 1\b|^MNNVL 1 |via P2P/MNNVL")
_NVLS = re.compile(r"^NVLS comm 0x|^Connected NVLS tree")
#: Lines that say why a better network was not taken.
_REMARK = re.compile(
    r"^NET/IB : No device found|^NET/Plugin ?: ?(Could not find|No plugin found|Failed|lib\S+: )|^Failed to initialize NET plugin"
    r"|^NCCL_(IB_DISABLE|NET|NET_PLUGIN|P2P_DISABLE|NVLS_ENABLE|SHM_DISABLE|IB_HCA) set by environment|Failed to open lib(ibverbs|mlx5)"
    r"|Initializing plugin failed",
    re.IGNORECASE,
)  # fmt: skip
#: Names of networks and of libfabric's providers, in lower case, by their beginnings: ``IBext_v8``, ``GPUDirectTCPX_v7``.
#: NCCL (net_ib, net_socket), Mellanox/nccl-rdma-sharp-plugins (IBext), Google's gIB; google/nccl-fastsocket, GPUDirect-TCPX and -TCPXO
#: (FasTrak): https://cloud.google.com/compute/docs/gpus/gpudirect.
_RDMA = ("ib", "gib", "sharp")
_TCP = ("socket", "fastsocket", "gpudirecttcpx", "fastrak")
#: https://ofiwg.github.io/libfabric/main/man/fi_provider.7.html
_LIBFABRIC = "aws libfabric"
_RDMA_PROVIDERS = ("efa", "cxi", "verbs", "psm2", "psm3", "opx")
_TCP_PROVIDERS = ("tcp", "sockets", "udp", "net")


@dataclass(frozen=True)
class Comm:
    """One communicator of the process.

    Attributes:
        rank: of this process in it.
        ranks: how many.
        nodes: how many they are on, 0 where the log does not say.
    """

    rank: int
    ranks: int
    nodes: int = 0


@dataclass(frozen=True)
class NcclLog:
    """What one process connected.

    Attributes:
        version: of NCCL, empty when it was not logged.
        networks: those that were chosen for a communicator (``IB``, ``Socket``, ``AWS Libfabric``).
        providers: of libfabric (``efa``, ``tcp``).
        channels: (transport, channels) in the order of the log: ``P2P``, ``SHM``, ``NET/IB/GDRDMA``, ``NET/Socket`` …
        comms: communicators.
        nvls: multicast in the NVSwitch is used.
        mnnvl: NVLink connects ranks of several nodes.
        remarks: lines that say why another network was not taken.
    """

    version: str
    networks: tuple[str, ...]
    providers: tuple[str, ...]
    channels: tuple[tuple[str, int], ...]
    comms: tuple[Comm, ...]
    nvls: bool
    mnnvl: bool
    remarks: tuple[str, ...]

    def __str__(self) -> str:
        """``P2P ×24, NET/IB/GDRDMA ×4; network IB; NVLS``."""
        used = ", ".join(f"{name} ×{count}" for name, count in self.channels)
        network = " and ".join((*self.networks, *(f"provider {p}" for p in self.providers)))
        parts = [used, f"network {network}" if network else "", "NVLS" if self.nvls else ""]
        return "; ".join(part for part in parts if part) or "one rank, no connection"


def parse_nccl_log(text: str) -> NcclLog:
    """What the log of one process says.

    Raises:
        NotUnderstood: there is no line of NCCL in it, a channel of an unknown kind, or a communicator of several ranks and
            no word about how they are connected.
    """
    lines = [found[2].strip() for found in map(_LINE.search, text.splitlines()) if found]
    if not lines:
        raise NotUnderstood("The log of NCCL holds no line of NCCL.")
    channels = Counter(_transport(via["via"].strip()) for via in map(_channel, lines) if via)
    comms: dict[str, Comm] = {}
    for found in filter(None, map(_COMM.search, lines)):
        old = comms.get(found["comm"])
        nodes = int(found["nodes"] or 0) or (old.nodes if old else 0)
        comms[found["comm"]] = Comm(int(found["rank"]), int(found["ranks"]), nodes)
    log = NcclLog(
        version=next((v[1] for v in map(_VERSION.search, lines) if v), ""),
        networks=_distinct(m["name"] for m in map(_USING.search, lines) if m),
        providers=_distinct(m["name"].lower() for m in map(_PROVIDER.search, lines) if m),
        channels=tuple(channels.items()),
        comms=tuple(comms.values()),
        nvls=any(map(_NVLS.search, lines)),
        mnnvl=any(map(_MNNVL.search, lines)),
        remarks=_distinct(line for line in lines if _REMARK.search(line)),
    )
    if not log.channels and not log.networks and (not log.comms or any(comm.ranks > 1 for comm in log.comms)):
        raise NotUnderstood(f"The log of NCCL has {len(lines)} lines and none says how ranks are connected.")
    return log


def shortfall(log: NcclLog, expected: str) -> str:
    """In what a rank falls short of what was expected of its connections, a sentence; empty when it does not.

    Args:
        log: of the rank.
        expected: ``rdma``: every network is one that is known to be RDMA; ``gdr``: and every channel over it reads and writes the GPU's
            memory; ``p2p``: none within a node through host memory; ``nvls``: multicast in the switch is used; ``any``: nothing.

    Raises:
        NotUnderstood: the log does not say what would decide it, or names a network that is not known.
    """
    names = [name for name, _ in log.channels]
    if expected in ("rdma", "gdr"):
        return _over_tcp(log, names) or (_staged(names) if expected == "gdr" else "")
    if expected == "p2p":
        if not names:
            raise NotUnderstood("The log of NCCL names no channel, so whether they are P2P cannot be said.")
        return "host memory (SHM) instead of P2P" if "SHM" in names else ""
    if expected == "nvls":
        return "" if log.nvls else "no NVLS communicator"
    return ""


def nothing_to_judge(log: NcclLog, expected: str) -> str:
    """Why an expectation does not concern this rank, though its log is understood; empty when it does."""
    names = [name for name, _ in log.channels]
    if expected == "gdr" and names and not any(map(_is_network, names)) and not log.mnnvl:
        return "no channel of this rank leaves the node: those of other ranks say whether GPUDirect RDMA is used"
    if expected == "gdr" and log.mnnvl and not any(map(_is_network, names)):
        return "NVLink connects the nodes, and no channel of this rank is over a network"
    if expected == "p2p" and names and not {"P2P", "SHM"} & set(names):
        return "no channel of this rank stays in the node"
    return ""


def _over_tcp(log: NcclLog, names: list[str]) -> str:
    networks = {name.split("/")[1] for name in names if _is_network(name)} | set(log.networks)
    if not networks:
        raise NotUnderstood("The log of NCCL names no network, so whether it is RDMA cannot be said.")
    why = f" ({'; '.join(log.remarks[:3])})" if log.remarks else ""
    for network in sorted(networks):
        if network.lower().startswith(_TCP):
            return f"TCP (NET/{network}) instead of RDMA{why}"
    if tcp := [provider for provider in log.providers if provider.startswith(_TCP_PROVIDERS)]:
        return f"libfabric over {tcp[0]} instead of RDMA{why}"
    if unknown := [network for network in sorted(networks) if not _is_rdma(network, log.providers)]:
        provider = (
            f" with provider {' and '.join(log.providers) or 'not named'}" if _LIBFABRIC in unknown[0].lower() else ""
        )
        raise NotUnderstood(
            f"NCCL uses the network {unknown[0]!r}{provider}, of which it is not known whether it is RDMA.",
            "Report it with the log; until then expect_transport = 'any' leaves it out.",
        )
    return ""


def _is_rdma(network: str, providers: tuple[str, ...]) -> bool:
    if network.lower().startswith(_LIBFABRIC):
        return bool(providers) and all(provider.startswith(_RDMA_PROVIDERS) for provider in providers)
    return network.lower().startswith(_RDMA)


def _is_network(name: str) -> bool:
    return name.startswith(("NET/", "COLLNET/"))


def _staged(names: list[str]) -> str:
    """Networks that read from host memory what lies in a GPU: half of the rate or less."""
    over = [name for name in names if _is_network(name)]
    if not over:
        raise NotUnderstood(
            "The log of NCCL names no channel over a network, so whether it is GPUDirect RDMA cannot be said."
        )
    staged = [name for name in over if name.startswith("NET/") and not name.endswith("/GDRDMA")]
    return f"{staged[0]} without GPUDirect RDMA" if staged else ""


def _channel(line: str) -> re.Match[str] | None:
    found = _VIA.search(line)
    if found is None and " via " in line and line.startswith(("Channel", "Ring ", "Coll ")):
        raise NotUnderstood(f"A channel of NCCL has an unknown form: {line[:200]!r}")
    return found


def _transport(via: str) -> str:
    """``NET/IB/GDRDMA`` from ``NET/IB/0/GDRDMA``.

    Raises:
        NotUnderstood: it is none that is known.
    """
    if network := _NETWORK.match(via):
        return f"{network['kind']}/{network['name']}{'/GDRDMA' if '/GDRDMA' in network['rest'] else ''}"
    kind = via.upper() if via.upper() in _LOCAL else via.partition("/")[0].upper()
    if kind not in _LOCAL:
        raise NotUnderstood(f"A channel of NCCL goes via {via[:100]!r}, which is not a known transport.")
    return _LOCAL[kind]


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in names))
