"""The errors that the NVIDIA driver reports (Xid), and what each says of the GPU.

The classes stand in ``xid.toml``. NVML hands Xids on as they come, to whoever registered before; the kernel's log has
those of before as well. NVML gives 999 for an Xid that it does not know itself.
"""

from __future__ import annotations

import ctypes
import functools
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hpcaccept.config.toml import read_toml
from hpcaccept.measure.gpu.driver import ErrorEvent, NoAnswer
from hpcaccept.measure.gpu.nvml import Code

if TYPE_CHECKING:
    from hpcaccept.measure.gpu.driver import Severity
    from hpcaccept.measure.gpu.nvml import OpenGpu

TABLE = Path(__file__).with_name("xid.toml")
_FAMILY = "Xid"


@functools.cache
def _known() -> dict[int, ErrorEvent]:
    tables = read_toml(TABLE)
    return {
        int(code): ErrorEvent(int(code), cast("Severity", kind), name, _FAMILY)
        for kind, table in tables.items()
        for code, name in table["codes"].items()
    }


def meaning(code: int) -> ErrorEvent:
    """What an Xid says of the GPU."""
    return _known().get(code) or ErrorEvent(code, "unknown", f"not in {TABLE.name}", _FAMILY)


class XidEvents:
    """The Xids of one GPU since ``listen``."""

    def __init__(self, gpu: OpenGpu, events: Any) -> None:
        self._gpu = gpu
        self._events = events

    def next(self, timeout_s: float) -> ErrorEvent | NoAnswer | None:
        """The next Xid of this GPU; None when none came in time."""
        until = time.monotonic() + timeout_s
        while True:
            wait_ms = max(0, round((until - time.monotonic()) * 1000))
            found = self._gpu.ask(functools.partial(_wait, events=self._events, timeout_ms=wait_ms))
            if found is None or isinstance(found, NoAnswer):
                return found
            code, mine = found
            if mine:
                return meaning(code)

    def close(self) -> None:
        """Listen no more."""
        self._gpu.ask(lambda api, _: api.nvmlEventSetFree(self._events))


def listen(gpu: OpenGpu) -> XidEvents | NoAnswer:
    """Begin to collect the Xids of one GPU, or why that cannot be."""
    events = gpu.ask(_register)
    return events if isinstance(events, NoAnswer) else XidEvents(gpu, events)


def _register(api: Any, gpu: Any) -> Any:
    events = api.nvmlEventSetCreate()
    try:
        api.nvmlDeviceRegisterEvents(gpu, api.nvmlEventTypeXidCriticalError, events)
    except api.NVMLError:
        api.nvmlEventSetFree(events)
        raise
    return events


def _wait(api: Any, gpu: Any, events: Any, timeout_ms: int) -> tuple[int, bool] | None:
    """The next Xid and whether it is of this GPU, None when none came in time."""
    try:
        event = api.nvmlEventSetWait_v2(events, timeout_ms)
    except api.NVMLError as fault:
        if fault.value != Code.TIMEOUT:
            raise
        return None
    return int(event.eventData), _same(api, event.device, gpu)


def _same(api: Any, one: Any, other: Any) -> bool:
    """Whether two handles are of one GPU. A GPU that cannot say so any more is taken for the one that was listened to."""
    if _address(one) == _address(other):
        return True
    try:
        return bool(api.nvmlDeviceGetPciInfo_v3(one).busId == api.nvmlDeviceGetPciInfo_v3(other).busId)
    except api.NVMLError:
        return True


def _address(handle: Any) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value
