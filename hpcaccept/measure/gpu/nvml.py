"""What the NVIDIA driver says of the GPUs of this machine. The only place that imports pynvml.

NVML counts GPUs that it cannot open (lost from the bus, hidden by a cgroup): each of them is a ``Gpu`` here too, with a
``state`` that says so. A GPU that does not even appear in NVML's count is known only by comparison with the request.

Traps:
    * NVML ignores ``CUDA_VISIBLE_DEVICES``; ``visible`` applies it.
    * NVML numbers GPUs by PCI bus, CUDA by speed first unless ``CUDA_DEVICE_ORDER=PCI_BUS_ID``: on a node with unlike
      GPUs the two indices differ.
    * A function that an old driver lacks, or that this model does not have, says nothing about the GPU's health.

Sources: https://docs.nvidia.com/deploy/nvml-api/ and ``nvml.h`` (NVIDIA/go-nvml, 2f9e261).
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import replace
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hpcaccept.errors import install_hint
from hpcaccept.measure.gpu import nvml_fabric
from hpcaccept.measure.gpu.driver import DriverMissing, Gpu, NoAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

T = TypeVar("T")


class Code(IntEnum):
    """The values of ``nvmlReturn_t`` that are told apart here."""

    INVALID_ARGUMENT = 2
    NOT_SUPPORTED = 3
    NO_PERMISSION = 4
    NOT_FOUND = 6
    INSUFFICIENT_POWER = 8
    DRIVER_NOT_LOADED = 9
    TIMEOUT = 10
    IRQ_ISSUE = 11
    LIBRARY_NOT_FOUND = 12
    FUNCTION_NOT_FOUND = 13
    CORRUPTED_INFOROM = 14
    GPU_IS_LOST = 15
    RESET_REQUIRED = 16
    OPERATING_SYSTEM = 17
    LIB_RM_VERSION_MISMATCH = 18
    ARGUMENT_VERSION_MISMATCH = 25
    DEPRECATED = 26
    GPU_NOT_FOUND = 28
    UNKNOWN = 999


#: Answers to a single question that leave the GPU above suspicion: this driver, model or user cannot have the answer.
_NO_ANSWER = frozenset(
    {
        Code.NOT_SUPPORTED,
        Code.FUNCTION_NOT_FOUND,
        Code.ARGUMENT_VERSION_MISMATCH,
        Code.DEPRECATED,
        Code.NO_PERMISSION,
        Code.OPERATING_SYSTEM,
    }
)

#: Answers on opening a GPU that somebody else was given: ``OPERATING_SYSTEM`` is "blocked by the operating system/cgroups".
_HIDDEN = (Code.NO_PERMISSION, Code.OPERATING_SYSTEM)

#: Answers that speak of a broken GPU or a driver that has lost control of it. All others (no data, not ready, an argument
#: that an old driver does not know) say that this question cannot be asked here.
_FAULTS = frozenset(
    {
        Code.INSUFFICIENT_POWER,
        Code.TIMEOUT,
        Code.IRQ_ISSUE,
        Code.CORRUPTED_INFOROM,
        Code.GPU_IS_LOST,
        Code.RESET_REQUIRED,
        Code.UNKNOWN,
    }
)

#: ``NVML_CC_SYSTEM_ENVIRONMENT_…``.
_CC_ENVIRONMENTS = {0: "unavailable", 1: "simulated", 2: "production"}

#: Why NVML does not start → (cause, remedy). Container settings: https://github.com/NVIDIA/libnvidia-container
_WHY_MISSING = {
    Code.LIBRARY_NOT_FOUND: (
        "libnvidia-ml.so.1 cannot be loaded: there is no NVIDIA driver, or the container was not given it",
        (
            "Type 'nvidia-smi' on the host. A container needs NVIDIA_VISIBLE_DEVICES=all, "
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility and, under Enroot, libnvidia-container (hook 98-nvidia.sh)."
        ),
    ),
    Code.DRIVER_NOT_LOADED: (
        "the NVIDIA kernel module is not loaded, or it finds no GPU",
        "On the host: 'modprobe nvidia', 'lspci -d 10de:', 'dmesg | grep -iE \"nvrm|xid\"'.",
    ),
    Code.NO_PERMISSION: (
        "this process may not open /dev/nvidiactl",
        "Type 'ls -l /dev/nvidia*', and ask the scheduler for GPUs (--gpus-per-node): its cgroup hides all others.",
    ),
    Code.OPERATING_SYSTEM: (
        "the operating system or a cgroup keeps this process from /dev/nvidiactl",
        "Ask the scheduler for GPUs (--gpus-per-node), or give the container its devices; 'ls -l /dev/nvidia*' shows them.",
    ),
    Code.GPU_NOT_FOUND: (
        "the NVIDIA driver is loaded and finds no GPU",
        "On the host: 'lspci -d 10de:', 'dmesg | grep -iE \"nvrm|xid\"'.",
    ),
    Code.LIB_RM_VERSION_MISMATCH: (
        "libnvidia-ml.so.1 and the loaded kernel module are of different driver versions",
        "The driver was updated under a running node: reboot it, or see /proc/driver/nvidia/version and the image.",
    ),
}


# --- opening ----------------------------------------------------------------------------------------------------------


@contextmanager
def open_nvml() -> Iterator[Nvml]:
    """NVML, until the end of the block.

    Raises:
        DriverMissing: it cannot be started here, with the cause and the remedy.
    """
    try:
        import pynvml
    except ImportError as fault:
        remedy = f"Install hpcaccept with its [rank] extra where the ranks run: {install_hint('rank')}. Or: pip install nvidia-ml-py"
        raise DriverMissing(f"the Python module pynvml is missing: {fault}", remedy) from fault
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as fault:
        raise _missing(fault) from fault
    try:
        yield Nvml(pynvml)
    finally:
        pynvml.nvmlShutdown()


def _missing(fault: Any) -> DriverMissing:
    unknown = (f"NVML does not start: {fault}", "Type 'nvidia-smi' and 'dmesg | grep -iE \"nvrm|xid\"' on the host.")
    return DriverMissing(*_WHY_MISSING.get(fault.value, unknown))


# --- asking -----------------------------------------------------------------------------------------------------------


class Nvml:
    """NVML while it is open; ``open_nvml`` makes and closes it."""

    def __init__(self, api: Any) -> None:
        self._api = api

    def driver(self) -> str | None:
        """Version of the driver, None when it does not say."""
        return self._of_system("nvmlSystemGetDriverVersion", _text)

    def cuda_driver(self) -> str | None:
        """Newest CUDA that the driver runs (``12.4``), None when it does not say."""
        return self._of_system("nvmlSystemGetCudaDriverVersion_v2", cuda_version)

    def confidential_computing(self) -> str | None:
        """``off``, or ``on`` with its kind; None where this driver knows nothing of it."""
        return self._of_system("nvmlSystemGetConfComputeState", self._confidential)

    def _confidential(self, state: Any) -> str:
        api = self._api
        if state.ccFeature != api.NVML_CC_SYSTEM_FEATURE_ENABLED:
            return "off"
        said = ["on", _CC_ENVIRONMENTS.get(state.environment, f"environment {state.environment}")]
        said += ["developer tools on"] if state.devToolsMode == api.NVML_CC_SYSTEM_DEVTOOLS_MODE_ON else []
        ready = self._of_system("nvmlSystemGetConfComputeGpusReadyState", str)
        return ", ".join([*said, *(["the GPUs accept no work"] if ready == "0" else [])])

    def gpus(self, fields: Collection[str] = ()) -> tuple[Gpu, ...]:
        """All GPUs that the driver counts, in its order; none is left out.

        Args:
            fields: the only ones to ask for, where the others would cost more than they are worth; all when empty.

        Raises:
            DriverMissing: the driver cannot even count them.
        """
        try:
            count = self._api.nvmlDeviceGetCount()
        except self._api.NVMLError as fault:
            raise _missing(fault) from fault
        driver = {"driver": self.driver(), "runtime": self.cuda_driver()}
        questions = {field: ask for field, ask in _QUESTIONS.items() if not fields or field in fields}
        return tuple(self._gpu(index, driver, questions) for index in range(count))

    def gpu(self, index: int) -> Gpu:
        """One GPU of that list, with everything known."""
        return self._gpu(index, {"driver": self.driver(), "runtime": self.cuda_driver()}, _QUESTIONS)

    def open(self, gpu: Gpu) -> OpenGpu | NoAnswer:
        """A GPU of this list, to be asked more; or why it cannot be opened."""
        try:
            handle = self._api.nvmlDeviceGetHandleByIndex(gpu.index)
        except self._api.NVMLError as fault:
            return _no_answer(fault)
        return OpenGpu(gpu, self._api, handle)

    def _gpu(self, index: int, driver: dict[str, Any], questions: dict[str, Callable[[Any, Any], Any]]) -> Gpu:
        try:
            handle = self._api.nvmlDeviceGetHandleByIndex(index)
        except self._api.NVMLError as fault:
            state = "hidden" if fault.value in _HIDDEN else _state("", fault)
            return Gpu(index, state, **driver)
        found, unsupported, faults = dict(driver), [], ["ok"]
        for field, ask in questions.items():
            try:
                found[field] = ask(self._api, handle)
            except self._api.NVMLError as fault:
                if fault.value in _NO_ANSWER:
                    unsupported.append(field)
                else:
                    faults.append(_state(f"{_SAID.get(field, field)}: ", fault))
            except AttributeError as fault:
                if fault.obj is not self._api:
                    raise
                unsupported.append(field)  # the installed pynvml is older than the question
            except UnicodeDecodeError as fault:
                faults.append(f"error: {field}: found the bytes {fault.object!r}, expected text")
        state = "lost" if "lost" in faults else faults[-1]
        return Gpu(index, state, unsupported=tuple(unsupported), **found)

    def _of_system(self, function: str, read: Callable[[Any], str]) -> str | None:
        try:
            return read(getattr(self._api, function)())
        except (self._api.NVMLError, AttributeError):  # of an older driver, or an older pynvml
            return None


class OpenGpu:
    """One GPU while NVML is open: it is asked one question at a time, and no question costs another its answer.

    Attributes:
        gpu: as it was listed.
        api: the module ``pynvml``, for its constants and structures.
        handle: NVML's.
    """

    def __init__(self, gpu: Gpu, api: Any, handle: Any) -> None:
        self.gpu = gpu
        self.api = api
        self.handle = handle

    def ask(self, question: Callable[[Any, Any], T]) -> T | NoAnswer:
        """What ``question(api, handle)`` gives, or why it has no answer."""
        try:
            return question(self.api, self.handle)
        except self.api.NVMLError as fault:
            return _no_answer(fault)
        except UnicodeDecodeError as fault:
            return NoAnswer(f"found the bytes {fault.object!r}, expected text")
        except AttributeError as fault:
            if fault.obj is not self.api:
                raise
            return NoAnswer(f"the installed pynvml has no {fault.name}", harmless=True)


def _no_answer(fault: Any) -> NoAnswer:
    return NoAnswer(str(fault), lost=fault.value == Code.GPU_IS_LOST, harmless=fault.value not in _FAULTS)


def _state(where: str, fault: Any) -> str:
    return "lost" if fault.value == Code.GPU_IS_LOST else f"error: {where}{fault}"


def _text(answer: str | bytes) -> str:
    return (answer.decode() if isinstance(answer, bytes) else answer).strip()


def _switch(on: int) -> str:
    return "enabled" if on else "disabled"


def _mode(now: int, pending: int) -> str:
    return _switch(now) if now == pending else f"{_switch(now)}, {_switch(pending)} after a reset"


def cuda_version(number: int) -> str:
    """``12.4`` from NVML's 12040."""
    return f"{number // 1000}.{number % 1000 // 10}"


