"""What the stop rules go by. Kept in a file between two looks, so that no restart of the timer forgets it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Looked:
    """When somebody looked last.

    Attributes:
        at: wall clock, seconds since the epoch.
        boot: which boot of which machine.
        boottime_s: of that boot's own clock, which nobody sets.
    """

    at: float
    boot: str
    boottime_s: float


@dataclass(frozen=True)
class Readings:
    """Of one file with a metric.

    Attributes:
        offset: bytes that were read.
        count: readings so far.
        step: of the last one.
        value: of the last one.
        best: value.
        best_step: of it.
    """

    offset: int = 0
    count: int = 0
    step: float = 0.0
    value: float | None = None
    best: float | None = None
    best_step: float = 0.0


@dataclass(frozen=True)
class Progress:
    """Of a run, over all of its attempts.

    Attributes:
        looked: last.
        attempt: that was looked at.
        ran_s: running time, pauses left out.
        usd: of the attempt that runs, by our clock or the account's charges.
        metric: readings.
        idle_s: for so long no GPU was used.
        gpu_seen: utilisation was read at all.
        gpu_offset: bytes of ``gpu.log`` that were read.
        silent_s: for so long its machine has not answered.
        seen: what the last look found.
        fetched: when results came last, seconds since the epoch.
        fault: that the last look ended with.
        note: what could not be judged or fetched; empty: nothing.
    """

    looked: Looked | None = None
    attempt: int = 0
    ran_s: float = 0.0
    usd: float = 0.0
    metric: Readings = Readings()
    idle_s: float = 0.0
    gpu_seen: bool = False
    gpu_offset: int = 0
    silent_s: float = 0.0
    seen: str = ""
    fetched: float = 0.0
    fault: str = ""
    note: str = ""
