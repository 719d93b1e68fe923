"""Where the jobs of cells run: what the client needs of this machine, of a scheduler, and of whatever else comes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

from hpcaccept.errors import LaunchError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from hpcaccept.model.job import JobRef, JobStatus
    from hpcaccept.model.matrix.matrix import Cell


class Place(Protocol):
    """Where the jobs of cells run."""

    #: True where somebody else starts what was prepared: the client does not wait for it.
    by_hand: bool

    @property
    def provides(self) -> Collection[str]:
        """By which a container runtime is chosen (``LauncherTraits.provides``)."""

    def no_machine(self, cell: Cell) -> str:
        """Why no machine could take the cell as things stand; empty: one can."""

    def start(self, cell: Cell, folder: Path, word: str) -> JobRef:
        """Start the job of a prepared folder; ``find`` finds it by the word.

        Raises:
            LaunchError: it was refused; there is no job.
        """

    def find(self, folder: Path, word: str) -> JobRef | None:
        """A job that was started with that word and lives.

        Raises:
            LaunchError: nobody can say.
        """

    def status(self, job: JobRef) -> JobStatus:
        """Of a job."""

    def cancel(self, job: JobRef) -> None:
        """End it; no error when it is over."""


def cell_command(folder: Path) -> tuple[str, ...]:
    """What the job runs, with the Python of this machine."""
    return (sys.executable, "-m", "hpcaccept", "matrix", "cell", str(folder))


class Absent:
    """A place that cannot be reached, where nothing of the run is open: its cells have no machine."""

    by_hand = False
    provides: frozenset[str] = frozenset()

    def __init__(self, why: str) -> None:
        """Say why in words."""
        self._why = why

    def no_machine(self, cell: Cell) -> str:
        """Say why."""
        return self._why

    def start(self, cell: Cell, folder: Path, word: str) -> JobRef:
        """Refuse."""
        raise LaunchError(self._why)

    def find(self, folder: Path, word: str) -> JobRef | None:
        """Refuse: nobody can say."""
        raise LaunchError(self._why)

    def status(self, job: JobRef) -> JobStatus:
        """Refuse."""
        raise LaunchError(self._why)

    def cancel(self, job: JobRef) -> None:
        """Refuse."""
        raise LaunchError(self._why)
