"""The journal of a rank: what it measured, written so that a crash loses at most the line being written.

One file per rank and step, JSON lines, each written with one ``write`` and, unless it only tells of progress, synced. A line is
``{"kind": …, "data": …}``; a torn line is reported with its text and costs only itself.
"""

from __future__ import annotations

import errno
import functools
import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.bounded import read_bytes
from hpcaccept.errors import RunError, RunFolderFull
from hpcaccept.model.event import Event
from hpcaccept.model.record import (
    CheckStarted,
    CollectivesSeen,
    ModuleImported,
    NcclRas,
    RankExited,
    RankFinished,
    RankStarted,
    RankStopped,
    Record,
    UnreadableLine,
)
from hpcaccept.serial import dumps, from_plain, loads
from hpcaccept.store.sample_lists import NO_SAMPLES, SampleLists, read_lists

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

JournalEntry = (
    RankStarted
    | RankExited
    | CheckStarted
    | ModuleImported
    | Record
    | RankStopped
    | CollectivesSeen
    | NcclRas
    | RankFinished
    | Event
)
#: What may stand in a journal; the name stands in its line.
_KINDS: dict[str, type[JournalEntry]] = {
    "rank_started": RankStarted,
    "check_started": CheckStarted,
    "module_imported": ModuleImported,
    "record": Record,
    "rank_stopped": RankStopped,
    "collectives_seen": CollectivesSeen,
    "nccl_ras": NcclRas,
    "rank_exited": RankExited,
    "rank_finished": RankFinished,
    "event": Event,
}
#: Names in journals that were written before the renames of version 0.1.0; they are still read.
_OLD_KINDS: dict[str, type[JournalEntry]] = {
    "hello": RankStarted,
    "start": CheckStarted,
    "import": ModuleImported,
    "stopped": RankStopped,
    "bye": RankFinished,
}


#: Of a line: a rank writes some kilobytes a check, and a megabyte where it has thousands of partners.
MOST_OF_A_LINE = 16 * 1024 * 1024


class Journal:
    """An open journal. Safe to use from the watch thread too."""

    def __init__(self, file: Path) -> None:
        """Open for appending.

        Raises:
            RunFolderFull: no space for the file.
            RunError: it is a link.
        """
        self.file = file
        self._lock = threading.Lock()
        with full_disk_named(file):
            self._handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)

    def write(self, word: JournalEntry, *, sync: bool = True) -> None:
        """Append one line.

        Args:
            word: what is said.
            sync: wait until it is on the disk (some 4 ms): what must outlive the node. Any line outlives the process.

        Raises:
            RunFolderFull: no space. The line is not there, what was before it is safe.
        """
        with self._lock:
            self._append(word, sync=sync)

    def write_last(self, word: JournalEntry, more: Iterable[JournalEntry] = ()) -> None:
        """Append the last line of a process that is about to end: any thread that still wants to write waits for that end.

        A rank that has said why it ends must not say a second thing when its connections break.

        Args:
            word: why it ends.
            more: what else there is to say; asked for when ``word`` is on the disk.

        Raises:
            RunFolderFull: as above.
        """
        self._lock.acquire()
        self._append(word, sync=True)
        for other in more:
            self._append(other, sync=True)

    def _append(self, word: JournalEntry, *, sync: bool) -> None:
        kind = next(name for name, class_ in _KINDS.items() if isinstance(word, class_))
        line = f'{{"kind":"{kind}","data":{dumps(word)}}}\n'.encode()
        with full_disk_named(self.file):
            whole = os.fstat(self._handle).st_size
            written = 0
            try:
                while written < len(line):
                    written += os.write(self._handle, line[written:])
                if sync:
                    os.fsync(self._handle)
            except OSError:
                # What is written next must not stand behind a part of this line.
                os.ftruncate(self._handle, whole)
                raise


class full_disk_named:  # noqa: N801 (a context manager, used like a function)
    """Turn "no space left" into ``RunFolderFull`` with the path in it."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, fault: object, trace: object) -> None:
        """Translate."""
        if isinstance(fault, OSError) and fault.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunFolderFull(f"There is no space left for {self._file}.") from fault
        if isinstance(fault, OSError) and fault.errno == errno.ELOOP:
            raise RunError(f"{self._file} is a link, expected a file of its own: nothing was written.") from fault


def read(file: Path) -> Iterator[JournalEntry | UnreadableLine]:
    """What a journal says, in order; a line that cannot be read, or is of another version, is a ``UnreadableLine``."""
    for word, samples in read_apart(file):
        if isinstance(word, Record) and samples.values:
            yield replace(word, samples=samples.as_samples())
        else:
            yield word


def read_apart(file: Path) -> Iterator[tuple[JournalEntry | UnreadableLine, SampleLists]]:
    """The same, the samples of records apart from them: there are ten million in a large run."""
    try:
        content = read_bytes(file)
    except OSError as fault:
        yield UnreadableLine(file.name, f"it cannot be opened: {fault.strerror}"), NO_SAMPLES
        return
    for number, raw in enumerate(content.splitlines(), 1):
        text = raw[:MOST_OF_A_LINE].decode("utf-8", "replace")
        try:
            if len(raw) > MOST_OF_A_LINE:
                raise ValueError("too long")
            yield _read_short(text) if len(text) < _SHORT else _read_line(text)
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError, AttributeError):
            yield UnreadableLine(file.name, text[:2000], line=number), NO_SAMPLES


def _read_line(text: str) -> tuple[JournalEntry, SampleLists]:
    """A line; raises what a line can be wrong with."""
    thing = loads(text)
    kind, data = (_KINDS | _OLD_KINDS)[thing["kind"]], thing["data"]
    samples = read_lists(data.pop("samples", ())) if kind is Record else NO_SAMPLES
    return from_plain(data, kind), samples


#: That a check has started stands in each journal of a step, in the same words.
_SHORT = 80
_read_short = functools.lru_cache(1024)(_read_line)


def read_all(place: Path) -> dict[str, list[JournalEntry | UnreadableLine]]:
    """Name of each journal in a folder → what it says; of a link, which leads anywhere, only that it is one."""
    journals = StepJournals.of(place)
    return {name: [word for word, _ in journals.words(name)] for name in journals.heads}


@dataclass(frozen=True)
class StepJournals:
    """The journals of the ranks of a step, which are read one at a time.

    Attributes:
        place: their folder.
        heads: name of each → what it says until its rank has started, with that; all of it where that is never said.
    """

    place: Path
    heads: dict[str, list[JournalEntry | UnreadableLine]]

    @classmethod
    def of(cls, place: Path) -> StepJournals:
        """Those of a folder; of a link, which leads anywhere, only that it is one."""
        if place.is_symlink():
            return cls(
                place,
                {place.name: [UnreadableLine(f"records/{place.name}", "it is a link, expected a folder of the run")]},
            )
        return cls(place, {file.name: _head(file) for file in sorted(place.glob("*.jsonl"))})

    def words(self, name: str) -> Iterator[tuple[JournalEntry | UnreadableLine, SampleLists]]:
        """What one of them says, the samples of its records apart."""
        if self.place.is_symlink():
            return ((word, NO_SAMPLES) for word in self.heads[name])
        return read_apart(self.place / name)


def _head(file: Path) -> list[JournalEntry | UnreadableLine]:
    found: list[JournalEntry | UnreadableLine] = []
    for word, _ in read_apart(file):
        found.append(word)
        if isinstance(word, RankStarted):
            break
    return found
