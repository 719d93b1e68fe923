"""A thread that collects the errors that a driver reports of one GPU, as they come."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from hpcaccept.measure.gpu.driver import NoAnswer

if TYPE_CHECKING:
    from hpcaccept.measure.gpu.driver import ErrorEvent, Events, OpenGpu

#: One wait of the thread, and so the longest time that ending it takes.
_WAIT_S = 0.2
_JOIN_S = 10.0


class Listener:
    """A thread that collects the errors of one GPU from now on.

    Attributes:
        heard: in their order.
        deaf: why none can be heard, or no longer; empty while it listens.
        lost: True when the GPU fell off the bus meanwhile.
    """

    def __init__(self, gpu: OpenGpu) -> None:
        self.heard: list[ErrorEvent] = []
        self.deaf = ""
        self.lost = False
        self._family = gpu.event_family
        self._ended = threading.Event()
        events = gpu.events()
        self._thread = threading.Thread(target=self._run, args=(events,), name="events", daemon=True)
        if isinstance(events, NoAnswer):
            self.deaf, self.lost = f"{self._family} events cannot be had: {events.why}", events.lost
        else:
            self._thread.start()

    def stop(self) -> None:
        """End the thread; what has come until now is heard. Calling it again does nothing."""
        if self._thread.is_alive():
            self._ended.set()
            self._thread.join(_JOIN_S)

    def _run(self, events: Events) -> None:
        while True:
            # Looked at before the wait: what came before the end is still collected.
            last = self._ended.is_set()
            found = events.next(0 if last else _WAIT_S)
            if isinstance(found, NoAnswer):
                self.deaf, self.lost = f"{self._family} events ended: {found.why}", found.lost
                break
            if found is not None:
                self.heard.append(found)
            elif last:
                break
        events.close()
