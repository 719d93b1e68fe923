"""The device that is measured, and how work on it is timed.

The only place that touches ``torch.cuda``. A check asks ``open_device`` for a ``cpu`` or a ``cuda:3`` and then uses the
same few methods on both. Traps: work on a GPU is only queued when a call returns, so a host clock around it measures
the queue; and one CUDA error poisons the process, so it must never be mistaken for "this device cannot do that".
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from hpcaccept.measure.host import host

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    Call = Callable[[], object]

Fp32 = Literal["ieee", "tf32"]

#: What the rank program sets before torch makes a CUDA context, so that cuBLAS gives the same bits on every run.
#: https://docs.nvidia.com/cuda/cublas/#results-reproducibility
ENVIRONMENT = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}

#: Fewest and most calls that are held back until all of them are queued, and how long queuing one may take. Fewer calls are
#: long ones, whose launch is nothing beside them; CUDA queues about 1024 launches and then makes the host wait, and a
#: collective is up to three of them. A collective through torch takes 10 to 30 µs to queue.
_FEWEST_HELD, _MOST_HELD, _HELD_S = 16, 300, 40e-6
#: Clock of a GPU at which a hold is at least as long as it should be.
_SPIN_HZ = 2e9
#: Newest generation of code, by compute capability, that PyTorch's builds for CUDA 12.6 still hold and later ones do not.
_LAST_OF_OLD = (7, 2)

#: cuBLAS's way to say "this part has no such product": an honest no, not a broken device.
_HONEST_NO = ("CUBLAS_STATUS_NOT_SUPPORTED", "CUBLAS_STATUS_ARCH_MISMATCH")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


class Device(Protocol):
    """One processor that torch can compute on."""

    @property
    def name(self) -> str:
        """What torch is given: ``cuda:3`` or ``cpu``."""

    @property
    def kind(self) -> Literal["cuda", "cpu"]:
        """Which defaults of a check apply."""

    def select(self) -> None:
        """Make it the current device of this process."""

    def synchronize(self) -> None:
        """Wait until all queued work is done."""

    def time_block(self, call: Call, count: int) -> float:
        """Seconds that ``count`` calls in a row took on the device."""

    def time_calls(self, call: Call, count: int) -> list[float]:
        """Seconds per call: one figure for each call on a CPU; on a GPU their mean, as nccl-tests reports it."""

    def mark(self) -> Any:
        """A moment in the work queued so far; waits for nothing, also inside a hook of autograd."""

    def seconds_between(self, first: Any, last: Any) -> float:
        """Seconds from one ``mark`` to a later one on the device's own clock; waits for the later one."""

    def fp32_as(self, precision: Fp32) -> AbstractContextManager[None]:
        """While open, float32 products and convolutions are done in this precision and no other."""

    def has_tf32(self) -> bool:
        """True when TF32 products exist here. Where they do not, asking for them silently gives fp32."""

    def model(self) -> str:
        """What must be alike for two devices to give the same bits."""

    def cache_bytes(self) -> int:
        """Size of the last level cache, 0 when it is not known."""

    def free_bytes(self) -> int:
        """Memory of the device that nobody holds, as the driver (of a CPU: the kernel and the cgroup) gives it."""

    def give_back(self) -> None:
        """Return what torch keeps for later without using it: other programs, and ``free_bytes``, can have it."""

    def collectives(self) -> str:
        """The library behind ``torch.distributed`` and its version, as far as it says."""

    def host_buffer(self, length: int) -> Any:
        """int64[length] in host memory from which this device copies at full speed (pinned, for a GPU); any content."""

    def side_by_side(self, calls: Sequence[Call], others: Sequence[str] = ()) -> Call:
        """One call that does all of these at the same time, each in a queue of its own, and waits for the last.

        ``others``: further devices that the calls work on.
        """

    def reaches(self, other: str) -> bool:
        """True when it can read and write the other device's memory itself, without the host."""


