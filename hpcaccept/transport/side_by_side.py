"""Many commands at once, each with its own deadline and its own output: one that hangs or dies costs only itself.

A single loop looks after all of them: no thread each, so that half a thousand launchers of groups are as easy as two.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.errors import LaunchError
from hpcaccept.transport.process import sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: How often all of them are looked at.
_LOOK_S = 0.02
#: Between two looks at the clock of each: it may read files.
_CLOCK_S = 0.2


@dataclass(frozen=True)
class Launch:
    """One command.

    Attributes:
        key: by which it is known.
        command: to run.
        out: file for its output.
        err: file for its errors.
        env: of it.
        cwd: where it runs; None: here.
    """

    key: str
    command: tuple[str, ...]
    out: Path
    err: Path
    env: Mapping[str, str] = field(repr=False)
    cwd: Path | None = None


@dataclass(frozen=True)
class Ended:
    """How one of them ended.

    Attributes:
        key: of the launch.
        returncode: exit status; negative: ended by that signal.
        late: True when it was ended because its time was over.
        stopped: True when it was ended because all were.
        seconds: from its start to its end, or until its time was over.
    """

    key: str
    returncode: int
    late: bool
    stopped: bool
    seconds: float


@dataclass
class _Running:
    launch: Launch
    process: subprocess.Popen[bytes]
    begun: float
    looked: float
    late: bool = False
    stopped: bool = False
    seconds: float = 0.0
    asked: list[float] = field(default_factory=list)


def run_side_by_side(
    launches: Sequence[Launch],
    *,
    is_late: Callable[[str, float], bool],
    should_stop: Callable[[], bool] = lambda: False,
    at_once: int = 0,
    grace_s: float = 10.0,
) -> Iterator[Ended]:
    """Run commands until each has ended; each is yielded as soon as that is so, together with the end of whatever it had started.

    Every command leads a process group of its own, and what is left of the group is ended with it. Whoever leaves the iteration early ends
    all of them.

    Args:
        launches: in the order in which they start.
        is_late: key, seconds since its start → True: its time is over.
        should_stop: asked now and then; True ends all of them, and starts no other.
        at_once: at most so many run at a time; 0: all.
        grace_s: seconds between asking one to end and killing it.

    Raises:
        LaunchError: there is no such program.
    """
    waiting, running = list(launches), list[_Running]()
    try:
        while waiting or running:
            stop = should_stop()
            while waiting and not stop and (not at_once or len(running) < at_once):
                running.append(_start(waiting.pop(0)))
            if stop:
                waiting.clear()
            for one in list(running):
                if _over(one, is_late, stop=stop, grace_s=grace_s):
                    running.remove(one)
                    yield Ended(one.launch.key, one.process.returncode, one.late, one.stopped, one.seconds)
            if running:
                time.sleep(_LOOK_S)
    finally:
        for one in running:
            _signal(one, signal.SIGTERM)
            _signal(one, signal.SIGCONT)
        _end(running, grace_s)


def _start(launch: Launch) -> _Running:
    with sink(launch.out) as out, sink(launch.err) as err:
        try:
            process = subprocess.Popen(
                list(launch.command),
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                env=dict(launch.env),
                cwd=launch.cwd,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise LaunchError(f"There is no program {launch.command[0]!r} on this machine.") from None
        except OSError as fault:
            raise LaunchError(f"{launch.command[0]} does not start: {fault.strerror}.") from None
    now = time.monotonic()
    return _Running(launch, process, now, now)


def _over(one: _Running, is_late: Callable[[str, float], bool], *, stop: bool, grace_s: float) -> bool:
    """True when it has ended, with its group; ask or force it to, where that is due."""
    now = time.monotonic()
    if one.process.poll() is not None:
        one.seconds = one.seconds or now - one.begun
        _signal(one, signal.SIGKILL)  # what is left of its group
        return True
    if not one.asked and not stop:
        if now - one.looked < _CLOCK_S:
            return False
        one.looked = now
        one.late = is_late(one.launch.key, now - one.begun)
    if one.late or stop:
        one.stopped = one.stopped or (stop and not one.late)
        _urge(one, now, grace_s)
    return False


def _urge(one: _Running, now: float, grace_s: float) -> None:
    """Twice a request (launchers take the first for one and the second for an order), then an end by force."""
    one.seconds = one.seconds or now - one.begun
    if not one.asked or (len(one.asked) == 1 and now - one.asked[0] > grace_s / 2):
        one.asked.append(now)
        _signal(one, signal.SIGTERM)
        _signal(one, signal.SIGCONT)
    elif now - one.asked[0] > grace_s:
        _signal(one, signal.SIGKILL)


def _end(running: Sequence[_Running], grace_s: float) -> None:
    until = time.monotonic() + grace_s
    for one in running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            one.process.wait(max(0.0, until - time.monotonic()))
        _signal(one, signal.SIGKILL)
        one.process.wait()


def _signal(one: _Running, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(one.process.pid, number)
