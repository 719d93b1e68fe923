"""How is a process started, recognised again later, and ended without ever ending a stranger's?

A pid alone names nobody: the kernel uses it again. So a process is its pid together with its start time (field 22 of
`/proc/<pid>/stat`, in clock ticks since boot, proc(5)), and what a cluster started for its jobs is found by a mount
that only this cluster's nodes have.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

POLL_INTERVAL_S = 0.01
# Where daemons are, even if the PATH of a user's login shell lacks it.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ClusterError(RuntimeError):
    """The virtual cluster could not be started, found or ended. A retry helps only if the sentence says so."""


@dataclass(frozen=True)
class Process:
    """One process that we started, told apart from a later one with the same pid by its start time."""

    name: str
    pid: int
    start_ticks: int

    def alive(self) -> bool:
        """True while this very process runs; a zombie that nobody waits for has ended."""
        state, start_ticks, _ = _stat(self.pid)
        return start_ticks == self.start_ticks and state not in ("", "Z", "X")


def start(name: str, command: Sequence[str], output: Path, environment: dict[str, str]) -> Process:
    """Start a daemon that stays in the foreground, in a session of its own, its words appended to `output`.

    After return it runs or has ended already; only `Process.alive` tells.
    """
    with output.open("ab") as words:
        child = subprocess.Popen(  # the caller lives on or not: both must work
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
    _children[child.pid] = child
    return Process(name, child.pid, _stat(child.pid)[1])


def run(command: Sequence[str], output: Path, environment: dict[str, str], timeout_s: float) -> None:
    """Run a command to its end; ClusterError with its words if it fails or is late, and then none of it goes on."""
    with output.open("ab") as words:
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
    try:
        code = child.wait(timeout_s)
    except BaseException as error:
        os.killpg(child.pid, signal.SIGKILL)  # not collected yet, so the number is still its own
        child.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            raise ClusterError(f"{shlex.join(command)}: not done after {timeout_s:g} s\n{tail(output)}") from None
        raise
    if code != 0:
        raise ClusterError(f"{shlex.join(command)}: exit code {code}\n{tail(output)}")


def program(name: str) -> str:
    """Path of a program that `install.sh` puts on the machine."""
    found = shutil.which(name, path=SEARCH_PATH)
    if found is None:
        raise ClusterError(f'"{name}" is not installed; type: bash tests/system/cluster/install.sh')
    return found


def wait_for(what: str, ready: Callable[[], bool], timeout_s: float, needs: Iterable[tuple[Process, Path]]) -> None:
    """Return as soon as `ready`; raise ClusterError with the last words of what it needs, if one dies or time is up."""
    watched = list(needs)
    deadline = time.monotonic() + timeout_s
    while not ready():
        dead = [(process, words) for process, words in watched if not process.alive()]
        late = time.monotonic() > deadline
        if dead or late:
            cause = f"{dead[0][0].name} ended" if dead else f"not ready after {timeout_s:g} s"
            tails = "\n".join(f"--- {words}\n{tail(words)}" for _, words in dead or watched)
            raise ClusterError(f"waiting for {what}: {cause}\n{tails}")
        time.sleep(POLL_INTERVAL_S)


def tail(words: Path, lines: int = 20) -> str:
    """The last lines of a log; a missing log is an empty one."""
    if not words.exists():
        return ""
    return "\n".join(words.read_text(errors="replace").splitlines()[-lines:])


def end(processes: Iterable[Process], grace_s: float) -> list[Process]:
    """Ask every process to end, after `grace_s` make it end; what still runs 5 s after that is returned."""
    running = [process for process in processes if process.alive()]
    for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        for process in running:
            send(process, number)
        deadline = time.monotonic() + patience_s
        while running and time.monotonic() < deadline:
            reap()
            running = [process for process in running if process.alive()]
            if running:
                time.sleep(POLL_INTERVAL_S)
    return running


def send(process: Process, number: int) -> None:
    """Send a signal to this very process or to nobody.

    The pidfd is opened before the start time is read, so the pid cannot change hands in between (pidfd_open(2)).
    """
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if process.alive():
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        pass  # it ended by itself just now
    finally:
        os.close(handle)


def with_session(leader: Process) -> list[Process]:
    """This process and what it started in its session, such as slurmctld's slurmscriptd; also after it ended itself.

    The kernel gives a pid to nobody else while a session has that number (setsid(2)). So if the pid is a stranger's,
    the session is too; if it is nobody's, the session is ours.
    """
    state, start_ticks, _ = _stat(leader.pid)
    if state and start_ticks != leader.start_ticks:
        return []
    found = [Process(leader.name, pid, start) for pid in _pids() for _, start, sid in [_stat(pid)] if sid == leader.pid]
    return [process for process in found if process.alive()]


def with_mount(source: str) -> list[Process]:
    """Every process that sees a mount of this source: those in the nodes' mount namespaces, however detached."""
    found: list[Process] = []
    for pid in _pids():
        if source in _mount_sources(pid):
            process = Process("a process on a node", pid, _stat(pid)[1])
            if process.alive():
                found.append(process)
    return found


def reap() -> None:
    """Collect children of this program that ended; without it they stay as zombies until this program ends."""
    for pid, child in list(_children.items()):
        if child.poll() is not None:
            del _children[pid]


# Only to be collected by `reap`; who runs is asked of /proc, because `down` may be another program than `up`.
_children: dict[int, subprocess.Popen[bytes]] = {}


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _stat(pid: int) -> tuple[str, int, int]:
    """The state letter, start time and session of a process; ("", -1, -1) if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return "", -1, -1
    fields = text.rpartition(")")[2].split()  # the name before it may hold blanks and parentheses
    return fields[0], int(fields[19]), int(fields[3])


def _mount_sources(pid: int) -> list[str]:
    try:
        lines = Path(f"/proc/{pid}/mountinfo").read_text(errors="replace").splitlines()
    except OSError:  # it ended, or is a kernel thread's
        return []
    return [line.rpartition(" - ")[2].split(" ")[1] for line in lines]
