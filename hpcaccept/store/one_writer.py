"""One writer at a time: a lock that says who has it.

An advisory ``flock`` on a file of its own, never on what it guards (that is replaced by renaming). The text of the file names the
owner for whoever has to wait; the lock is the kernel's, so that a killed owner leaves none behind. NFS (as byte-range locks) and
Lustre (mounted with ``flock``) keep it between machines.

Where the file system has no locks (Lustre without ``flock``, NFS without lockd: ENOLCK, or 524, which no table names), a file beside
it, ``NAME.held``, is the lock: made with ``O_EXCL``, which one process wins on every file system, and removed at the end. A killed
owner leaves it behind: it is told whose it was and how to remove it, and never taken, because nobody can see into another machine.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from hpcaccept.bounded import read_text
from hpcaccept.errors import RunError
from hpcaccept.serial import from_plain, loads, to_plain
from hpcaccept.store.night_lock import Owner, myself, why_stale
from hpcaccept.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Between two looks at a lock that somebody else has.
_POLL_S = 0.05
#: Bytes of what an owner says of itself.
_MOST = 4096
#: What a file system without locks says; 524 is the kernel's ENOTSUPP, which should not leave it and does.
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, 524})


@contextlib.contextmanager
def locked(file: Path, purpose: str, wait_s: float = 30.0) -> Iterator[None]:
    """Hold the lock while the block runs.

    Args:
        file: of the lock; made when it is not there, and left behind empty.
        purpose: what is being done, for whoever waits.
        wait_s: how long to wait for another owner.

    Raises:
        RunError: somebody else has it (who, where, since when), or has left it behind.
        OSError: the file cannot be made.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + wait_s
    words = json.dumps({"owner": to_plain(myself(_now())), "purpose": purpose})
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not _take(handle, file, end):
            with _held(file, words, end):
                yield
            return
        # A machine that mounts it otherwise may have no locks.
        _until_gone(_held_file(file), end)
        _say(handle, words)
        try:
            yield
        finally:
            _say(handle, "")
    finally:
        os.close(handle)


def _take(handle: int, file: Path, end: float) -> bool:
    """Wait for the kernel's lock; False where the file system has none."""
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as fault:
            if fault.errno in _NO_LOCKS:
                return False
            if fault.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        else:
            return True
        _wait(file, end)


@contextlib.contextmanager
def _held(file: Path, words: str, end: float) -> Iterator[None]:
    place = _held_file(file)
    while not _make(place, words):
        _wait(place, end)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            # Whoever was told to remove it may have, and somebody else may have it now.
            if read_text(place, most=_MOST) == words:
                place.unlink()


def _held_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.held")


def _make(place: Path, words: str) -> bool:
    try:
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(words)
    return True


def _until_gone(place: Path, end: float) -> None:
    while place.exists():
        _wait(place, end)


def _wait(file: Path, end: float) -> None:
    if time.monotonic() >= end:
        raise RunError(f"{file} is locked by {holder(file)}.", _remedy(file))
    time.sleep(_POLL_S)


def holder(file: Path) -> str:
    """``ann on login1 (process 4711) for 12 s: appending a run``; meaningful while somebody has the lock."""
    try:
        owner, purpose = _said(file)
        age = datetime.now(timezone.utc) - datetime.fromisoformat(owner.since)
    except (OSError, ValueError, KeyError, TypeError):
        return "another process that has not said its name"
    who = f"{owner.user} on {owner.host} (process {owner.pid})"
    return f"{who} for {show_duration(max(age.total_seconds(), 0.0))}: {purpose}"


def _said(file: Path) -> tuple[Owner, str]:
    """Who has the lock, and for what. Raises OSError, ValueError, KeyError or TypeError where the file does not say it."""
    said = loads(read_text(file, most=_MOST))
    return from_plain(said["owner"], Owner), said["purpose"]


def _remedy(file: Path) -> str:
    """What to type: a lock of the kernel goes with its owner, a file stays when its owner was killed."""
    if not file.name.endswith(".held"):
        return "Wait until it is done, then type it again."
    try:
        # Silence is no sign here: it is held for a moment, and nobody touches it meanwhile.
        stale = why_stale(_said(file)[0], 0.0)
    except (OSError, ValueError, KeyError, TypeError):
        stale = ""
    if stale:
        return f"Its owner left it behind ({stale}): rm {file}"
    return f"Wait until it is done, then type it again. If that process is gone (killed, its machine booted): rm {file}"


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _say(handle: int, text: str) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, text.encode(), 0)