@dataclass(frozen=True)
class Cpu:
    """The processor cores of this rank.

    Attributes:
        clock: seconds from any start; tests put in their own.
    """

    clock: Callable[[], float] = time.perf_counter
    name: str = "cpu"
    kind: Literal["cuda", "cpu"] = "cpu"

    def select(self) -> None:
        """There is only one."""

    def synchronize(self) -> None:
        """Nothing is queued on a CPU: a call that returned is done."""

    def time_block(self, call: Call, count: int) -> float:
        """By the clock, around a loop that does nothing else."""
        start = self.clock()
        for _ in repeat(None, count):
            call()
        return self.clock() - start

    def time_calls(self, call: Call, count: int) -> list[float]:
        """By the clock, call by call. Spelled out: a function call in between would be 0.5 % of the smallest product."""
        clock, figures = self.clock, []
        for _ in repeat(None, count):
            start = clock()
            call()
            figures.append(clock() - start)
        return figures

    def mark(self) -> Any:
        """By the clock: a call that returned is done."""
        return self.clock()

    def seconds_between(self, first: Any, last: Any) -> float:
        """Their difference."""
        return float(last - first)

    def fp32_as(self, precision: Fp32) -> AbstractContextManager[None]:
        """Of oneDNN: its settings also know ``bf16``, which would be faster and wrong."""
        if precision != "ieee":
            raise ValueError(f"found precision {precision!r}, a CPU has only 'ieee'")
        return _precision("mkldnn", "mkldnn", precision)

    def has_tf32(self) -> bool:
        """No CPU is asked for it."""
        return False

    def model(self) -> str:
        """The processor's model name and the instruction set that torch picked for it."""
        import torch

        return f"{_cpu_model()}, {torch.backends.cpu.get_cpu_capability()}"

    def cache_bytes(self) -> int:
        """Of the largest cache that core 0 can see, as the kernel says."""
        return max((host.parse_cache_size(f.read_text()) for f in _CACHES.glob("index*/size")), default=0)

    def free_bytes(self) -> int:
        """What can be had without swapping, at most the limit of the cgroup."""
        import psutil

        limit = host.memory_limit_bytes()
        available = int(psutil.virtual_memory().available)
        return available if limit is None else min(available, limit)

    def give_back(self) -> None:
        """Torch keeps no host memory."""

    def collectives(self) -> str:
        """Gloo, which comes with torch and has no version of its own."""
        import torch

        return f"gloo of torch {torch.__version__}"

    def host_buffer(self, length: int) -> Any:
        """Plain memory: nothing has to be pinned for a copy by the processor."""
        import torch

        return torch.empty(length, dtype=torch.int64)

    def side_by_side(self, calls: Sequence[Call], others: Sequence[str] = ()) -> Call:
        """One after the other: a CPU has no queues, and its threads share each call already."""

        def call() -> None:
            for one in calls:
                one()

        return call

    def reaches(self, other: str) -> bool:
        """All host memory is one."""
        return other == "cpu"


