"""Whether a GPU is registered with its NVLink fabric, to which domain it belongs, and what the fabric complains of.

Sources: ``nvml.h`` of nvidia-ml-py 13.615 (nvmlGpuFabricInfo_v3_t, NVML_GPU_FABRIC_HEALTH_…);
https://docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide/. Traps: ``status`` means something only where the
registration is complete; a part of ``healthMask`` that is 0 is one that this fabric does not speak of.
"""

from __future__ import annotations

import ctypes
from typing import Any
from uuid import UUID

#: ``nvmlGpuFabricState_t``.
STATES = ("not supported", "not started", "in progress", "completed")
_NOT_SUPPORTED, _COMPLETED = 0, 3
#: Of ``healthMask``: complaint → (shift, width, values that are no fault).
_HEALTH = {
    "degraded bandwidth": (0, 0x3, (0, 2)),
    "route recovery in progress": (2, 0x3, (0, 2)),
    "route unhealthy": (4, 0x3, (0, 2)),
    "access timeout recovery": (6, 0x3, (0, 2)),
    "no partition assigned": (12, 0x3, (0, 1)),
    "fabric manager disconnected": (14, 0x3, (0, 1)),
}
_CONFIGURATION = (8, 0xF, (0, 1))
#: Values of that part which are faults.
MISCONFIGURATIONS = {
    2: "incorrect system GUID",
    3: "incorrect chassis serial number",
    4: "no partition",
    5: "insufficient NVLinks",
    6: "incompatible GPU firmware",
    7: "invalid location",
    8: "invalid GPU state",
}
#: ``healthSummary``.
_UNHEALTHY, _LIMITED_CAPACITY = 2, 3
_VERSION_MISMATCH = 25  # nvml.Code, which imports this module


def info(api: Any, gpu: Any) -> Any:
    """What the driver says of the fabric, in the newest form that both it and pynvml know.

    Raises:
        NVMLError: this GPU has no fabric, or does not say.
    """
    newest = getattr(api, "c_nvmlGpuFabricInfo_v3_t", None)
    for form in (newest, api.c_nvmlGpuFabricInfoV_t) if newest else (api.c_nvmlGpuFabricInfoV_t,):
        found = form()
        try:
            api.nvmlDeviceGetGpuFabricInfoV(gpu, ctypes.byref(found))
        except api.NVMLError as fault:
            if form is api.c_nvmlGpuFabricInfoV_t or fault.value != _VERSION_MISMATCH:
                raise
        else:
            break
    if found.state == _NOT_SUPPORTED:
        raise api.NVMLError(api.NVML_ERROR_NOT_SUPPORTED)
    return found


def faults(found: Any) -> tuple[str, ...]:
    """What is wrong with the registration and with the fabric's health."""
    if found.state != _COMPLETED:
        name = STATES[found.state] if found.state < len(STATES) else f"state {found.state}"
        return (f"registration {name}", *mask_faults(found.healthMask))
    said = [f"status {found.status}"] if found.status else []
    said += mask_faults(found.healthMask)
    summary = getattr(found, "healthSummary", 0)
    if summary == _LIMITED_CAPACITY:
        said.append("limited capacity")
    elif summary == _UNHEALTHY and not said:
        said.append("unhealthy")
    return tuple(said)


def mask_faults(mask: int) -> tuple[str, ...]:
    """What a ``healthMask`` complains of; parts that say "not supported" are no complaint."""
    said = [name for name, (shift, width, good) in _HEALTH.items() if (mask >> shift) & width not in good]
    shift, width, good = _CONFIGURATION
    if (kind := (mask >> shift) & width) not in good:
        said.append(f"incorrect configuration: {MISCONFIGURATIONS.get(kind, f'kind {kind}')}")
    return tuple(said)


def domain(found: Any) -> str:
    """``cluster UUID, clique N`` of a GPU that shares its fabric with those of other nodes; empty where it shares it with none."""
    cluster = bytes(found.clusterUuid)
    if found.state != _COMPLETED or not any(cluster):
        return ""
    return f"cluster {UUID(bytes=cluster)}, clique {found.cliqueId}"
