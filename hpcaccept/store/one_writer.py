"""Who may write? One process at a time: a lock that the kernel gives back when its owner dies, and that says who has it.

An advisory ``flock`` on a file of its own, never on what it guards (that is replaced by renaming). The text of the file names the
owner for whoever has to wait; the lock is the kernel's, so that a killed owner leaves none behind. NFS (as byte-range locks) and
Lustre (mounted with ``flock``) keep it between machines.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import getpass
import json
import os
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from hpcaccept.errors import RunError
from hpcaccept.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Between two looks at a lock that somebody else has.
_POLL_S = 0.05


@contextlib.contextmanager
def locked(file: Path, purpose: str, wait_s: float = 30.0) -> Iterator[None]:
    """Hold the lock while the block runs.

    Args:
        file: of the lock; made when it is not there, and left behind empty.
        purpose: what is being done, for whoever waits.
        wait_s: how long to wait for another owner.

    Raises:
        RunError: somebody else has it (who, where, since when), or the file system has no locks.
        OSError: the file cannot be made.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _take(handle, file, wait_s)
        _say(handle, json.dumps({**_owner(), "purpose": purpose}))
        try:
            yield
        finally:
            _say(handle, "")
    finally:
        os.close(handle)


def _take(handle: int, file: Path, wait_s: float) -> None:
    end = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as fault:
            if fault.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise RunError(
                    f"The file system of {file} has no locks: {fault.strerror}.",
                    "Choose another place, or mount it with locks (Lustre: -o flock).",
                ) from None
            if fault.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        else:
            return
        if time.monotonic() >= end:
            raise RunError(f"{file} is locked by {holder(file)}.", "Wait until it is done, then type it again.")
        time.sleep(_POLL_S)


def holder(file: Path) -> str:
    """``ann on login1 (process 4711) for 12 s: appending a run``; meaningful while somebody has the lock."""
    try:
        said = json.loads(file.read_text("utf-8"))
        age = datetime.now(timezone.utc) - datetime.fromisoformat(said["since"])
        who = f"{said['user']} on {said['host']} (process {said['pid']})"
        return f"{who} for {show_duration(max(age.total_seconds(), 0.0))}: {said['purpose']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process that has not said its name"


def _owner() -> dict[str, str]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in many containers
        user = f"user {os.getuid()}"
    since = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"user": user, "host": os.uname().nodename, "pid": str(os.getpid()), "since": since}


def _say(handle: int, text: str) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, text.encode(), 0)