@dataclass(frozen=True)
class Cuda:
    """One NVIDIA GPU."""

    name: str
    kind: Literal["cuda", "cpu"] = "cuda"

    def select(self) -> None:
        """NCCL and DDP take the current device."""
        import torch

        torch.cuda.set_device(self.name)

    def synchronize(self) -> None:
        """Wait for this GPU only."""
        import torch

        torch.cuda.synchronize(self.name)

    def time_block(self, call: Call, count: int) -> float:
        """By two events on the GPU's own clock (0.5 µs), so that neither launch nor waiting is counted."""
        import torch

        with torch.cuda.device(self.name):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            for _ in repeat(None, count):
                call()
            end.record()
            end.synchronize()
        return float(start.elapsed_time(end)) / 1e3

    def time_calls(self, call: Call, count: int) -> list[float]:
        """The mean of calls queued back to back: an event between two calls would cost as much as a small call.

        The GPU is held until a row of them is queued, so that a call shorter than its launch (some 10 µs) is timed by what
        the GPU does and not by how fast Python queues. Behind the hold one call is not timed: holds of several GPUs end at
        different moments, and a collective that waits for the last of them must not be in the figure.
        """
        if count < _FEWEST_HELD:
            return [self.time_block(call, count) / count]
        spent_s, left = 0.0, count
        while left:
            row = min(left, _MOST_HELD)
            self._hold(row + 1)
            call()
            spent_s += self.time_block(call, row)
            left -= row
        return [spent_s / count]

    def _hold(self, calls: int) -> None:
        """Keep the GPU busy for as long as it takes to queue so many calls."""
        import torch

        with torch.cuda.device(self.name):
            torch.cuda._sleep(round(calls * _HELD_S * _SPIN_HZ))

    def mark(self) -> Any:
        """An event in the current stream, which in a hook of autograd is that of the backward pass."""
        import torch

        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.name))
        return event

    def seconds_between(self, first: Any, last: Any) -> float:
        """By the GPU's clock (0.5 µs)."""
        last.synchronize()
        return float(first.elapsed_time(last)) / 1e3

    def fp32_as(self, precision: Fp32) -> AbstractContextManager[None]:
        """Of cuBLAS's products and cuDNN's convolutions, which torch does in TF32 unless it is told otherwise."""
        return _precision("cuda", "cudnn", precision)

    def has_tf32(self) -> bool:
        """From compute capability 8.0 (Ampere)."""
        import torch

        return bool(torch.cuda.get_device_capability(self.name) >= (8, 0))

    def model(self) -> str:
        """The name of the part and the CUDA that torch was built for."""
        import torch

        return f"{torch.cuda.get_device_name(self.name)}, CUDA {torch.version.cuda}"

    def cache_bytes(self) -> int:
        """The L2 cache."""
        import torch

        return int(torch.cuda.get_device_properties(self.name).L2_cache_size)

    def free_bytes(self) -> int:
        """By the driver (``cudaMemGetInfo``): torch's own counters know nothing of other processes."""
        import torch

        return int(torch.cuda.mem_get_info(self.name)[0])

    def give_back(self) -> None:
        """Empty torch's cache of freed blocks."""
        import torch

        torch.cuda.empty_cache()

    def collectives(self) -> str:
        """The NCCL that torch loaded."""
        import torch

        return "NCCL " + ".".join(str(part) for part in torch.cuda.nccl.version())

    def host_buffer(self, length: int) -> Any:
        """Pinned: a copy from or to pageable memory goes through a small buffer of the driver and is not asynchronous.

        Pinning belongs to the current device, and opens a context on it: of GPU 0 on every rank, were it not this one.
        """
        import torch

        with torch.cuda.device(self.name):
            return torch.empty(length, dtype=torch.int64, pin_memory=True)

    def side_by_side(self, calls: Sequence[Call], others: Sequence[str] = ()) -> Call:
        """Each call on streams of its own, that begin after what is queued now and that this stream waits for.

        A stream on every device involved: a copy between two GPUs takes part in the current streams of both, so that
        two of them on the default streams would wait for each other.
        """
        import torch

        lanes = [[torch.cuda.Stream(device) for device in (*others, self.name)] for _ in calls]

        def call() -> None:
            here = torch.cuda.current_stream(self.name)
            for lane, one in zip(lanes, calls, strict=True):
                with contextlib.ExitStack() as current:
                    for stream in lane:
                        stream.wait_stream(here)
                        current.enter_context(torch.cuda.stream(stream))
                    one()
            for stream in (stream for lane in lanes for stream in lane):
                here.wait_stream(stream)

        return call

    def reaches(self, other: str) -> bool:
        """As CUDA says: over NVLink, or over PCIe where topology and IOMMU allow it."""
        import torch

        return bool(torch.cuda.can_device_access_peer(self.name, other))


def open_device(name: str) -> Device:
    """The device that torch calls ``name``.

    Raises:
        ValueError: it is neither ``cpu`` nor ``cuda`` with an index.
    """
    if name == "cpu":
        return Cpu()
    if name.partition(":")[0] == "cuda":
        return Cuda(name)
    raise ValueError(f"found device {name!r}, expected 'cpu' or 'cuda:<index>'")


def visible() -> int:
    """GPUs that this process may use: what ``CUDA_VISIBLE_DEVICES`` and the cgroup left it; 0 without CUDA."""
    import torch

    return int(torch.cuda.device_count())


