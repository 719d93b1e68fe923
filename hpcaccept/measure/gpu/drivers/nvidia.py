"""NVIDIA's GPUs behind the port: NVML says everything, in pieces (``nvml``, ``nvml_counters``, ``nvml_links``, ``xid``)."""

from __future__ import annotations

import ctypes
import hashlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept.bounded import read_text
from hpcaccept.measure.gpu import cuda_start, nvml, nvml_counters, nvml_links, xid
from hpcaccept.measure.gpu.driver import UNKNOWN_LINK, Gpu, NoAnswer, OpenGpu, Quantity, State, Vendor
from hpcaccept.measure.gpu.nvml_counters import usable_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

_DEVICE_FILES = "nvidia[0-9]*"
_LIBRARY = "libnvidia-ml.so.1"
#: ``NVML_FI_DEV_MEMORY_TEMP`` and ``NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT``.
_MEMORY_TEMPERATURE, _SLOWDOWN_LIMIT = 82, 194
#: Channels through which the GPUs of several nodes share memory, and the nodes that do.
#: https://docs.nvidia.com/multi-node-nvlink-systems/imex-guide/
IMEX_CHANNELS = Path("/dev/nvidia-caps-imex-channels")
IMEX_NODES = Path("/etc/nvidia-imex/nodes_config.cfg")
#: Bit of the mask → its name. Several hold at once; a newer driver knows more of them than this table.
#: https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html (driver 580, 2025); ``board_limit`` and
#: ``reliability`` stand in ``pynvml`` 13.615 only.
REASONS = {
    0x1: "idle",
    0x2: "application_clocks",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake",
    0x100: "display_clocks",
    0x200: "board_limit",
    0x400: "reliability",
}


def decoded(mask: int) -> tuple[str, ...]:
    """Names of all reasons in a mask, in the order of their bits; a bit without a name as ``0x…``."""
    bits = (1 << place for place in range(mask.bit_length()) if mask >> place & 1)
    return tuple(REASONS.get(bit, f"{bit:#x}") for bit in bits)


class NvidiaGpu:
    """One GPU while NVML is open."""

    event_family = "Xid"

    def __init__(self, opened: nvml.OpenGpu) -> None:
        self._opened = opened
        self._ends: nvml_links.Ends | None = None

    @property
    def gpu(self) -> Gpu:
        """As it was listed."""
        return self._opened.gpu

    @property
    def ends(self) -> nvml_links.Ends:
        """Where it is on the bus, and where its NVLinks end; asked once."""
        self._ends = self._ends or nvml_links.ends(self._opened)
        return self._ends

    def counters(self) -> State:
        """Some 200 calls of NVML on a GPU with 18 links."""
        return nvml_counters.read_state(self._opened)

    def telemetry(self, what: Quantity) -> float | NoAnswer:
        """One number of this moment."""
        return self._opened.ask(_TELEMETRY[what])

    def clock_limit_reasons(self) -> tuple[str, ...] | NoAnswer:
        """Every bit of the mask for itself."""
        mask = self._opened.ask(_reasons)
        return mask if isinstance(mask, NoAnswer) else decoded(mask)

    def events(self) -> xid.XidEvents | NoAnswer:
        """Xids from now on."""
        return xid.listen(self._opened)

    def connection(self, other: OpenGpu) -> str:
        """By NVLinks where there are any, else by what PCIe says."""
        if not isinstance(other, NvidiaGpu):
            return UNKNOWN_LINK
        return nvml_links.kind(self._opened, other._opened, self.ends, other.ends)


class NvidiaDriver:
    """NVML while it is open."""

    def __init__(self, opened: nvml.Nvml) -> None:
        self._opened = opened

    def versions(self) -> dict[str, str]:
        """Of the driver, the newest CUDA that it runs, whether computing is confidential, and the IMEX domain of the node."""
        found = {
            "driver": self._opened.driver(),
            "cuda_driver": self._opened.cuda_driver(),
            "confidential_computing": self._opened.confidential_computing(),
            "imex": imex(IMEX_CHANNELS, IMEX_NODES),
        }
        return {name: text for name, text in found.items() if text}

    def list(self, fields: Collection[str] = ()) -> tuple[Gpu, ...]:
        """All GPUs that NVML counts."""
        return self._opened.gpus(fields)

    def identity(self, index: int) -> Gpu:
        """One of them, with everything known."""
        return self._opened.gpu(index)

    def open(self, gpu: Gpu) -> NvidiaGpu | NoAnswer:
        """One of them, to be asked more."""
        found = self._opened.open(gpu)
        return found if isinstance(found, NoAnswer) else NvidiaGpu(found)

    def unclaimed(self, listed: Sequence[Gpu]) -> tuple[str, ...]:
        """By the folders of the kernel module."""
        return nvml.unclaimed(listed, [folder.name for folder in nvml.KERNEL_GPUS.glob("*")])


def available() -> bool:
    """A device file, or the library that a container is given with it."""
    if any(Path("/dev").glob(_DEVICE_FILES)):
        return True
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        return False
    return True


