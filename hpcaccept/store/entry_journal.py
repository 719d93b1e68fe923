"""The memory of a process that may be killed: JSON lines ``{"at": …, "kind": …, "data": …}``, synced one by one.

A torn line (the machine went down in the middle of it) costs only itself.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from hpcaccept.bounded import read_bytes
from hpcaccept.serial import dumps, from_plain, loads
from hpcaccept.store.journal import full_disk_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


def kinds_of(entries: Iterable[type[Any]]) -> dict[str, type[Any]]:
    """What each class of entries is called in a journal."""
    return {kind.__name__.lower(): kind for kind in entries}


def append(file: Path, entries: Iterable[Any], at: str, mode: int = 0o666) -> None:
    """Add entries; after return they are on the disk.

    Args:
        file: made where it is not there; a link is not followed.
        entries: dataclasses.
        at: when they came about, ISO 8601.
        mode: of a new file, less the umask.

    Raises:
        RunFolderFull: no space for them.
        OSError: the journal cannot be written.
    """
    lines = "".join(
        f'{{"at":{json.dumps(at)},"kind":"{type(entry).__name__.lower()}","data":{dumps(entry)}}}\n'
        for entry in entries
    )
    if not lines:
        return
    with (
        full_disk_named(file),
        os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, mode), "ab") as out,
    ):
        # What is written after a torn line must not become a part of it.
        torn = out.tell() and not _ends_whole(file)
        out.write((b"\n" if torn else b"") + lines.encode())
        out.flush()
        os.fsync(out.fileno())


def read(file: Path, kinds: Mapping[str, type[Any]]) -> tuple[list[tuple[str, Any]], int]:
    """When and what, of every line that can be read, oldest first; and how many cannot.

    Raises:
        OSError: the journal cannot be read, or is not there.
    """
    found, unreadable = [], 0
    for text in read_bytes(file).split(b"\n"):
        if not text.strip():
            continue
        try:
            thing = loads(text)
            found.append((str(thing["at"]), from_plain(thing["data"], kinds[thing["kind"]])))
        except (ValueError, KeyError, TypeError, RecursionError):
            unreadable += 1
    return found, unreadable


def _ends_whole(file: Path) -> bool:
    with file.open("rb") as there:
        there.seek(-1, os.SEEK_END)
        return there.read(1) == b"\n"
