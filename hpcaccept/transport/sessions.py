"""Whether a detached process still lives, and how everything that it has started ends.

A process is known by its number, its start and the boot: numbers come again, and after a boot all of them do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Leader:
    """The first process of a session.

    Attributes:
        pid: number.
        boot: ``boot_id`` of the kernel that it was started under.
        started: clock ticks since that boot.
    """

    pid: int
    boot: str
    started: int


def leader_of(text: str) -> Leader | None:
    """From ``PID BOOT TICKS``; None where it is anything else."""
    words = text.split()
    if len(words) != 3 or not (words[0].isdigit() and words[2].isdigit()):
        return None
    return Leader(int(words[0]), words[1], int(words[2]))


def lives(leader: Leader, boot: str) -> bool:
    """True while that very process runs."""
    if leader.boot != boot:
        return False
    found = _stat(leader.pid)
    return found is not None and found[0] not in "ZX" and found[1] == leader.started


def members(leader: Leader, boot: str) -> list[int]:
    """Processes of its session, itself among them; they may outlive it."""
    if leader.boot != boot:
        return []
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            stat = _stat(int(entry.name))
            # The number of a session is not given to a new process while the session lasts.
            if stat and stat[0] not in "ZX" and stat[2] == leader.pid and stat[1] >= leader.started:
                found.append(int(entry.name))
    return found


def end_session(leader: Leader, boot: str, grace_s: float, sleep: Callable[[float], None] = time.sleep) -> bool:
    """SIGTERM to all of it, SIGKILL after a grace; True when nothing of it runs."""
    waited = 0.0
    signalled = False
    while there := members(leader, boot):
        if not signalled:
            _signal(there, signal.SIGTERM)
            _signal(there, signal.SIGCONT)
            signalled = True
        if waited >= grace_s:
            _signal(there, signal.SIGKILL)
        if waited >= grace_s + 5:
            return False
        sleep(0.05)
        waited += 0.05
    return True


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _stat(pid: int) -> tuple[str, int, int] | None:
    """State, start and session of a process; proc(5)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return fields[0], int(fields[19]), int(fields[3])
    except (OSError, IndexError, ValueError):
        return None
