"""By what are two GPUs of a node connected, so that like pairs are compared with like?

Sources: https://docs.nvidia.com/deploy/nvml-api/ (nvmlGpuTopologyLevel_t, NvLink methods); the words are those of
``nvidia-smi topo -m``.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

from hpcaccept.measure.gpu import nvml
from hpcaccept.model.check import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

#: nvmlGpuTopologyLevel_t → what a copy crosses.
_LEVELS = {
    0: "one board",
    10: "one PCIe switch (PIX)",
    20: "several PCIe switches (PXB)",
    30: "a PCIe host bridge (PHB)",
    40: "the host bridges of a NUMA node (NODE)",
    50: "the link between sockets (SYS)",
}
UNKNOWN = "not known"


def classes(devices: Sequence[str]) -> dict[tuple[int, int], str]:
    """(i, j) → kind of link, for every ordered pair of these devices; all ``UNKNOWN`` where NVML does not say.

    Pairs behind NVSwitch are of one kind whatever lanes are up: a GPU that lost lanes must be compared with the others,
    not with itself.
    """
    pairs = [(i, j) for i in range(len(devices)) for j in range(len(devices)) if i != j]
    with contextlib.ExitStack() as stack:
        try:
            gpus = [stack.enter_context(nvml.open_gpu(name)) for name in devices]
        except Unavailable:
            return dict.fromkeys(pairs, UNKNOWN)
        remotes = [_remotes(gpu) for gpu in gpus]
        buses = [_answer(gpu.ask(_bus)) for gpu in gpus]
        return {(i, j): kind(gpus[i], gpus[j], remotes[i], remotes[j], (buses[i], buses[j])) for i, j in pairs}


def kind(one: nvml.OpenGpu, other: nvml.OpenGpu, mine: list[str], theirs: list[str], buses: tuple[str, str]) -> str:
    """Of one pair.

    Args:
        one: a GPU.
        other: another.
        mine: PCI addresses at the far ends of its NVLinks that are up.
        theirs: those of the other.
        buses: their own PCI addresses.
    """
    if direct := mine.count(buses[1]):
        return f"{direct} NVLinks"
    if set(mine) & set(theirs):
        return "NVSwitch"
    level = one.ask(lambda api, handle: api.nvmlDeviceGetTopologyCommonAncestor(handle, other.handle))
    return UNKNOWN if isinstance(level, nvml.NoAnswer) else _LEVELS.get(int(level), f"topology level {int(level)}")


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


def _answer(answer: str | nvml.NoAnswer) -> str:
    return "" if isinstance(answer, nvml.NoAnswer) else answer