#: Fields of ``nvmlDeviceGetFieldValues``, and the union member of each ``nvmlValueType_t``.
C2C_LINK_COUNT = 170
_VALUE_TYPES = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")


def field(api: Any, gpu: Any, field_id: int, scope: int = 0) -> int:
    """One field, ``scope`` being the number of a link where there are several."""
    (value,) = api.nvmlDeviceGetFieldValues(gpu, [(field_id, scope)])
    if value.nvmlReturn or value.valueType >= len(_VALUE_TYPES):
        raise api.NVMLError(value.nvmlReturn or Code.NOT_SUPPORTED)
    return int(getattr(value.value, _VALUE_TYPES[value.valueType]))


def _fabric_domain(api: Any, gpu: Any) -> str | None:
    return nvml_fabric.domain(nvml_fabric.info(api, gpu)) or None


def _mig_uuids(api: Any, gpu: Any) -> tuple[str, ...]:
    found = []
    for place in range(api.nvmlDeviceGetMaxMigDeviceCount(gpu)):
        try:
            found.append(_text(api.nvmlDeviceGetUUID(api.nvmlDeviceGetMigDeviceHandleByIndex(gpu, place))))
        except api.NVMLError as fault:
            # Deleted instances leave holes: the next place may hold one again.
            if fault.value != Code.NOT_FOUND:
                raise
    return tuple(found)


