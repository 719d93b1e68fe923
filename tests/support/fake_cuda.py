"""A GPU that computes nothing: torch's fake tensors on device ``cuda``, and a CUDA runtime that keeps its contracts.

Fake tensors know device, type, shape and strides of everything and refuse what torch would refuse: a mix of devices, a
wrong type, a shape that does not fit, a layout that ``_scaled_mm`` does not take. Values do not exist: a number read from
the device is 0 (False), so that a count of wrong elements is 0 and nothing is proved by it.

``torch.cuda``'s few functions behind ``hpcaccept.measure.device`` are replaced by ones that keep what CUDA promises: time
passes on the device only with the operations that were given to it; an event has a time only after it was recorded, and
two of them a difference only after the later one was waited for; a device that does not exist is an error.
"""

from __future__ import annotations

import contextlib
import types
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

#: Seconds that every operation takes here.
OPERATION_S = 0.01
MODEL = "NVIDIA H100 80GB HBM3"
_ATEN = torch.ops.aten


@dataclass
class Runtime:
    """The GPUs of a node, as ``torch.cuda`` shows them.

    Attributes:
        gpus: how many.
        total_bytes: memory of each.
        taken_bytes: of that, held by others.
        now_s: the device's clock.
        current: index of the current device.
        largest_bytes: operation → bytes of the largest tensor that it made or changed on a GPU.
        emptied: how often the cache was emptied.
        synchronized: how often somebody waited for the device.
        operations: name → how often it was given to the device.
        used: devices on which anything was made or changed.
        contexts: devices on which the process has opened a context: those, and where host memory was pinned.
        held_s: seconds that devices were held back while calls were queued.
        archs: what torch was built for.
        capability: of the GPUs.
    """

    gpus: int = 8
    total_bytes: int = 80 << 30
    taken_bytes: int = 1 << 30
    now_s: float = 0.0
    current: int = 0
    largest_bytes: dict[str, int] = field(default_factory=dict)
    emptied: int = 0
    synchronized: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    used: set[str] = field(default_factory=set)
    contexts: set[str] = field(default_factory=set)
    held_s: float = 0.0
    archs: tuple[str, ...] = ("sm_80", "sm_90", "compute_90")
    capability: tuple[int, int] = (9, 0)

    def index(self, device: Any) -> int:
        """Number of a device. Raises RuntimeError where CUDA has no such device."""
        found = torch.device(device).index if not isinstance(device, int) else device
        found = self.current if found is None else found
        if not 0 <= found < self.gpus:
            raise RuntimeError(f"CUDA error: invalid device ordinal {found}")
        return found

    def done(self, name: str, result: Any) -> None:
        """An operation was given to the device."""
        self.now_s += OPERATION_S
        self.operations[name] += 1
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.device.type == "cuda":
                size_bytes = tensor.numel() * tensor.element_size()
                self.largest_bytes[name] = max(self.largest_bytes.get(name, 0), size_bytes)
                self.used.add(str(tensor.device))
                self.contexts.add(str(tensor.device))


class Operations(TorchDispatchMode):  # type: ignore[misc]  # torch has no types here
    """Sees every operation on fake tensors, and answers those that need a value."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self.runtime = runtime

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if kwargs.get("pin_memory"):
            self.runtime.contexts.add(f"cuda:{self.runtime.current}")
        if func is _ATEN._local_scalar_dense.default:  # a number that is read from the device
            return 0.0 if args[0].is_floating_point() else 0
        if func is _ATEN.equal.default:
            return True
        if func is _ATEN._scaled_mm.out:
            # Torch has no fake kernel for the form with out=: the other one, and what out= must be.
            out = kwargs.pop("out")
            result = _ATEN._scaled_mm.default(*args, **kwargs)
            same = (result.shape, result.dtype, result.device) == (out.shape, out.dtype, out.device)
            if not same:
                raise RuntimeError(f"_scaled_mm gives {result}, out= is {out}")
            self.runtime.done(_name(func), out)
            return out
        result = func(*args, **kwargs)
        if func.namespace != "prim":  # a question about a tensor, not work
            self.runtime.done(_name(func), result)
        return result


def _name(func: Any) -> str:
    """``mm`` of ``aten.mm.out``."""
    return str(func).split(".")[1]


class Event:
    """``torch.cuda.Event``."""

    def __init__(self, runtime: Runtime, enable_timing: bool) -> None:
        self.runtime, self.timing = runtime, enable_timing
        self.at_s: float | None = None
        self.waited = False

    def record(self, _stream: Any = None) -> None:
        self.at_s, self.waited = self.runtime.now_s, False

    def synchronize(self) -> None:
        if self.at_s is None:
            raise RuntimeError("CUDA error: an event that was never recorded is waited for")
        self.runtime.synchronized += 1
        self.waited = True

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds."""
        if not (self.timing and end.timing):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if self.at_s is None or end.at_s is None:
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        if not end.waited:
            raise RuntimeError("CUDA error: device not ready")
        return (end.at_s - self.at_s) * 1e3


