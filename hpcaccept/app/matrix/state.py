"""The state of a run of a matrix: every cell with its verdict, also those that cannot be, were not chosen, or wait."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.app.matrix.folder import Past
from hpcaccept.config.matrix import matrix_of
from hpcaccept.config.toml import read_toml
from hpcaccept.judge.cells import exit_code, verdict_of_attempts
from hpcaccept.model.matrix.attempt import OUTCOMES, Attempt, CellOutcome
from hpcaccept.model.matrix.matrix import Cell, Matrix
from hpcaccept.plan.matrix.cells import cells_of

if TYPE_CHECKING:
    from hpcaccept.app.matrix.folder import MatrixRun


@dataclass(frozen=True)
class CellState:
    """One cell of a run.

    Attributes:
        cell: image and machine.
        outcome: verdict so far.
        reason: one sentence; empty for a PASS.
        chosen: whether the run is to try it.
        running: whether an attempt of it is open.
        attempts: that count, oldest first.
    """

    cell: Cell
    outcome: CellOutcome
    reason: str
    chosen: bool
    running: bool
    attempts: tuple[Attempt, ...]

    @property
    def flaky(self) -> bool:
        """Failed, and passed when it was tried again."""
        return self.outcome == "WARN"


@dataclass(frozen=True)
class State:
    """A whole run.

    Attributes:
        run: its name.
        matrix: as it was when the run began.
        past: what its journal says.
        cells: all of them, in the order of the file.
    """

    run: str
    matrix: Matrix
    past: Past
    cells: tuple[CellState, ...]

    @property
    def chosen(self) -> tuple[CellState, ...]:
        """Those that the run is to try."""
        return tuple(each for each in self.cells if each.chosen)

    @property
    def exit_code(self) -> int:
        """Of the cells that the run is to try."""
        return exit_code([each.outcome for each in self.chosen])

    def count(self, outcome: CellOutcome) -> int:
        """Cells with this verdict, those that were not chosen left out."""
        return sum(each.outcome == outcome and (each.chosen or outcome == "IMPOSSIBLE") for each in self.cells)

    @property
    def counts(self) -> dict[CellOutcome, int]:
        """Of every verdict."""
        return {outcome: self.count(outcome) for outcome in OUTCOMES}


def state_of(run: MatrixRun) -> State:
    """Read a run.

    Raises:
        UsageError: the folder is none of a run, or its matrix cannot be read.
    """
    past = run.past()
    matrix = matrix_as_it_was(run)
    chosen = set(past.begun.cells)
    return State(run.name, matrix, past, tuple(_cell(cell, past, cell.id in chosen) for cell in cells_of(matrix)))


def matrix_as_it_was(run: MatrixRun) -> Matrix:
    """The matrix of a run as its file was; paths are relative to where that was.

    Raises:
        UsageError: it cannot be read.
    """
    origin = Path(run.past().begun.file)
    return matrix_of(read_toml(run.file), str(run.file), origin.parent, origin.stem)


def _cell(cell: Cell, past: Past, chosen: bool) -> CellState:
    tries, running = past.attempts.get(cell.id, ()), cell.id in past.open
    if cell.impossible:
        return CellState(cell, "IMPOSSIBLE", cell.impossible, chosen, running, tries)
    if tries:
        return CellState(cell, *verdict_of_attempts(tries), chosen, running, tries)
    if running:
        by_hand = cell.machine.where == "pods"
        why = (
            f"waits for somebody: kubectl create -f cells/{cell.id}/{past.open[cell.id].number}/job.json"
            if by_hand
            else "it is being run"
        )
        return CellState(cell, "NOT_RUN", why, chosen, not by_hand, tries)
    if cell.id in past.unstarted:
        return CellState(cell, "NOT_RUN", past.unstarted[cell.id].reason, chosen, running, tries)
    return CellState(cell, "NOT_RUN", "not run yet" if chosen else "not chosen for this run", chosen, running, tries)
