"""How two GPUs are connected according to NVML.

Sources: https://docs.nvidia.com/deploy/nvml-api/ (nvmlGpuTopologyLevel_t, NvLink methods); the words are those of
``nvidia-smi topo -m``.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcaccept.measure.gpu.driver import UNKNOWN_LINK, NoAnswer

if TYPE_CHECKING:
    from hpcaccept.measure.gpu import nvml

#: nvmlGpuTopologyLevel_t → what a copy crosses.
_LEVELS = {
    0: "one board",
    10: "one PCIe switch (PIX)",
    20: "several PCIe switches (PXB)",
    30: "a PCIe host bridge (PHB)",
    40: "the host bridges of a NUMA node (NODE)",
    50: "the link between sockets (SYS)",
}


@dataclass(frozen=True)
class Ends:
    """Where one GPU is, and where its NVLinks end.

    Attributes:
        bus: its PCI address.
        remotes: PCI addresses at the far ends of its NVLinks that are up.
    """

    bus: str
    remotes: tuple[str, ...]


def ends(gpu: nvml.OpenGpu) -> Ends:
    """Of one GPU, in few calls for each link."""
    return Ends(_answer(gpu.ask(_bus)), tuple(_remotes(gpu)))


def kind(one: nvml.OpenGpu, other: nvml.OpenGpu, mine: Ends, theirs: Ends) -> str:
    """Of one pair."""
    if direct := mine.remotes.count(theirs.bus):
        return f"{direct} NVLinks"
    if set(mine.remotes) & set(theirs.remotes):
        return "NVSwitch"
    level = one.ask(lambda api, handle: api.nvmlDeviceGetTopologyCommonAncestor(handle, other.handle))
    return UNKNOWN_LINK if isinstance(level, NoAnswer) else _LEVELS.get(int(level), f"topology level {int(level)}")


def _remotes(gpu: nvml.OpenGpu) -> list[str]:
    """Far ends of the NVLinks that are up; a lane that is down or does not exist has none."""
    lanes = range(int(getattr(gpu.api, "NVML_NVLINK_MAX_LINKS", 18)))
    found = (_answer(gpu.ask(functools.partial(_remote, lane))) for lane in lanes)
    return [bus for bus in found if bus]


def _remote(lane: int, api: Any, handle: Any) -> str:
    return (
        _bus_of(api.nvmlDeviceGetNvLinkRemotePciInfo(handle, lane))
        if api.nvmlDeviceGetNvLinkState(handle, lane)
        else ""
    )


def _bus(api: Any, handle: Any) -> str:
    return _bus_of(api.nvmlDeviceGetPciInfo_v3(handle))


def _bus_of(info: Any) -> str:
    bus = info.busId
    return (bus.decode() if isinstance(bus, bytes) else str(bus)).strip().lower()


def _answer(answer: str | NoAnswer) -> str:
    return "" if isinstance(answer, NoAnswer) else answer
