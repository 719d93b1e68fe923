"""Which errors did the NVIDIA driver report (Xid), and what does each say of the GPU?

The classes stand in ``xid.toml``. NVML hands Xids on as they come, to whoever registered before; the kernel's log has
those of before as well. NVML gives 999 for an Xid that it does not know itself.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from hpcaccept.config.toml import read_toml
from hpcaccept.measure.gpu.nvml import Code, NoAnswer

if TYPE_CHECKING:
    from hpcaccept.measure.gpu.nvml import OpenGpu

Class = Literal["fault", "watch", "application", "ignored", "unknown"]
TABLE = Path(__file__).with_name("xid.toml")
#: One wait of the thread, and so the longest time that ending it takes.
_WAIT_MS = 200
_JOIN_S = 10.0


@dataclass(frozen=True)
class Xid:
    """What one number means.

    Attributes:
        code: the number.
        kind: its class; ``unknown`` when no class holds it.
        name: what happened.
    """

    code: int
    kind: Class
    name: str

    def __str__(self) -> str:
        return f"Xid {self.code} ({self.name})"


@functools.cache
def _known() -> dict[int, Xid]:
    tables = read_toml(TABLE)
    return {
        int(code): Xid(int(code), cast("Class", kind), name)
        for kind, table in tables.items()
        for code, name in table["codes"].items()
    }


def meaning(code: int) -> Xid:
    """What an Xid says of the GPU."""
    return _known().get(code) or Xid(code, "unknown", f"not in {TABLE.name}")


class Listener:
    """A thread that collects the Xids of one GPU from now on.

    Attributes:
        codes: in their order.
        deaf: why none can be heard, or no longer; empty while it listens.
        lost: True when the GPU fell off the bus meanwhile.
    """

    def __init__(self, gpu: OpenGpu) -> None:
        self.codes: list[int] = []
        self.deaf = ""
        self.lost = False
        self._gpu = gpu
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="xid", daemon=True)
        self._events = gpu.ask(_register)
        if isinstance(self._events, NoAnswer):
            self.deaf, self.lost = f"Xid events cannot be had: {self._events.why}", self._events.lost
        else:
            self._thread.start()

    def stop(self) -> None:
        """End the thread; what has come until now is heard. Calling it again does nothing."""
        if self._thread.is_alive():
            self._ended.set()
            self._thread.join(_JOIN_S)

    def _run(self) -> None:
        while True:
            # Looked at before the wait: what came before the end is still collected.
            last = self._ended.is_set()
            found = self._gpu.ask(functools.partial(_wait, events=self._events, timeout_ms=0 if last else _WAIT_MS))
            if isinstance(found, NoAnswer):
                self.deaf, self.lost = f"Xid events ended: {found.why}", found.lost
                break
            if found is not None:
                self.codes.append(found)
            elif last:
                break
        self._gpu.ask(lambda api, _: api.nvmlEventSetFree(self._events))


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
