"""The records of scheduled runs: ``.hpcaccept/runs/RUN`` of the working tree, one folder a run.

``journal.jsonl``: what was done, a synced line each; ``run.toml``, ``changes.diff``, ``untracked.txt``, ``manifest.txt``: what was recorded;
``start.sh``: made of it; ``work``: the copy that runs; ``log``: what the command prints; ``progress.json``: what the rules go by.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from hpcaccept.bounded import read_text
from hpcaccept.errors import RunError, UsageError
from hpcaccept.model.schedule.entry import Entry
from hpcaccept.model.schedule.progress import Progress
from hpcaccept.model.schedule.standing import Standing, standing_of
from hpcaccept.serial import dumps, from_plain, loads
from hpcaccept.store import entry_journal
from hpcaccept.store.new_file import sync_folder
from hpcaccept.store.replaced_files import OWNER_ONLY, replace_file

if TYPE_CHECKING:
    import datetime as dt

    from hpcaccept.model.schedule.recipe import Recipe

JOURNAL = "journal.jsonl"
DIFF, UNTRACKED, MANIFEST, SUBMODULES = "changes.diff", "untracked.txt", "manifest.txt", "submodules.txt"
RECIPE, SCRIPT, WORK, LOG, GPU_LOG, PROGRESS = "run.toml", "start.sh", "work", "log", "gpu.log", "progress.json"
#: Beginning of the name of a folder that is being made; nobody reads it.
NEW = ".new-"
_KINDS = entry_journal.kinds_of(get_args(Entry))


@dataclass(frozen=True)
class Record:
    """One run.

    Attributes:
        folder: its own.
    """

    folder: Path

    @property
    def run(self) -> str:
        """Its name."""
        return self.folder.name

    @property
    def order(self) -> tuple[str, str]:
        """Of two runs that were recorded in one second the journal knows which came first."""
        with contextlib.suppress(OSError), self.file(JOURNAL).open("rb") as journal:
            return self.run[:15], journal.read(40).decode("ascii", "replace")
        return self.run[:15], ""

    def file(self, name: str) -> Path:
        """One of its files."""
        return self.folder / name

    def write(self, entry: Entry, now: dt.datetime) -> None:
        """After return the line is on the disk.

        Raises:
            RunError: it cannot be written; then what it announces must not be done.
        """
        file = self.file(JOURNAL)
        try:
            entry_journal.append(file, [entry], now.isoformat(timespec="milliseconds"), OWNER_ONLY)
        except OSError as fault:
            raise RunError(f"Cannot write {file}: {fault.strerror}.", "Nothing is started without it.") from None

    def lines(self) -> list[tuple[str, Entry]]:
        """When and what, oldest first.

        Raises:
            RunError: the journal cannot be read.
        """
        try:
            return entry_journal.read(self.file(JOURNAL), _KINDS)[0]
        except OSError as fault:
            raise RunError(f"Cannot read {self.file(JOURNAL)}: {fault.strerror}.") from None

    def standing(self) -> Standing:
        """Where it stands.

        Raises:
            RunError: its journal has no beginning.
        """
        found = standing_of(self.lines())
        if found is None:
            raise RunError(f"{self.file(JOURNAL)} does not say what was recorded.", f"rm -r {self.folder}")
        return found

    def recipe(self) -> Recipe:
        """As it was recorded.

        Raises:
            UsageError: it was edited into something that cannot be read.
        """
        from hpcaccept.app.schedule.recipe_file import read_recipe

        return read_recipe(self.file(RECIPE))

    def progress(self) -> Progress:
        """What the rules go by; a new one where there is none, or it cannot be read."""
        try:
            return from_plain(loads(read_text(self.file(PROGRESS))), Progress)
        except (OSError, ValueError):
            return Progress()

    def keep(self, progress: Progress) -> None:
        """Replace it.

        Raises:
            RunError: it cannot be written.
        """
        try:
            replace_file(self.file(PROGRESS), dumps(progress) + "\n", OWNER_ONLY)
        except OSError as fault:
            raise RunError(f"Cannot write {self.file(PROGRESS)}: {fault.strerror}.") from None


@dataclass(frozen=True)
class Records:
    """All runs of a working tree.

    Attributes:
        folder: ``.hpcaccept/runs``.
    """

    folder: Path

    @property
    def lock(self) -> Path:
        """Of whoever changes anything."""
        return self.folder / "lock"

    def all(self) -> list[Record]:
        """Every run, oldest first."""
        try:
            found = [each for each in self.folder.iterdir() if not each.name.startswith(".")]
        except FileNotFoundError:
            return []
        return sorted((Record(each) for each in found if (each / JOURNAL).is_file()), key=lambda each: each.order)

    def one(self, name: str) -> Record:
        """A run by its name, or by an end or a beginning of it that no other has; empty: the latest.

        Raises:
            UsageError: none or several.
        """
        there = self.all()
        if not there:
            raise UsageError(f"No run is recorded in {self.folder}.", "hpcaccept schedule add --at '+1h'")
        if not name:
            return there[-1]
        found = [each for each in there if each.run == name] or [
            each for each in there if each.run.startswith(name) or each.run.endswith(name)
        ]
        if len(found) == 1:
            return found[0]
        what = f"{len(found)} runs are called like {name!r}" if found else f"No run {name!r} is recorded here"
        raise UsageError(f"{what}; known: {', '.join(each.run for each in there[-8:])}.", "hpcaccept schedule status")

    def begin(self, run: str) -> Record:
        """A folder for a run that is being recorded; ``name`` makes it count."""
        folder = self.folder / f"{NEW}{run}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700)
        except OSError as fault:
            raise RunError(f"Cannot make {folder}: {fault.strerror}.") from None
        return Record(folder)

    def name(self, made: Record, run: str) -> Record:
        """Give a recorded run its name: from now on it counts, whatever happens to this machine.

        Raises:
            RunError: the file system refuses.
        """
        final = self.folder / run
        try:
            os.sync()
            made.folder.rename(final)
            sync_folder(self.folder)
        except OSError as fault:
            raise RunError(f"Cannot name {final}: {fault.strerror}.") from None
        return Record(final)

    def sweep(self) -> None:
        """Remove what was being recorded by somebody who was killed. Only under the lock: nobody else is recording then."""
        for each in self.folder.glob(f"{NEW}*"):
            shutil.rmtree(each, ignore_errors=True)
