"""The cells of tonight: each image and each machine at least once, the pairs that waited longest first, all of them within some nights.

Pairs of two factors are the full product, so no covering array is shorter: what can be had is a part of it each night, so chosen that no image and
no machine waits, and that nothing is left out at the end of the week.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from hpcaccept.model.matrix.matrix import Cell


def tonight(cells: Sequence[Cell], last_run: Mapping[str, str], nights: int) -> tuple[Cell, ...]:
    """The cells of one night, in the order of the file.

    The ``count / nights`` cells that waited longest come first, so that after so many nights each has been run; of those that have waited equally long
    one with an image and a machine that tonight has not yet. Then whatever image or machine is still missing gets its oldest cell.

    Args:
        cells: that can be.
        last_run: id of a cell → when it was run last, as text that sorts by time; never run: not there.
        nights: within which every cell is run.
    """
    quota = math.ceil(len(cells) / nights)
    chosen: list[Cell] = []
    rows: set[str] = set()
    columns: set[str] = set()
    waiting = list(cells)

    def take(cell: Cell) -> None:
        waiting.remove(cell)
        chosen.append(cell)
        rows.add(cell.row)
        columns.add(cell.machine.name)

    def gain(cell: Cell) -> int:
        return (cell.row not in rows) + (cell.machine.name not in columns)

    while len(chosen) < quota:
        take(min(waiting, key=lambda cell: (last_run.get(cell.id, ""), -gain(cell))))
    while missing := [cell for cell in waiting if gain(cell)]:
        take(min(missing, key=lambda cell: (-gain(cell), last_run.get(cell.id, ""))))
    return tuple(cell for cell in cells if cell in chosen)


def nights_needed(cells: Sequence[Cell], last_run: Mapping[str, str], nights: int) -> int:
    """After how many nights, tonight's included, every cell that was never run has been, if none fails to be run."""
    run = dict(last_run)
    for night in range(1, nights + 1):
        if all(cell.id in run for cell in cells):
            return night - 1
        run |= {cell.id: f"~{night:06}" for cell in tonight(cells, run, nights)}
    return nights


def uncovered(cells: Sequence[Cell], done: Collection[str]) -> tuple[Cell, ...]:
    """Cells that can be, and are not among those."""
    return tuple(cell for cell in cells if cell.id not in done)
