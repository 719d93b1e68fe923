"""The journal of a night: what it was doing, so that the next one can go on after a crash.

``runs/nightly/journal.jsonl``, in the form of ``store.entry_journal``. Only the holder of the lock writes, and ``nightly install`` its one line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from hpcaccept.errors import RunError
from hpcaccept.model.nightly.night import Line, NightEntry
from hpcaccept.store import entry_journal

if TYPE_CHECKING:
    from pathlib import Path

_KINDS = entry_journal.kinds_of(get_args(NightEntry))


def append(file: Path, *words: NightEntry, at: str) -> None:
    """Add words to the journal; after return they are on the disk.

    Raises:
        RunFolderFull: no space for them.
        RunError: the journal cannot be written.
    """
    try:
        entry_journal.append(file, words, at)
    except OSError as fault:
        raise RunError(f"Cannot write {file}: {fault.strerror}.", "It must be writable by who runs nightly.") from None


def read(file: Path) -> tuple[list[Line], int]:
    """Every line that can be read, oldest first, and how many cannot.

    Raises:
        RunError: the journal is there and cannot be opened.
    """
    try:
        found, unreadable = entry_journal.read(file, _KINDS)
    except FileNotFoundError:
        return [], 0
    except OSError as fault:
        raise RunError(f"Cannot read {file}: {fault.strerror}.", "It belongs to who runs nightly.") from None
    return [Line(at, entry) for at, entry in found], unreadable
