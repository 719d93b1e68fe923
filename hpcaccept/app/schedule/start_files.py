"""What the start-up scripts of a run left beside it: which began, and with which status each ended."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hpcaccept.app.schedule.script import BEGUN, ENDED
from hpcaccept.bounded import read_text
from hpcaccept.transport.sessions import Leader, leader_of

if TYPE_CHECKING:
    from pathlib import Path

_STATUS = re.compile(r"\d{1,3}")


def begun(folder: Path, key: str) -> tuple[Path, Leader | None] | None:
    """The last start with a key: its file, and who it was (None: not written yet); None where nobody has begun."""
    file = _last(folder, BEGUN, key)
    if file is None:
        return None
    try:
        return file, leader_of(read_text(file, most=4096))
    except (OSError, UnicodeDecodeError):
        return file, None


def ended(folder: Path, key: str, least: int = 0) -> int | None:
    """Exit status of the last start with a key; None while it is not known, and where that start is before number ``least``."""
    last, file = _last(folder, BEGUN, key), _last(folder, ENDED, key)
    if file is None or int(file.suffix[1:]) < least or (last is not None and last.suffix != file.suffix):
        return None
    try:
        text = read_text(file, most=64).strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if _STATUS.fullmatch(text) else None


def _last(folder: Path, kind: str, key: str) -> Path | None:
    """Of the starts with a key, the last that Slurm has made."""
    found = [each for each in folder.glob(f"{kind}.{key}.*") if each.suffix[1:].isdigit()]
    return max(found, key=lambda each: int(each.suffix[1:]), default=None)
