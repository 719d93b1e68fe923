"""Where the limit of a baseline lies in this run: exact ones where they are, learned ones as far out as so many values ask for.

A limit that somebody has stated (a suite, a maker, a file of another tool) holds as it is. A learned one states a rate: that a healthy run misses
any of them. The more values a run holds against learned limits, the further out each of them lies.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from hpcaccept.judge.statistics.learned_rule import Law, law_of
from hpcaccept.judge.statistics.peer_rule import WIDTHS_IN_FLOOR, chance_of_each
from hpcaccept.judge.statistics.tail import TAIL_FROM
from hpcaccept.model.baseline import written_loss

if TYPE_CHECKING:
    from hpcaccept.model.baseline import BaselineEntry

#: A limit further below the middle than this finds nothing that anybody would call slow; as far above it, of what takes longer.
MOST_LOSS, MOST_TIMES = 0.5, 1.0
#: So many units know their spread; and the numbers that are asked for on the way.
MANY = 8192
_UNITS = (*range(1, 17), *(2**power for power in range(5, 14)))
#: A MAD keeps 0.37 of the information that there is, algorithm A 0.8.
_OF_A_MAD = 0.37 / 0.8


def states_a_rate(entry: BaselineEntry) -> bool:
    """True for what was learned: its limit depends on the number of values."""
    return entry.floor > 0 and bool(entry.center)


def limits_of(
    entry: BaselineEntry, comparisons: int, rate: float, class_floor: float = 0.0
) -> tuple[float | None, float | None, float]:
    """Lower limit, upper limit, and the relative loss at which it lies (NaN: not known).

    Args:
        entry: exact or learned.
        comparisons: values that the run holds against learned limits.
        rate: chance that a healthy run misses any of these.
        class_floor: of the class of the metric, for entries of earlier files, which do not say from what their limit follows; 0: not known.
    """
    center = entry.center
    if not states_a_rate(entry) or center is None:
        return entry.lower, entry.upper, written_loss(entry)
    loss = max(entry.floor, law_in(entry, class_floor).loss_at(chance_of_each(comparisons, rate)))
    if entry.direction == "higher":
        return center - loss * abs(center), None, loss
    return None, center + loss * abs(center), loss


def law_in(entry: BaselineEntry, class_floor: float = 0.0) -> Law:
    """Of a further healthy unit; of an entry of an earlier file as far as it can be known."""
    if entry.width > 0:
        return Law(entry.width, entry.freedom, entry.tail)
    usual = (class_floor or entry.floor) / WIDTHS_IN_FLOOR
    return law_of(_spread(entry), units_of(entry), usual, kept=_OF_A_MAD)


def _spread(entry: BaselineEntry) -> float:
    return abs((entry.spread or 0.0) / entry.center) if entry.center else 0.0


def units_of(entry: BaselineEntry) -> int:
    """That the entry was learned from; of all ranks together it is the runs."""
    return max(entry.subjects if entry.nodes or not entry.values else entry.values, 1)


def useless(entry: BaselineEntry) -> str:
    """Why the limit of an entry would be met by the broken too; empty for one that finds something."""
    if (entry.center or 0.0) <= 0:
        return "the middle is 0"
    loss = written_loss(entry)
    if math.isnan(loss):
        return "it has no limit"
    # Rounding: half, as nodes that share a kernel are given, is still a limit.
    if loss > _most(entry) + 1e-9:
        return f"the units differ so much that a loss of {loss:.0%} would still pass{_few(entry)}"
    return ""


def _few(entry: BaselineEntry) -> str:
    """What more units would make of it, where that is something."""
    units = units_for(entry, _most(entry))
    return f"; {units} units would be enough" if units else ""


def _most(entry: BaselineEntry) -> float:
    return MOST_LOSS if entry.direction == "higher" else MOST_TIMES


def units_for(entry: BaselineEntry, loss: float) -> int:
    """From how many learned units on, of the same spread, the limit would lie within a loss; 0: not with any number."""
    return next((units for units in _UNITS if written_loss_from(entry, units) <= loss), 0)


def written_loss_from(entry: BaselineEntry, units: int = MANY) -> float:
    """``written_loss`` if the entry had been learned from so many units with the same spread."""
    # So many units settle whether tails are heavy.
    tail = round(entry.tail) if units >= TAIL_FROM else entry.tail
    law = replace(law_of(_spread(entry), units, entry.floor / WIDTHS_IN_FLOOR), tail=tail)
    return max(entry.floor, law.loss_at(chance_of_each(entry.comparisons, entry.rate or 1.0)))
