"""Time by clocks that people set and by one that nobody sets."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hpcaccept.model.schedule.progress import Looked


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def _boottime_s() -> float:
    # Unlike CLOCK_MONOTONIC it counts the time that a laptop sleeps, for which a rented machine is paid.
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Clock:
    """Clocks of this machine; tests have others.

    Attributes:
        wall: seconds since the epoch.
        boottime_s: since this boot.
        boot: which boot it is.
        sleep: waits for seconds.
    """

    wall: Callable[[], float] = time.time
    boottime_s: Callable[[], float] = _boottime_s
    boot: Callable[[], str] = _boot
    sleep: Callable[[float], None] = time.sleep

    def now(self) -> dt.datetime:
        """UTC."""
        return dt.datetime.fromtimestamp(self.wall(), dt.timezone.utc)

    def look(self) -> Looked:
        """All of them at this moment."""
        return Looked(self.wall(), self.boot(), self.boottime_s())
