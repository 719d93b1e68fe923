"""What has the kernel logged since it booted? Its own buffer, not what a daemon made of it: there may be none.

Traps: a container has the log only where it was given ``/dev/kmsg``; reading it needs root where
``kernel.dmesg_restrict`` is set; and the buffer is finite, so on a chatty node the oldest messages are gone.
https://docs.kernel.org/admin-guide/abi-testing.html (dev-kmsg)
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from hpcaccept.model.check import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

_RECORD_BYTES = 8192


def read_log(path: Path) -> str:
    """Every message in the buffer, one record per line, in the form of ``/dev/kmsg``.

    Raises:
        Unavailable: it is absent here or may not be read.
    """
    parts: list[bytes] = []
    try:
        log = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as fault:
        raise Unavailable(f"{path} cannot be read: {fault.strerror}", "Ask root: dmesg | grep -i xid") from fault
    try:
        while part := _read(path, log):
            parts.append(part)
    finally:
        os.close(log)
    return b"".join(parts).decode("utf-8", "replace")


def _read(path: Path, log: int) -> bytes:
    """The next record; nothing at the end."""
    while True:
        try:
            return os.read(log, _RECORD_BYTES)
        except BlockingIOError:
            return b""
        except OSError as fault:
            # EPIPE: this record was overwritten while we read; the next one is there.
            if fault.errno != errno.EPIPE:
                raise Unavailable(
                    f"{path} cannot be read: {fault.strerror}", "Ask root: dmesg | grep -i xid"
                ) from fault
