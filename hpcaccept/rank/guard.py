"""A small parent of each rank, which writes down how the rank ended before the launcher can react to it.

When one rank dies, launchers and MPI libraries end the others within moments, each in its own way: srun tells of whoever it sees first,
Hydra of the wrong rank, ranks of Open MPI 5 exit with a code of their own. What the launcher waits for is this parent, so the line
that it appends to the rank's journal stands there first: a rank with such a line died by itself, one that was killed together with
its parent has none.

Only the standard library, and little of it: with eight ranks on a node eight of these wait beside them.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import time

from hpcaccept.rank.journal_name import journal_name

#: What launchers and schedulers send to the process that they started, for the rank to hear.
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCONT, signal.SIGUSR1, signal.SIGUSR2)
#: ``prctl(2)``: the signal that a process gets when its parent ends.
_PR_SET_PDEATHSIG = 1


def guarded(argv: list[str]) -> int:
    """Run a rank in a child, and end as it ended: with its exit code, or by its signal."""
    # What is sent before somebody is there to forward it waits.
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    try:
        parent, child = os.getpid(), os.fork()
    except OSError:
        # No room for a second process is no reason not to measure.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        return _program(argv)
    if not child:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        _end_with(parent)
        return _program(argv)
    for number in _FORWARDED:
        signal.signal(number, lambda got, _frame: _send(child, got))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    status = os.waitstatus_to_exitcode(_wait(child))
    if status and len(argv) == 2:
        _write_down(os.path.join(argv[0], "records", argv[1]), child, status)  # noqa: PTH118 (no pathlib in here)
    if status < 0:
        _die_of(-status)
    return status


def _program(argv: list[str]) -> int:
    from hpcaccept.rank.program import main

    return main(argv)


def _end_with(parent: int) -> None:
    """Ask the kernel to end this process with its parent; without such a kernel nothing is lost but that."""
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def _send(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)


def _wait(child: int) -> int:
    """The wait status of the child; Python waits again by itself after a signal (PEP 475)."""
    return os.waitpid(child, 0)[1]


def _write_down(folder: str, child: int, status: int) -> None:
    """Append a ``RankExited`` to the journal of the rank; on a full disk nothing is written and the launcher's words are left."""
    line = json.dumps({"kind": "rank_exited", "data": {"status": status, "at": time.time()}}) + "\n"
    file = os.path.join(folder, journal_name(os.environ, child))  # noqa: PTH118
    with contextlib.suppress(OSError):
        handle = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            size = os.fstat(handle).st_size
            # Killed in the middle of a line: what it was stays one unreadable line, and ours is the next one.
            torn = size and os.pread(handle, 1, size - 1) != b"\n"
            os.write(handle, ("\n" if torn else "").encode() + line.encode())
            os.fsync(handle)
        finally:
            os.close(handle)


def _die_of(number: int) -> None:
    """End by a signal, so that the launcher says of this process what it would have said of the rank; without a second core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # SIGKILL has no handler to reset
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
