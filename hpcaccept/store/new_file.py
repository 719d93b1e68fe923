"""Writes a file that must not be there yet: whole or not at all, and never over another one.

A key that is half written (a full disk, a lost node, a killed process) looks like one and is none, and its name is taken for ever.
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

#: File systems without hard links (FAT, some network file systems) answer with one of these.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def write_new(file: Path, content: bytes, mode: int) -> None:
    """Write beside it, sync, then give it its name. A reader sees nothing or everything.

    Args:
        file: to be made.
        content: of it.
        mode: of it; until it has its name only its owner can read it.

    Raises:
        FileExistsError: there is such a file; it is as it was.
        OSError: no permission, or no space. Nothing is left.
    """
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
            out.flush()
            os.fchmod(out.fileno(), mode)
            os.fsync(out.fileno())
        _name(beside, file)
        sync_folder(file.parent)
    finally:
        beside.unlink(missing_ok=True)


def _name(beside: Path, file: Path) -> None:
    """A link, unlike a rename, never takes the place of another file."""
    try:
        file.hardlink_to(beside)
    except FileExistsError:
        raise
    except OSError as fault:
        if fault.errno not in _NO_LINKS:
            raise
        file.touch(0o600, exist_ok=False)
        try:
            beside.replace(file)
        except OSError:
            file.unlink(missing_ok=True)
            raise


def sync_folder(folder: Path) -> None:
    """The name is on the disk too; some file systems cannot be asked for that, and the file is there all the same."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as fault:
        if fault.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)
