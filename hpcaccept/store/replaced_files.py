"""Replaces a file as a whole. Written beside its place, synced, renamed: a reader sees the old content or the new one, never a part.

Whoever is killed or finds the disk full leaves the old file as it was. ``store.new_file`` is for files that must not be there yet.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Modes: for everybody to read, and for files that hold a secret or what somebody may have to keep to himself.
SHARED, OWNER_ONLY = 0o644, 0o600


@contextmanager
def replacing(file: Path, mode: int = SHARED) -> Iterator[Path]:
    """Gives an empty file beside it to write into; at the end that takes the place of the file, after an exception nothing changes.

    Args:
        file: to be replaced, or made; its folder is there.
        mode: of it; until it has its name only its owner can read it.

    Raises:
        OSError: no permission, or no space.
    """
    import tempfile  # 7 ms that a rank does not need

    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    beside = Path(name)
    try:
        os.close(handle)
        yield beside
        with beside.open("rb") as written:
            os.fchmod(written.fileno(), mode)
            os.fsync(written.fileno())
        beside.replace(file)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def replace_file(file: Path, content: str | bytes, mode: int = SHARED) -> None:
    """Replace the content of a file, or make it.

    Raises:
        OSError: as ``replacing``.
    """
    with replacing(file, mode) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)


def replace_files(files: Mapping[str, bytes], folder: Path, mode: int = SHARED) -> None:
    """Replace files of a folder, which is made; each of them as a whole, one after the other.

    Args:
        files: name → content.
        folder: gets mode 700 where it is made for files of their owner alone.
        mode: of each file.

    Raises:
        RunError: no permission, or no space; the message names the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700 if mode == OWNER_ONLY else 0o777)
        for name, content in files.items():
            replace_file(folder / name, content, mode)
    except OSError as fault:
        raise RunError(f"Cannot write into {folder}: {fault.strerror}.") from None
