"""How does a night remember what it was doing, so that the next one can go on after a crash?

``runs/nightly/journal.jsonl``: JSON lines ``{"at": …, "kind": …, "data": …}``, each appended with one ``write`` and synced. A
torn line (the machine went down in the middle of it) costs only itself. Only the holder of the lock writes, and
``nightly install`` its one line.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, get_args

from hpcaccept.errors import RunError
from hpcaccept.model.nightly.night import Line, NightEntry
from hpcaccept.serial import dumps, from_plain
from hpcaccept.store.journal import full_disk_named

if TYPE_CHECKING:
    from pathlib import Path

_KINDS: dict[str, type[NightEntry]] = {kind.__name__.lower(): kind for kind in get_args(NightEntry)}


def append(file: Path, *words: NightEntry, at: str) -> None:
    """Add words to the journal; after return they are on the disk.

    Raises:
        RunFolderFull: no space for them.
        RunError: the journal cannot be written.
    """
    text = "".join(
        f'{{"at":{json.dumps(at)},"kind":"{type(word).__name__.lower()}","data":{dumps(word)}}}\n' for word in words
    )
    if not words:
        return
    try:
        with full_disk_named(file), file.open("ab") as out:
            # What is written after a torn line must not become a part of it.
            unreadable = out.tell() and not _ends_whole(file)
            out.write((b"\n" if unreadable else b"") + text.encode())
            out.flush()
            os.fsync(out.fileno())
    except OSError as fault:
        raise RunError(f"Cannot write {file}: {fault.strerror}.", "It must be writable by who runs nightly.") from None


def _ends_whole(file: Path) -> bool:
    with file.open("rb") as there:
        there.seek(-1, os.SEEK_END)
        return there.read(1) == b"\n"


def read(file: Path) -> tuple[list[Line], int]:
    """Every line that can be read, oldest first, and how many cannot.

    Raises:
        RunError: the journal is there and cannot be opened.
    """
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        return [], 0
    except OSError as fault:
        raise RunError(f"Cannot read {file}: {fault.strerror}.", "It belongs to who runs nightly.") from None
    lines, unreadable = [], 0
    for text in raw.split(b"\n"):
        if not text.strip():
            continue
        try:
            thing = json.loads(text)
            lines.append(Line(str(thing["at"]), from_plain(thing["data"], _KINDS[thing["kind"]])))
        except (ValueError, KeyError, TypeError, RecursionError):
            unreadable += 1
    return lines, unreadable
