"""Notices that a rank has stopped, and that this one is being stopped: a thread in every rank.

It keeps the deadline of whatever the rank is doing, and hears SIGTERM even while the main thread is inside C code
(``signal.set_wakeup_fd`` writes from the C handler). In both cases it writes the rank's last words and ends the process.
A rank that is gone (SIGKILL, a dead node) or still stopped writes nothing: *the rank without a word is the one that was
lost*. Schedulers wake a stopped process (SIGCONT) before they end it: it then sees the hole in its own time and says so. Whoever was only
stopped for a while (``scontrol suspend``, a debugger) goes on, and knows it by the signal that woke it: the number counts for nothing.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.errors import RunFolderFull
from hpcaccept.rank import EXIT_DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.model.record import Interruption

#: A rank that waits gives the one that measures this much longer, so that the culprit can speak first.
PATIENCE_S = 1.0
#: After its last words a rank stays this long, so that the others can say theirs before the launcher ends them all: each is synced, on a disk
#: that others may keep busy.
LINGER_S = 3.0
#: How often the thread looks at the clock, and how much later than that it must come to have been stopped meanwhile.
LOOK_S = 0.05
HOLE_S = 2.0


@dataclass
class Doing:
    """What the rank is doing, and until when it may."""

    phase: str
    until: float
    waits: bool
    limit_s: float


class Watch:
    """The thread. ``last_words(cause, by_peer, beat, interruption)`` must write the record and not use MPI."""

    def __init__(self, last_words: Callable[[str, bool, str, Interruption], None]) -> None:
        self._last_words = last_words
        self._doing: Doing | None = None
        self._lock = threading.Lock()
        self._looked, self._hole_s, self._woke = time.monotonic(), 0.0, -math.inf
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        os.set_blocking(self._read, False)
        #: How often somebody has let this process go on.
        self.woken = 0
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.signal(signal.SIGCONT, self._hear_of_a_stop)
        signal.siginterrupt(signal.SIGCONT, False)  # no call of a library ends for it that would not have
        # Slurm's warning before the time limit goes to all ranks; the driver keeps that limit.
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def expect(self, phase: str, limit_s: float, *, waits: bool) -> None:
        """The rank begins a phase that must end within ``limit_s``; ``waits``: it waits for others."""
        until = time.monotonic() + limit_s + (PATIENCE_S if waits else 0.0)
        with self._lock:
            self._doing = Doing(phase, until, waits, limit_s)

    def beat(self, phase: str) -> None:
        """The rank says where it is; the deadline stays."""
        with self._lock:
            if self._doing:
                self._doing.phase = phase

    def _hear_of_a_stop(self, *_: object) -> None:
        self.woken += 1

    def stopped_since(self, begin: float) -> str:
        """That this process was stopped meanwhile, in words; empty when it was not.

        Args:
            begin: by ``time.monotonic``.
        """
        hole_s, woke = self._look()
        return f"stopped: this process did not run for {hole_s:.0f} s" if woke >= begin else ""

    def _look(self) -> tuple[float, float]:
        """Look at the clock; gives the last hole in this process's time, and when it ended."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked > HOLE_S:
                self._hole_s, self._woke = now - self._looked, now
            self._looked = now
            return self._hole_s, self._woke

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._read], [], [], LOOK_S)
            self._look()
            now = time.monotonic()
            with self._lock:
                doing = self._doing
            told = bool(ready) and signal.SIGTERM in os.read(self._read, 64)
            overdue = doing is not None and now > doing.until
            if not told and not overdue:
                continue
            if stopped := self.stopped_since(now - HOLE_S):
                self._end(stopped, doing, "stopped", by_peer=False, code=143)
            elif told:
                self._end(
                    "ended by SIGTERM: another rank or the scheduler ended the step",
                    doing,
                    "terminated",
                    by_peer=True,
                    code=143,
                )
            elif doing:
                # Being overdue oneself and being kept waiting are different things: only the first is suspect.
                what = "waited in vain for" if doing.waits else "did not finish within"
                cause = f"deadline: {what} {doing.limit_s:g} s ({doing.phase})"
                self._end(cause, doing, "deadline", by_peer=doing.waits, code=EXIT_DEADLINE)

    def _end(self, cause: str, doing: Doing | None, interruption: Interruption, *, by_peer: bool, code: int) -> None:
        with contextlib.suppress(RunFolderFull):
            self._last_words(cause, by_peer, doing.phase if doing else "", interruption)
        if code == EXIT_DEADLINE:
            time.sleep(LINGER_S)
        os._exit(code)
