"""The numbers as a table for people."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from benchmarks.isolation.cells import CELLS, bound_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def table(found: Mapping[str, Any]) -> str:
    """All rows that were measured, in the order of the cells."""
    lines = [
        "| fleet of 232 nodes, or as named | method | fleets | tests | rounds: mean, most | node × tests | exactly right (95 % interval) | bad nodes named | false blame, of healthy nodes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for cell, _, methods, goal in CELLS:
        if cell.name not in found:
            continue
        bound = bound_of(cell)
        notes = [f"bound {bound:.1f} tests"] if math.isfinite(bound) else []
        notes += [f"goal: {goal}"] if goal else []
        title = cell.name + (f" ({'; '.join(notes)})" if notes else "")
        for name in methods:
            if name in found[cell.name]["methods"]:
                lines.append("| " + " | ".join([title, *_cells(name, found[cell.name]["methods"][name])]) + " |")
                title = ""
    return "\n".join(lines)


def _cells(name: str, row: Mapping[str, Any]) -> Iterator[str]:
    low, high = row["right_interval"]
    yield f"**{name}**" if name == "hpcaccept" else name
    yield str(row["trials"])
    yield f"{row['tests']:,.1f}"
    yield f"{row['rounds']:.1f}, {row['rounds_most']}"
    yield f"{row['node_tests']:,.0f}"
    yield f"{row['right'] / row['trials']:.1%} ({low:.1%} to {high:.1%})"
    yield f"{row['named']} of {row['bad']}" if row["bad"] else "–"
    yield f"{row['false'] / row['healthy']:.3%}"
