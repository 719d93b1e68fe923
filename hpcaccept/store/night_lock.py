"""Who runs the night, and whether that process is still alive. One lock for all hosts that share the runs folder.

The lock is the file with the highest number, ``lock.000007.json``; who wants it creates the next one, which succeeds for
exactly one process (a link to a name that must not exist: atomic on NFS too). Numbers only grow, so that a slow process can
never take away a lock that it has not looked at. A lock is free when its owner has said so, or is dead:

- on the same machine (same boot, same process numbers): its process does not exist, or is another one with its number;
- the same machine after a reboot: at once;
- elsewhere: it has given no sign of life (it touches the file every 20 s) for ten minutes, by the file server's clock.

Unlike the locks of files that are written in a moment (``store.one_writer``) it is held for hours, and must work where the
file system keeps no ``flock`` between hosts.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from hpcaccept.bounded import read_text
from hpcaccept.errors import RunError
from hpcaccept.serial import dumps, from_plain, loads
from hpcaccept.store.new_file import write_new
from hpcaccept.store.replaced_files import replace_file
from hpcaccept.units import show_duration

SIGN_S = 20.0
SILENT_S = 600.0
_NAME = re.compile(r"^lock\.(\d{6})\.json$")


class LockHeld(RunError):
    """Somebody else holds the lock. A retry helps when they are done."""


@dataclass(frozen=True)
class Owner:
    """The process that holds the lock.

    Attributes:
        host: where it runs.
        pid: its number there.
        user: whose it is.
        since: when it took the lock, UTC, ISO 8601.
        boot: ``boot_id`` of the kernel.
        pids: the space of process numbers (a container has its own).
        started: start time of the process in clock ticks since boot.
        released: it has given the lock back.
    """

    host: str
    pid: int
    user: str
    since: str
    boot: str = ""
    pids: str = ""
    started: int = 0
    released: bool = False

    def __str__(self) -> str:
        return f"process {self.pid} of {self.user} on {self.host}, since {self.since}"


@dataclass(frozen=True)
class Held:
    """The state of the lock.

    Attributes:
        number: of its file; 0 when there is none.
        owner: who took it last; None when nobody did, or the file cannot be read.
        silent_s: seconds since its last sign of life.
        stale: why it counts for nothing though it was not given back; empty when it does.
    """

    number: int = 0
    owner: Owner | None = None
    silent_s: float = 0.0
    stale: str = ""

    @property
    def free(self) -> bool:
        """True when it may be taken."""
        return self.number == 0 or bool(self.stale) or bool(self.owner and self.owner.released)


class Lock:
    """A lock that is held, until the ``with`` that it is used in ends."""

    def __init__(self, folder: Path, number: int, owner: Owner) -> None:
        self._folder, self._number, self._owner = folder, number, owner
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._give_signs, daemon=True, name="lock")
        self._thread.start()

    @property
    def mine(self) -> bool:
        """False when somebody has taken the lock over, because this process (stopped, asleep) gave no sign of life."""
        return self._file.exists() and _highest(self._folder) == self._number

    @property
    def _file(self) -> Path:
        return _file(self._folder, self._number)

    def _give_signs(self) -> None:
        while not self._done.wait(SIGN_S):
            with contextlib.suppress(OSError):
                os.utime(self._file)

    def __enter__(self) -> Lock:
        """It is held already."""
        return self

    def __exit__(self, kind: object, fault: object, trace: object) -> None:
        """Give it back."""
        self.release()

    def release(self) -> None:
        """Say that the lock is free. The file stays: its number must not be used again."""
        self._done.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            if self.mine:
                replace_file(self._file, dumps(replace(self._owner, released=True)) + "\n")


def acquire(folder: Path, me: Owner, what: str = "nightly run", command: str = "nightly") -> Lock:
    """Take the lock of a folder that all contenders see.

    Args:
        folder: that it is in.
        me: who takes it.
        what: whoever holds it does.
        command: of hpcaccept, which shows it.

    Raises:
        LockHeld: somebody has it, with who and since when.
        RunError: the folder takes no files.
    """
    try:
        held = read_holder(folder)
        number = held.number + 1
        if held.free and _create(folder, number, me):
            # A slower process may come by a number that a later owner has swept away.
            if _highest(folder) == number:
                _sweep(folder, number)
                return Lock(folder, number, me)
            _file(folder, number).unlink(missing_ok=True)
        held = read_holder(folder)
    except OSError as fault:
        raise RunError(
            f"Cannot take the lock in {folder}: {fault.strerror}.", "Choose a shared, writable place with --runs-dir."
        ) from None
    raise LockHeld(
        f"Another {what} holds the lock in {folder}: {held.owner or 'its file cannot be read'} "
        f"(last sign of life {show_duration(max(held.silent_s, 0.0))} ago).",
        f"Nothing was started. See it with 'hpcaccept {command} status'; a dead owner is noticed by itself.",
    )


def read_holder(folder: Path) -> Held:
    """The state of the lock."""
    number = _highest(folder) if folder.is_dir() else 0
    if not number:
        return Held()
    file = _file(folder, number)
    try:
        silent_s = _server_now(folder) - file.stat().st_mtime
        owner = from_plain(loads(read_text(file, most=4096)), Owner)
    except FileNotFoundError:
        return read_holder(folder)  # swept away by a later owner
    except (ValueError, UnicodeDecodeError):
        return Held(number, None, silent_s, "its file cannot be read" if silent_s > SILENT_S else "")
    return Held(number, owner, silent_s, "" if owner.released else why_stale(owner, silent_s))


def why_stale(owner: Owner, silent_s: float) -> str:
    """Why the lock of an owner counts for nothing, as far as this machine can see; empty when it does count.

    Args:
        owner: who took it.
        silent_s: seconds since their last sign of life.
    """
    here = myself("")
    if owner.boot == here.boot and owner.pids == here.pids:
        started = _started(owner.pid)
        return "" if started is not None and started == owner.started else f"process {owner.pid} is gone"
    # A machine that nobody has named has the name of all such machines.
    named = owner.host.partition(".")[0] != "localhost"
    if named and owner.host == here.host and owner.boot != here.boot and owner.pids == here.pids:
        return f"{owner.host} was booted since"
    return f"no sign of life for {show_duration(silent_s)}" if silent_s > SILENT_S else ""


def myself(now: str) -> Owner:
    """This process as an owner."""
    return Owner(
        host=os.uname().nodename,
        pid=os.getpid(),
        user=_user(),
        since=now,
        boot=_text("/proc/sys/kernel/random/boot_id"),
        pids=_pid_space(),
        started=_started(os.getpid()) or 0,
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _text(file: str) -> str:
    try:
        return Path(file).read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _pid_space() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """Start time of a process (field 22 of /proc/PID/stat, proc(5)); None when it is gone, or dead and not yet reaped."""
    text = _text(f"/proc/{pid}/stat")
    # The name in brackets may hold anything, brackets and blanks too.
    fields = text.rpartition(")")[2].split()
    if len(fields) < 20 or fields[0] in "ZX":
        return None
    return int(fields[19])


def _file(folder: Path, number: int) -> Path:
    return folder / f"lock.{number:06d}.json"


def _numbers(folder: Path) -> list[int]:
    return [int(match[1]) for match in (_NAME.match(file.name) for file in folder.iterdir()) if match]


def _highest(folder: Path) -> int:
    return max(_numbers(folder), default=0)


def _create(folder: Path, number: int, me: Owner) -> bool:
    try:
        write_new(_file(folder, number), f"{dumps(me)}\n".encode(), 0o644)
    except FileExistsError:
        return False
    return True


def _sweep(folder: Path, below: int) -> None:
    for number in _numbers(folder):
        if number < below:
            _file(folder, number).unlink(missing_ok=True)


def _server_now(folder: Path) -> float:
    """The time by the clock that also stamps the lock: the file server's, not this machine's, for whoever may write there."""
    with contextlib.suppress(OSError), tempfile.NamedTemporaryFile(dir=folder, prefix=".clock.") as probe:
        return os.fstat(probe.fileno()).st_mtime
    return time.time()