def lacks_code(name: str) -> tuple[str, str]:
    """Why this torch cannot compute on a GPU, and what to do about it; empty where it can.

    Code for ``sm_86`` runs on GPUs of the same generation from 8.6 on, ``sm_90a`` on just that one, ``sm_100f`` on a family;
    ``compute_90`` is compiled at first use on all GPUs from 9.0 on.
    https://docs.nvidia.com/cuda/cuda-c-programming-guide/#application-compatibility

    Args:
        name: what torch is given: ``cuda:3``.
    """
    import torch

    found = [
        match for arch in torch.cuda.get_arch_list() if (match := re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", arch))
    ]
    mine = torch.cuda.get_device_capability(name)
    if not found or any(_runs(match, mine) for match in found):
        return "", ""
    has = ", ".join(match[0] for match in found)
    cause = (
        f"torch {torch.__version__} has no code for this GPU: {torch.cuda.get_device_name(name)} is sm_{mine[0]}{mine[1]}, "
        f"torch was built for {has}"
    )
    if mine <= _LAST_OF_OLD:
        return cause, (
            "Install PyTorch's build for CUDA 12.6 (cu126), the last one with code for GPUs before Turing, "
            "or an image that has it."
        )
    return cause, "Install a torch that was built for this GPU, or an image that has it: a newer one, for a newer CUDA."


def _runs(code: re.Match[str], mine: tuple[int, int]) -> bool:
    kind, built, only = code[1], (int(code[2]), int(code[3])), code[4]
    if only == "a":
        return built == mine
    if kind == "compute" and not only:
        return built <= mine
    return built[0] == mine[0] and built <= mine


def is_fault(error: BaseException) -> bool:
    """True when an error of torch speaks of a broken or full device, not of an operation that does not exist."""
    import torch

    faults = (torch.OutOfMemoryError, getattr(torch, "AcceleratorError", torch.OutOfMemoryError))
    text = str(error)
    return isinstance(error, faults) or ("CUDA error" in text and not any(no in text for no in _HONEST_NO))


@contextlib.contextmanager
def repeatable() -> Iterator[None]:
    """While open, torch refuses every operation that may give other bits when it is run again.

    cuBLAS reads ``ENVIRONMENT`` when it is first used; setting it here only helps if that was not yet.
    https://docs.pytorch.org/docs/stable/notes/randomness.html
    """
    import torch

    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    before, benchmark = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms would import torch's compiler first: 2 s
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
        torch.backends.cudnn.benchmark = benchmark


@contextlib.contextmanager
def _precision(products: str, convolutions: str, precision: Fp32) -> Iterator[None]:
    """Of products, convolutions and recurrences, by the names of their modules in ``torch.backends``.

    Torch ≥ 2.9 has ``fp32_precision`` beside the older ``allow_tf32``. Whoever sets one only makes reading the other raise,
    and torch itself reads both (``torch.backends.cudnn.flags``, its compiler); convolutions and recurrences that differ
    raise as well. So all of them are set, the older ones first: they reset the newer.
    """
    import torch

    backends: Any = torch.backends
    matmul = getattr(getattr(backends, products), "matmul", None)
    old = [(matmul, "allow_tf32"), (backends.cudnn, "allow_tf32")] if products == "cuda" else []
    if not hasattr(matmul, "fp32_precision"):  # on a CPU there is no switch then, and IEEE is all it does
        with _switched([(*switch, precision == "tf32", getattr(*switch)) for switch in old]):
            yield
        return
    parts = [getattr(getattr(backends, convolutions), name) for name in ("conv", "rnn")]
    before = [part.fp32_precision for part in (matmul, *parts)]
    older = [(*switch, precision == "tf32", was == "tf32") for switch, was in zip(old, before[:2], strict=False)]
    newer = [(part, "fp32_precision", precision, was) for part, was in zip((matmul, *parts), before, strict=True)]
    with _switched([*older, *newer]):
        yield


@contextlib.contextmanager
def _switched(switches: Sequence[tuple[Any, str, object, object]]) -> Iterator[None]:
    """Attributes as they should be while open: object, name, value, and the value of before."""
    for thing, name, value, _ in switches:
        setattr(thing, name, value)
    try:
        yield
    finally:
        for thing, name, _, was in switches:
            setattr(thing, name, was)


def _cpu_model() -> str:
    """Name and stepping of the processor, and a short digest of its instruction sets: virtual machines hide the name.

    ARM kernels give numbers instead of names, which do as well.
    """
    import hashlib  # 5 ms that a rank without torch does not need

    lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    said = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    words = [said[key] for key in ("model name", "CPU implementer", "CPU part", "stepping") if key in said]
    flags = said.get("flags", said.get("Features", ""))
    return " ".join([*words, hashlib.blake2b(flags.encode(), digest_size=4).hexdigest()])
