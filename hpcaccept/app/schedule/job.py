"""What a place does for a run: start it, look at it, end it, bring its results, release what it holds.

Each of these may be called again after this process was killed in the middle of it, and then goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from hpcaccept.app.schedule.clock import Clock
from hpcaccept.app.schedule.records import Record
from hpcaccept.model.schedule.progress import Progress
from hpcaccept.model.schedule.recipe import Recipe
from hpcaccept.model.schedule.standing import Standing

if TYPE_CHECKING:
    import datetime as dt

    from hpcaccept.model.schedule.entry import Entry, Kept, Released, Started


@dataclass
class Job:
    """One run while somebody works on it, under the lock.

    Attributes:
        record: of it.
        recipe: as it was recorded.
        standing: now.
        progress: now.
        clock: of this machine.
        place: where it runs.
        say: prints a line.
    """

    record: Record
    recipe: Recipe
    standing: Standing
    progress: Progress
    clock: Clock
    place: Place
    say: Callable[[str], None] = field(default=lambda _: None)

    def write(self, entry: Entry) -> None:
        """Write it down, then go by it.

        Raises:
            RunError: it cannot be written; then what it announces must not be done.
        """
        self.record.write(entry, self.clock.now())
        self.standing = self.record.standing()

    def keep(self, progress: Progress) -> None:
        """Replace the progress where it has changed."""
        if progress != self.progress:
            self.record.keep(progress)
            self.progress = progress


@dataclass(frozen=True)
class Seen:
    """What a look has found.

    Attributes:
        state: ``pending``: in a queue; ``unknown``: nobody could be asked.
        exit_code: of a command that has ended; None: not known.
        text: for people.
        machine: where it runs.
    """

    state: Literal["pending", "running", "ended", "lost", "unknown"]
    exit_code: int | None = None
    text: str = ""
    machine: str = ""


@dataclass(frozen=True)
class NotYet:
    """Why a start has to wait."""

    why: str


@dataclass(frozen=True)
class Failed:
    """Why a start can never be."""

    why: str


class Place(Protocol):
    """Where runs run."""

    @property
    def defers(self) -> bool:
        """It waits for the time itself, so that it is given a run at once."""

    def check(self, recipe: Recipe) -> None:
        """Raise UsageError where a recipe asks for what this place does not have."""

    def preview(self, recipe: Recipe, at: dt.datetime) -> list[str]:
        """What would be asked for, for ``--dry-run``."""

    def start(self, job: Job) -> Started | NotYet | Failed:
        """Start the attempt, or go one step nearer to it."""

    def look(self, job: Job) -> Seen:
        """What the command does."""

    def end(self, job: Job) -> Seen | None:
        """End the command; None: it is not over yet."""

    def fetch(self, job: Job) -> None:
        """Bring log and results of a run that goes on, where they are not here anyway."""

    def keep(self, job: Job) -> Kept | None:
        """Bring log and results; None: not all yet."""

    def release(self, job: Job) -> Released | None:
        """Give back what is held; None: it is not seen to be over yet."""

    def cost(self, job: Job, seconds: float) -> float:
        """USD of so many seconds."""