#: Field of ``Gpu`` → how pynvml and a handle answer it.
_QUESTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "uuid": lambda api, gpu: _text(api.nvmlDeviceGetUUID(gpu)),
    "name": lambda api, gpu: _text(api.nvmlDeviceGetName(gpu)),
    "pci_bus_id": lambda api, gpu: _text(api.nvmlDeviceGetPciInfo_v3(gpu).busId),
    "serial": lambda api, gpu: _text(api.nvmlDeviceGetSerial(gpu)),
    "vbios": lambda api, gpu: _text(api.nvmlDeviceGetVbiosVersion(gpu)),
    "memory_bytes": lambda api, gpu: int(api.nvmlDeviceGetMemoryInfo(gpu).total),
    "power_limit_w": lambda api, gpu: api.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1000,
    "ecc_mode": lambda api, gpu: _mode(*api.nvmlDeviceGetEccMode(gpu)),
    "partition_mode": lambda api, gpu: _mode(*api.nvmlDeviceGetMigMode(gpu)),
    "partition_uuids": _mig_uuids,
    "persistence": lambda api, gpu: _switch(api.nvmlDeviceGetPersistenceMode(gpu)),
    "pcie_gen_max": lambda api, gpu: int(api.nvmlDeviceGetMaxPcieLinkGeneration(gpu)),
    "pcie_width_max": lambda api, gpu: int(api.nvmlDeviceGetMaxPcieLinkWidth(gpu)),
    "coherent": lambda api, gpu: field(api, gpu, C2C_LINK_COUNT) > 0,
    "numa_node": lambda api, gpu: int(api.nvmlDeviceGetNumaNodeId(gpu)),
    "fabric": _fabric_domain,
}


