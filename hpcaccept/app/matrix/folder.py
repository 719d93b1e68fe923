"""The folder of a run of a matrix, ``FOLDER/MATRIX/RUN/``: the file as it was, a journal, and a folder for each attempt of each cell."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from hpcaccept.errors import RunError, UsageError
from hpcaccept.model.matrix import attempt as attempts
from hpcaccept.model.matrix.attempt import Again, Attempt, Begun, Ended, Entry, Starting, Submitted, Unstarted
from hpcaccept.store import entry_journal

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT = Path("matrix-runs")
FILE, JOURNAL, LOCK = "matrix.toml", "journal.jsonl", "lock"
CELLS, CONTENT = "cells", "content"
_KINDS = entry_journal.kinds_of(get_args(attempts.Entry))


@dataclass(frozen=True)
class MatrixRun:
    """One run of a matrix on the disk.

    Attributes:
        path: its folder.
    """

    path: Path

    @property
    def name(self) -> str:
        """Of the run."""
        return self.path.name

    @property
    def file(self) -> Path:
        """The matrix as it was when the run began."""
        return self.path / FILE

    def attempt(self, cell: str, number: int) -> Path:
        """Folder of an attempt."""
        return self.path / CELLS / cell / str(number)

    def write(self, *entries: Entry) -> None:
        """After return they are on the disk.

        Raises:
            RunError: they cannot be written; then what they announce must not be done.
        """
        try:
            entry_journal.append(self.path / JOURNAL, entries, now())
        except OSError as fault:
            raise RunError(f"Cannot write {self.path / JOURNAL}: {fault.strerror}.", "Nothing is started.") from None

    def past(self) -> Past:
        """What the journal says.

        Raises:
            UsageError: the folder is none of a run.
        """
        try:
            lines, _ = entry_journal.read(self.path / JOURNAL, _KINDS)
        except OSError as fault:
            raise UsageError(f"{self.path} does not hold a run of a matrix: {JOURNAL}: {fault.strerror}.") from None
        begun = next(((at, entry) for at, entry in lines if isinstance(entry, Begun)), None)
        if begun is None:
            raise UsageError(f"{self.path / JOURNAL} has no line that says what was begun.")
        return _past(begun, lines)


@dataclass(frozen=True)
class Past:
    """What a journal says.

    Attributes:
        began_at: ISO 8601.
        begun: what was begun.
        attempts: id of a cell → its attempts that are over and count, oldest first.
        earlier: id of a cell → attempts of before it was asked for again.
        open: id of a cell → the attempt that was begun and is not over.
        jobs: id of a cell → job of that attempt; not there: whether it was submitted is not known.
        unstarted: id of a cell → why it was not run.
        ended: the last client's last word; None: it was killed, or is at work.
    """

    began_at: str
    begun: Begun
    attempts: dict[str, tuple[Attempt, ...]]
    earlier: dict[str, tuple[Attempt, ...]]
    open: dict[str, Starting]
    jobs: dict[str, Submitted]
    unstarted: dict[str, Unstarted]
    ended: Ended | None

    @property
    def usd(self) -> float:
        """Of all attempts that are over."""
        return sum(each.usd for tries in (self.attempts, self.earlier) for many in tries.values() for each in many)

    def next_number(self, cell: str) -> int:
        """Of the next attempt of a cell: a number is never used twice."""
        begun = [each.number for each in (*self.earlier.get(cell, ()), *self.attempts.get(cell, ()))]
        taken_back = self.unstarted[cell].number if cell in self.unstarted else 0
        return max([*begun, taken_back], default=0) + 1


def _past(begun: tuple[str, Begun], lines: list[tuple[str, Any]]) -> Past:
    past = Past(*begun, {}, {}, {}, {}, {}, None)
    ended: Ended | None = None
    for _, entry in lines:
        ended = entry if isinstance(entry, Ended) else None
        match entry:
            case Starting():
                past.open[entry.cell] = entry
                past.jobs.pop(entry.cell, None)
                past.unstarted.pop(entry.cell, None)
            case Submitted():
                past.jobs[entry.cell] = entry
            case Attempt():
                past.attempts[entry.cell] = (*past.attempts.get(entry.cell, ()), entry)
                past.open.pop(entry.cell, None)
                past.unstarted.pop(entry.cell, None)
            case Unstarted():
                past.unstarted[entry.cell] = entry
                past.open.pop(entry.cell, None)
            case Again():
                past.earlier[entry.cell] = (*past.earlier.get(entry.cell, ()), *past.attempts.pop(entry.cell, ()))
            case _:
                continue
    return Past(past.began_at, past.begun, past.attempts, past.earlier, past.open, past.jobs, past.unstarted, ended)


def now() -> str:
    """UTC, ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def new_run(folder: Path, matrix: str) -> MatrixRun:
    """A run with a name that no other has and that sorts by time; nothing is written yet."""
    at = datetime.now(timezone.utc)
    return MatrixRun(folder / matrix / f"{at:%Y%m%d-%H%M%S}-{at.microsecond // 1000:03}{os.urandom(1).hex()}")


def runs_of(folder: Path, matrix: str) -> list[MatrixRun]:
    """Every run of a matrix that has begun, oldest first."""

    def there() -> Iterator[MatrixRun]:
        for path in sorted((folder / matrix).iterdir() if (folder / matrix).is_dir() else ()):
            if (path / JOURNAL).is_file():
                yield MatrixRun(path)

    return list(there())


def run_named(folder: Path, matrix: str, name: str) -> MatrixRun:
    """The run of that name; the latest for an empty one.

    Raises:
        UsageError: there is none.
    """
    found = runs_of(folder, matrix)
    if not found:
        raise UsageError(f"No run of matrix {matrix!r} in {folder}.", "hpcaccept matrix run FILE")
    if not name:
        return found[-1]
    for each in found:
        if each.name == name:
            return each
    raise UsageError(f"No run {name!r} of matrix {matrix!r} in {folder}; there are {', '.join(r.name for r in found)}.")