class Stream:
    """``torch.cuda.Stream``: a queue of one device; here only order and ownership."""

    def __init__(self, runtime: Runtime, device: Any) -> None:
        self.device = torch.device("cuda", runtime.index(device))
        self.waits_for: list[Stream] = []

    def wait_stream(self, other: Stream) -> None:
        self.waits_for.append(other)

    def wait_event(self, event: Event) -> None:
        if event.at_s is None:
            raise RuntimeError("CUDA error: an event that was never recorded is waited for")


@contextlib.contextmanager
def fake_cuda(monkeypatch: pytest.MonkeyPatch, **node: Any) -> Iterator[Runtime]:
    """Fake tensors and a fake ``torch.cuda`` while it is open."""
    runtime = Runtime(**node)
    # First the mode: where CUDA is absent it replaces torch's device guard by one that does nothing.
    with FakeTensorMode(allow_non_fake_inputs=True):
        _install(monkeypatch, runtime)
        with Operations(runtime):
            yield runtime


def _install(monkeypatch: pytest.MonkeyPatch, runtime: Runtime) -> None:
    @contextlib.contextmanager
    def device(name: Any) -> Iterator[None]:
        before, runtime.current = runtime.current, runtime.index(name)
        yield
        runtime.current = before

    @contextlib.contextmanager
    def stream(of: Stream) -> Iterator[None]:
        with device(of.device):
            yield

    def synchronize(name: Any = None) -> None:
        runtime.index(name if name is not None else runtime.current)
        runtime.synchronized += 1

    def empty_cache() -> None:
        runtime.emptied += 1

    def properties(name: Any) -> Any:
        runtime.index(name)
        return types.SimpleNamespace(L2_cache_size=50 << 20, name=MODEL, total_memory=runtime.total_bytes)

    def set_device(name: Any) -> None:
        runtime.current = runtime.index(name)

    def sleep(cycles: int) -> None:
        if cycles < 0:
            raise ValueError(f"_sleep takes a number of cycles, found {cycles}")
        runtime.contexts.add(f"cuda:{runtime.current}")
        runtime.held_s += cycles / 2e9
        runtime.now_s += cycles / 2e9

    def reaches(one: Any, other: Any) -> bool:
        if runtime.index(one) == runtime.index(other):
            raise AssertionError("asked whether a GPU reaches itself")
        return True

    functions = {
        "Event": lambda enable_timing=False: Event(runtime, enable_timing),
        "Stream": lambda device=None, **_: Stream(runtime, runtime.current if device is None else device),
        "can_device_access_peer": reaches,
        "current_stream": lambda device=None: Stream(runtime, runtime.current if device is None else device),
        "device": device,
        "device_count": lambda: runtime.gpus,
        "empty_cache": empty_cache,
        "_sleep": sleep,
        "get_arch_list": lambda: list(runtime.archs),
        "get_device_capability": lambda device=None: (runtime.index(device), runtime.capability)[1],
        "get_device_name": lambda device=None: properties(device).name,
        "get_device_properties": properties,
        "is_bf16_supported": lambda **_: True,
        "mem_get_info": lambda device=None: (
            runtime.total_bytes - runtime.taken_bytes - runtime.index(device) * 0,
            runtime.total_bytes,
        ),
        "set_device": set_device,
        "stream": stream,
        "synchronize": synchronize,
    }
    for name, function in functions.items():
        monkeypatch.setattr(torch.cuda, name, function)
    monkeypatch.setattr(torch.cuda.nccl, "version", lambda: (2, 28, 3))
    # Not is_available: fake tensors with a known value would then be put on the real device.
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
