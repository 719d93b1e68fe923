"""The cells that cover every pair of values, where a matrix has more factors than image and machine. A covering array, by covertable.

With two factors it is the full product; with more it is far less: 6 × 5 × 4 × 4 × 3 × 2 values have 2,880 cells and about 31 of them cover all pairs.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from hpcaccept.errors import UsageError, install_hint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.matrix.matrix import Cell

Pair = tuple[tuple[str, str], tuple[str, str]]


def covering(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """A few of the cells that have every pair of values that any of them has, in the order given.

    The library knows no rule of ours: what it makes of all values is kept where such a cell can be, and pairs that are then missing are
    filled from the cells that can be.

    Raises:
        UsageError: covertable is not installed.
    """
    try:
        from covertable import make
    except ImportError:
        raise UsageError("Pairs of more than two factors need covertable.", install_hint("matrix")) from None
    if not cells:
        return ()
    by_values = {tuple(values_of(cell).items()): cell for cell in cells}
    names = list(values_of(cells[0]))
    factors = {name: list(dict.fromkeys(values_of(cell)[name] for cell in cells)) for name in names}
    rows = make(factors, strength=2) if len(names) > 1 else [values_of(cell) for cell in cells]
    found = [by_values.get(tuple((name, row[name]) for name in names)) for row in rows]
    chosen = [cell for cell in found if cell is not None]
    missing = pairs_of(cells) - pairs_of(chosen)
    while missing:
        best = max(cells, key=lambda cell: len(pairs_of([cell]) & missing))
        chosen.append(best)
        missing -= pairs_of([best])
    return tuple(cell for cell in cells if cell in chosen)


def values_of(cell: Cell) -> dict[str, str]:
    """Of every factor."""
    return {"image": cell.image.name, "machine": cell.machine.name, **cell.factors}


def pairs_of(cells: Sequence[Cell]) -> set[Pair]:
    """Every pair of values that some cell has."""
    return {pair for cell in cells for pair in itertools.combinations(values_of(cell).items(), 2)}