def imex(channels: Path, nodes: Path) -> str:
    """``2048 channels, domain of 18 nodes (1f3b0c9a)``; what the node was not given is left out, and a node without either is empty.

    Args:
        channels: folder with a file for each channel that this process may use.
        nodes: the addresses of the domain's nodes, one a line; nodes of one domain have the same file.
    """
    count = len(list(channels.glob("channel*")))
    try:
        lines = [line.strip() for line in read_text(nodes).splitlines()]
    except (OSError, ValueError):
        lines = []
    members = [line for line in lines if line and not line.startswith("#")]
    digest = hashlib.sha256("\n".join(members).encode()).hexdigest()[:8]
    said = [f"{count} channel{'s' if count > 1 else ''}"] if count else []
    said += [f"domain of {len(members)} nodes ({digest})"] if members else []
    return ", ".join(said)


@contextmanager
def open_driver() -> Iterator[NvidiaDriver]:
    """NVML, until the end of the block.

    Raises:
        DriverMissing: it cannot be started here, with the cause and the remedy.
    """
    with nvml.open_nvml() as opened:
        yield NvidiaDriver(opened)


# --- telemetry: (pynvml, handle) → number -----------------------------------------------------------------------------


def _reasons(api: Any, gpu: Any) -> int:
    """Under its new name; drivers before 535 have the old one only."""
    try:
        return int(api.nvmlDeviceGetCurrentClocksEventReasons(gpu))
    except api.NVMLError as fault:
        if fault.value != nvml.Code.FUNCTION_NOT_FOUND:
            raise
        return int(api.nvmlDeviceGetCurrentClocksThrottleReasons(gpu))


def _temperature(api: Any, gpu: Any) -> float:
    """In °C; drivers of CUDA 14 will have the newer call only."""
    try:
        return float(api.nvmlDeviceGetTemperature(gpu, api.NVML_TEMPERATURE_GPU))
    except api.NVMLError as fault:
        if fault.value != nvml.Code.FUNCTION_NOT_FOUND:
            raise
        return float(api.nvmlDeviceGetTemperatureV(gpu, api.NVML_TEMPERATURE_GPU))


def _temperature_margin(api: Any, gpu: Any) -> float:
    """K until the hardware slows down: how far below its limit the GPU is now, less how far from it the slowdown lies.

    From Ada and Hopper on thresholds are told relative to a limit that is not told: ``T.Limit`` of nvidia-smi.
    """
    return float(api.nvmlDeviceGetMarginTemperature(gpu) - nvml.field(api, gpu, _SLOWDOWN_LIMIT))


def _memory_errors(kind: str) -> Callable[[Any, Any], float]:
    return lambda api, gpu: float(
        api.nvmlDeviceGetTotalEccErrors(gpu, getattr(api, f"NVML_MEMORY_ERROR_TYPE_{kind}"), api.NVML_VOLATILE_ECC)
    )


_TELEMETRY: dict[Quantity, Callable[[Any, Any], float]] = {
    "clock": lambda api, gpu: api.nvmlDeviceGetClockInfo(gpu, api.NVML_CLOCK_SM) * 1e6,
    "power": lambda api, gpu: api.nvmlDeviceGetPowerUsage(gpu) / 1000,
    "energy": lambda api, gpu: api.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1000,
    "temperature": _temperature,
    "temperature_margin": _temperature_margin,
    "memory_temperature": lambda api, gpu: float(nvml.field(api, gpu, _MEMORY_TEMPERATURE)),
    "memory_errors_corrected": _memory_errors("CORRECTED"),
    "memory_errors_uncorrected": _memory_errors("UNCORRECTED"),
    "pcie_gen": lambda api, gpu: int(api.nvmlDeviceGetCurrPcieLinkGeneration(gpu)),
    "pcie_gen_max": lambda api, gpu: int(api.nvmlDeviceGetMaxPcieLinkGeneration(gpu)),
    "pcie_width": lambda api, gpu: int(api.nvmlDeviceGetCurrPcieLinkWidth(gpu)),
    "pcie_width_max": lambda api, gpu: int(api.nvmlDeviceGetMaxPcieLinkWidth(gpu)),
    "memory_used": lambda api, gpu: usable_memory(api, gpu)["used"],
    "memory_total": lambda api, gpu: usable_memory(api, gpu)["total"],
}

VENDOR = Vendor(
    name="NVIDIA",
    torch_device="cuda",
    device_files=_DEVICE_FILES,
    visible_variable="CUDA_VISIBLE_DEVICES",
    look="nvidia-smi -L; dmesg | grep -i xid",
    missing_look="nvidia-smi -L, lspci -d 10de:, dmesg | grep -i xid",
    query="nvidia-smi -q",
    holders="nvidia-smi, fuser -v /dev/nvidia*",
    available=available,
    open=open_driver,
    visible=nvml.visible,
    start=cuda_start.start_all,
    # NVML numbers GPUs by PCI bus, CUDA by speed first.
    environment={"CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
)
