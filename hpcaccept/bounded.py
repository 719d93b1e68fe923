"""Reads files that anybody may have written: never waits, follows no link unasked, and fills no memory.

A pipe would wait for ever, a device has no end, a link leads anywhere: what is read is a regular file of a known size.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: Bytes of a file that is read into memory: a plan of 65,533 nodes has two million, a journal of thousands of partners a few.
MOST_BYTES = 64 * 1024 * 1024


def read_bytes(file: Path, *, follow: bool = False, most: int = MOST_BYTES) -> bytes:
    """The bytes of a regular file.

    Args:
        file: to read.
        follow: True where a link at this place is its owner's own: a file that somebody names, a settings file.
        most: bytes that it may have.

    Raises:
        OSError: absent, no regular file, a link, too large, or not to be read; ``strerror`` says which in words.
    """
    handle = open_regular(file, follow=follow)
    with os.fdopen(handle, "rb") as stream:
        size = os.fstat(handle).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"it has {size:,} bytes, expected at most {most:,}")
        return stream.read(most)


def read_end(file: Path, size: int) -> bytes:
    """The last bytes of a regular file, however large it is.

    Raises:
        OSError: as ``read_bytes``.
    """
    with os.fdopen(open_regular(file), "rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - size))
        return stream.read(size)


def end_of(file: Path, size: int) -> str:
    """The end of a log as text, nothing where it cannot be read: nodes can write there, so that a pipe or a link is no log."""
    try:
        return read_end(file, size).decode("utf-8", "replace")
    except OSError:
        return ""


def read_text(file: Path, *, follow: bool = False, most: int = MOST_BYTES) -> str:
    """The text of a regular file in UTF-8.

    Raises:
        OSError: as ``read_bytes``.
        UnicodeDecodeError: it is no UTF-8.
    """
    return read_bytes(file, follow=follow, most=most).decode("utf-8")


def open_regular(file: Path, *, follow: bool = False) -> int:
    """A handle on a regular file, for reading.

    Raises:
        OSError: absent, no regular file, a link that was not to be followed, or not to be read.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        handle = os.open(file, flags)
    except OSError as fault:
        if fault.errno == errno.ELOOP and not follow:
            raise OSError(errno.ELOOP, "it is a link, expected the file itself") from None
        if fault.errno == errno.ENXIO:  # a socket
            raise OSError(errno.EINVAL, "it is not a regular file") from None
        raise
    except ValueError:  # a NUL in the name
        raise OSError(errno.EINVAL, "no file has such a name") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return handle
