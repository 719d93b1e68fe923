"""Which errors did the NVIDIA driver report (Xid), and what does each say of the GPU?

The classes stand in ``xid.toml``. NVML hands Xids on as they come, to whoever registered before; the kernel's log has
those of before as well. NVML gives 999 for an Xid that it does not know itself.
"""

from __future__ import annotations

import functools
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
        """The next Xid; None when none came in time."""
        code = self._gpu.ask(functools.partial(_wait, events=self._events, timeout_ms=round(timeout_s * 1000)))
        return meaning(code) if isinstance(code, int) else code

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


def _wait(api: Any, _gpu: Any, events: Any, timeout_ms: int) -> int | None:
    """The next Xid, None when none came in time."""
    try:
        return int(api.nvmlEventSetWait_v2(events, timeout_ms).eventData)
    except api.NVMLError as fault:
        if fault.value != Code.TIMEOUT:
            raise
        return None
