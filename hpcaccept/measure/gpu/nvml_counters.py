"""What NVML says of one GPU's health at this moment. Every question stands alone: see ``driver.State``.

Sources: https://docs.nvidia.com/deploy/nvml-api/, ``nvml.h`` (NVIDIA/go-nvml, 2f9e261); memory repair:
https://docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt/; fabric: https://docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide/
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from hpcaccept.measure.gpu import nvml_fabric
from hpcaccept.measure.gpu.driver import Link, NoAnswer, Process, State
from hpcaccept.measure.gpu.nvml import Code, field

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.measure.gpu.nvml import OpenGpu

#: Counters of a link up to NVLink 4 → NVML's number of each. Replays and recoveries cost time, CRC errors are repaired.
_LINK_COUNTERS = {"replay": 0, "recovery": 1, "crc_flit": 2, "crc_data": 3}
#: From NVLink 5 on links count in fields instead: name → field (``NVML_FI_DEV_NVLINK_COUNT_…``, scope is the link).
_LINK_FIELDS = {"malformed": 206, "overrun": 207, "integrity": 211, "recovery_failed": 214}
#: ``NVML_FI_DEV_GET_GPU_RECOVERY_ACTION``: what the driver itself wants done, from 565 on.
_RECOVERY_FIELD = 230
RECOVERY_ACTIONS = (
    "",
    "reset the GPU",
    "reboot the node",
    "drain peer-to-peer traffic",
    "drain and reset",
    "recover the IMEX domain",
    "reset the bus",
    "reboot the system",
)
#: ``nvmlPerfPolicyType_t`` → name.
_POLICIES = {0: "power", 1: "thermal", 2: "sync_boost", 3: "board_limit", 4: "low_use", 5: "reliability"}


def read_state(gpu: OpenGpu) -> State:
    """Ask everything once; some 200 calls of NVML on a GPU with 18 links."""
    numbers: dict[str, float] = {}
    missing: dict[str, str] = {}
    errors: dict[str, str] = {}
    found: dict[str, Any] = {"recovery": None, "fabric": None, "links": (), "processes": {}}
    for name, question in QUESTIONS.items():
        answer = gpu.ask(question)
        if isinstance(answer, NoAnswer):
            if answer.lost:
                return State(lost=True)
            (missing if answer.harmless else errors)[name] = answer.why
        elif name in found:
            found[name] = answer
        else:
            numbers.update({f"{name}.{part}": float(value) for part, value in answer.items()})
    return State(numbers, **found, missing=missing, errors=errors)


# --- questions: (pynvml, handle) → part → number ----------------------------------------------------------------------


def _ecc(counter: int) -> Callable[[Any, Any], dict[str, int]]:
    return lambda api, gpu: {
        "corrected": api.nvmlDeviceGetTotalEccErrors(gpu, api.NVML_MEMORY_ERROR_TYPE_CORRECTED, counter),
        "uncorrected": api.nvmlDeviceGetTotalEccErrors(gpu, api.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, counter),
    }


def _sram(api: Any, gpu: Any) -> dict[str, int]:
    status = api.c_nvmlEccSramErrorStatus_v1_t()
    api.nvmlDeviceGetSramEccErrorStatus(gpu, ctypes.byref(status))
    return {
        "corrected": status.volatileCor,
        "uncorrected": status.volatileUncParity + status.volatileUncSecDed,
        "uncorrected_total": status.aggregateUncParity + status.aggregateUncSecDed,
        "threshold_exceeded": status.bThresholdExceeded,
    }


def _banks(api: Any, gpu: Any) -> dict[str, int]:
    banks = api.nvmlDeviceGetRowRemapperHistogram(gpu)
    return {name: getattr(banks, name) for name in ("max", "high", "partial", "low", "none")}


def _retired(api: Any, gpu: Any) -> dict[str, int]:
    return {
        "corrected": len(api.nvmlDeviceGetRetiredPages_v2(gpu, 0)),
        "uncorrected": len(api.nvmlDeviceGetRetiredPages_v2(gpu, 1)),
    }


def usable_memory(api: Any, gpu: Any) -> dict[str, int]:
    """Without what the driver reserves, where it tells that apart (from 510 on)."""
    try:
        memory = api.nvmlDeviceGetMemoryInfo(gpu, version=api.nvmlMemory_v2)
    except api.NVMLError as fault:
        if fault.value not in (Code.FUNCTION_NOT_FOUND, Code.NOT_SUPPORTED, Code.ARGUMENT_VERSION_MISMATCH):
            raise
        memory = api.nvmlDeviceGetMemoryInfo(gpu)
    return {"total": memory.total, "used": memory.used}


def _recovery(api: Any, gpu: Any) -> str:
    """Nothing to be done is empty."""
    action = field(api, gpu, _RECOVERY_FIELD)
    return RECOVERY_ACTIONS[action] if action < len(RECOVERY_ACTIONS) else f"action {action}"


def _fabric(api: Any, gpu: Any) -> tuple[str, ...]:
    return nvml_fabric.faults(nvml_fabric.info(api, gpu))


def _violations(api: Any, gpu: Any) -> dict[str, int]:
    """Nanoseconds that each policy has kept the clock down since the driver was loaded; those that the model knows."""
    found = {}
    for policy, name in _POLICIES.items():
        try:
            found[name] = api.nvmlDeviceGetViolationStatus(gpu, policy).violationTime
        except api.NVMLError as fault:
            if fault.value not in (Code.NOT_SUPPORTED, Code.INVALID_ARGUMENT):
                raise
    if not found:
        raise api.NVMLError(Code.NOT_SUPPORTED)
    return found


def _threshold(which: int) -> Callable[[Any, Any], dict[str, float]]:
    return lambda api, gpu: {"celsius": api.nvmlDeviceGetTemperatureThreshold(gpu, which)}


#: Question of ``State`` → how NVML answers it: the parts of its numbers, or what one of its attributes holds.
QUESTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "memory_errors": _ecc(0),
    "memory_errors_lifetime": _ecc(1),
    "cache_errors": _sram,
    "row_remaps": lambda api, gpu: dict(
        zip(("corrected", "uncorrected", "pending", "failure"), api.nvmlDeviceGetRemappedRows(gpu), strict=True)
    ),
    "spare_rows": _banks,
    "retired_pages": _retired,
    "retired_pages_pending": lambda api, gpu: {"pending": api.nvmlDeviceGetRetiredPagesPendingStatus(gpu)},
    "recovery": _recovery,
    "pcie_replays": lambda api, gpu: {"count": api.nvmlDeviceGetPcieReplayCounter(gpu)},
    "pcie_gen_max": lambda api, gpu: {"generation": api.nvmlDeviceGetMaxPcieLinkGeneration(gpu)},
    "pcie_width_max": lambda api, gpu: {"lanes": api.nvmlDeviceGetMaxPcieLinkWidth(gpu)},
    "fabric": _fabric,
    "clock_limit_ns": _violations,
    "slowdown": _threshold(1),
    "shutdown": _threshold(0),
    "memory_slowdown": _threshold(2),
    "power_limit": lambda api, gpu: {"watts": api.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1000},
    "power_default": lambda api, gpu: {"watts": api.nvmlDeviceGetPowerManagementDefaultLimit(gpu) / 1000},
    "memory": usable_memory,
    "links": lambda api, gpu: _links(api, gpu),
    "processes": lambda api, gpu: _processes(api, gpu),
}


def _links(api: Any, gpu: Any) -> tuple[Link, ...]:
    """Those that the model has. Their numbers may have holes: export models have some of the links fused off."""
    links: list[Link] = []
    for number in range(api.NVML_NVLINK_MAX_LINKS):
        try:
            active = bool(api.nvmlDeviceGetNvLinkState(gpu, number))
        except api.NVMLError as fault:
            if fault.value == Code.INVALID_ARGUMENT and number:
                break  # beyond the last one of this generation
            if fault.value != Code.NOT_SUPPORTED:
                raise
            continue
        links.append(Link(number, active, _or_none(api, api.nvmlDeviceGetNvLinkVersion, gpu, number), {}))
    if not links:
        raise api.NVMLError(Code.NOT_SUPPORTED)
    return tuple(Link(k.number, k.active, k.version, _link_errors(api, gpu, k)) for k in links)


def _link_errors(api: Any, gpu: Any, link: Link) -> dict[str, int]:
    """The counters that the link has: those of NVLink 5 have other names and another call."""
    if link.version is not None and link.version >= 5:
        counts = {name: _or_none(api, field, api, gpu, which, link.number) for name, which in _LINK_FIELDS.items()}
    else:
        ask = api.nvmlDeviceGetNvLinkErrorCounter
        counts = {name: _or_none(api, ask, gpu, link.number, which) for name, which in _LINK_COUNTERS.items()}
    return {name: count for name, count in counts.items() if count is not None}


def _or_none(api: Any, call: Callable[..., Any], *args: Any) -> int | None:
    """What the call gives, None where this model cannot say."""
    try:
        return int(call(*args))
    except api.NVMLError as fault:
        if fault.value in (Code.NOT_SUPPORTED, Code.FUNCTION_NOT_FOUND, Code.INVALID_ARGUMENT, Code.NOT_FOUND):
            return None
        raise


def _processes(api: Any, gpu: Any) -> dict[int, Process]:
    try:
        found = api.nvmlDeviceGetComputeRunningProcesses_v3(gpu)
    except api.NVMLError as fault:
        if fault.value != Code.FUNCTION_NOT_FOUND:
            raise
        found = api.nvmlDeviceGetComputeRunningProcesses_v2(gpu)
    return {one.pid: Process(one.pid, one.usedGpuMemory, _name(api, one.pid)) for one in found}


def _name(api: Any, pid: int) -> str:
    """Of a process; it may have ended since, or be hidden from this user."""
    try:
        name = api.nvmlSystemGetProcessName(pid)
    except (api.NVMLError, UnicodeDecodeError):
        return ""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