#: Field of ``Gpu`` → NVIDIA's word for it, where the driver's error is told.
_SAID = {"partition_mode": "mig_mode", "partition_uuids": "mig_uuids"}


# --- a GPU that cannot say who it is ----------------------------------------------------------------------------------

#: One folder for each GPU that the kernel module holds, by its PCI address; a lost one stays there.
#: https://download.nvidia.com/XFree86/Linux-x86_64/550.54.15/README/procinterface.html
KERNEL_GPUS = Path("/proc/driver/nvidia/gpus")


def unclaimed(found: Sequence[Gpu], addresses: Iterable[str]) -> tuple[str, ...]:
    """PCI bus ids that the kernel module holds and none of these GPUs has, as NVML writes them.

    Args:
        found: what NVML counts, each with its ``pci_bus_id`` where it still answers.
        addresses: names in ``KERNEL_GPUS`` (``0000:18:00.0``).
    """
    claimed = {gpu.pci_bus_id.upper() for gpu in found if gpu.pci_bus_id}
    # The kernel writes a domain of four digits, NVML one of eight.
    held = sorted(f"{address.partition(':')[0]:0>8}:{address.partition(':')[2]}".upper() for address in addresses)
    return tuple(address for address in held if address not in claimed)


# --- CUDA_VISIBLE_DEVICES ---------------------------------------------------------------------------------------------


def visible(found: Sequence[Gpu], wanted: str | None) -> tuple[Gpu, ...]:
    """The GPUs behind CUDA's devices 0, 1, 2 … of a process; a GPU stands once for each MIG instance that was named, with that one alone.

    The rules of CUDA: words are indices or (beginnings of) ``GPU-…`` and ``MIG-…`` names; the first word that names
    nothing ends the list; a repeated word empties it. Hidden GPUs have no index: Slurm counts within the job's cgroup.
    A lost GPU keeps its index, so that no other is taken for it; whether CUDA does the same is not documented.
    https://docs.nvidia.com/cuda/cuda-c-programming-guide/#env-vars and ``torch.cuda._parse_visible_devices``

    Args:
        found: what NVML counts, in its order.
        wanted: the value of ``CUDA_VISIBLE_DEVICES``, None where it is not set (then all are visible).
    """
    mine = [gpu for gpu in found if gpu.state != "hidden"]
    if wanted is None:
        return tuple(mine)
    words: list[str] = []
    named: list[Gpu] = []
    for word in wanted.split(","):
        gpu = _named(mine, word.strip())
        if gpu is None:
            break
        if word.strip() in words:
            return ()
        words.append(word.strip())
        named.append(_instance(gpu, word.strip()))
    return tuple(named)


def _instance(gpu: Gpu, word: str) -> Gpu:
    """The GPU with the one instance that a word names; as it is where the word names the whole."""
    if not word.startswith("MIG-"):
        return gpu
    fits = [name for name in gpu.partition_uuids if name.startswith(word)]
    return replace(gpu, partition_uuids=tuple(fits) or (word,))


def _named(mine: list[Gpu], word: str) -> Gpu | None:
    """The GPU of one word; None when there is none or more than one."""
    if number := re.match(r"\d+", word):
        index = int(number[0])
        return mine[index] if index < len(mine) else None
    if old := re.match(r"MIG-(GPU-[^/]+)/\d+/\d+$", word):
        word = old[1]
    if not word.startswith(("GPU-", "MIG-")):
        return None
    fits = [gpu for gpu in mine if any((name or "").startswith(word) for name in (gpu.uuid, *gpu.partition_uuids))]
    return fits[0] if len(fits) == 1 else None
