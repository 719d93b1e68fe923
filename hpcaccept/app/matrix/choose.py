"""Chooses the cells that a run tries, with their cost and what stays uncovered. Nothing is started for the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcaccept.app.matrix.folder import runs_of
from hpcaccept.errors import UsageError
from hpcaccept.model.matrix.matrix import Cell, matches
from hpcaccept.plan.matrix.cells import cells_of
from hpcaccept.plan.matrix.nightly_cover import nights_needed, tonight

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hpcaccept.model.matrix.attempt import Attempt
    from hpcaccept.model.matrix.matrix import Matrix

#: Ways to choose: every cell; each image and machine once, rotating; every pair of values of all factors once.
CHOICES = ("full", "cover", "pairs")


@dataclass(frozen=True)
class Choice:
    """What a run would try.

    Attributes:
        how: of ``CHOICES``.
        cells: all of the matrix.
        chosen: of them.
        seconds: id of a cell → how long it took last time.
        uncovered: cells that can be, and have been run in no run yet, nor are chosen.
        nights: covering runs, this one included, until every cell has been run.
    """

    how: str
    cells: tuple[Cell, ...]
    chosen: tuple[Cell, ...]
    seconds: dict[str, float]
    uncovered: tuple[Cell, ...]
    nights: int


def choose(matrix: Matrix, folder: Path, how: str, images: Sequence[str] = (), machines: Sequence[str] = ()) -> Choice:
    """The cells of a run.

    Args:
        matrix: of the file.
        folder: with its earlier runs, by which covering rotates.
        how: of ``CHOICES``.
        images: patterns; empty: all.
        machines: patterns; empty: all.

    Raises:
        UsageError: a pattern matches nothing, or no cell is left that can be.
    """
    every = cells_of(matrix)
    known(matrix, images, machines)
    possible = [cell for cell in every if not cell.impossible]
    meant = subset(possible, images, machines)
    last = _last_attempts(folder, matrix.name)
    last_run = {cell: each.began_at for cell, each in last.items()}
    turns = {**last_run, **_waited_for_a_machine(folder, matrix.name, last_run)}
    if how == "cover":
        chosen = tonight(meant, turns, matrix.nights)
    elif how == "pairs":
        from hpcaccept.plan.matrix.pairs import covering

        chosen = covering(meant)
    else:
        chosen = tuple(meant)
    if not chosen:
        raise UsageError("No cell is left: every one that was asked for is impossible.", "hpcaccept matrix plan FILE")
    done = {*last_run, *(cell.id for cell in chosen)}
    return Choice(
        how,
        every,
        chosen,
        {cell: each.seconds for cell, each in last.items()},
        tuple(cell for cell in possible if cell.id not in done),
        nights_needed(possible, last_run, matrix.nights),
    )


def known(matrix: Matrix, images: Sequence[str], machines: Sequence[str]) -> None:
    """Raises UsageError where a pattern matches nothing."""
    from hpcaccept.errors import nearest

    pairs = (("--image", images, matrix.images), ("--machine", machines, matrix.machines))
    for option, patterns, there in pairs:
        names = [each.name for each in there]
        for pattern in patterns:
            if not any(matches(name, (pattern,)) for name in names):
                raise UsageError(f"{option} {pattern!r} matches none. {nearest(pattern, names)}")


def subset(cells: Sequence[Cell], images: Sequence[str], machines: Sequence[str]) -> list[Cell]:
    """Those of some images and machines."""
    return [
        cell
        for cell in cells
        if matches(cell.image.name, tuple(images)) and matches(cell.machine.name, tuple(machines))
    ]


def _last_attempts(folder: Path, name: str) -> dict[str, Attempt]:
    """Of each cell the last attempt whose tests spoke, in any run of the matrix."""
    found: dict[str, Attempt] = {}
    for run in runs_of(folder, name):
        past = run.past()
        for tries in (past.earlier, past.attempts):
            for cell, many in tries.items():
                for each in many:
                    if each.outcome in ("PASS", "FAIL") and each.began_at >= found.get(cell, each).began_at:
                        found[cell] = each
    return found


def _waited_for_a_machine(folder: Path, name: str, last_run: dict[str, str]) -> dict[str, str]:
    """Cells whose last turn found no machine: when. They have had it, or a machine that is down for weeks would take everybody else's."""
    found: dict[str, str] = {}
    for run in runs_of(folder, name):
        past = run.past()
        for cell, each in past.unstarted.items():
            if each.code in ("no-machine", "queue") and past.began_at > last_run.get(cell, ""):
                found[cell] = past.began_at
    return found


def plan_lines(matrix: Matrix, choice: Choice) -> list[str]:
    """For people: how many, how long, how much, what cannot be, what stays uncovered."""
    chosen, impossible = choice.chosen, [cell for cell in choice.cells if cell.impossible]
    machines = {cell.machine.name for cell in chosen}
    dimensions = [f"{len(matrix.images)} images", f"{len(matrix.machines)} machines"]
    dimensions += [f"{len(values)} values of {name}" for name, values in matrix.factors.items()]
    counted = f"{len(choice.cells)} cells, {len(impossible)} impossible, {len(chosen)} chosen ({choice.how})"
    lines = [
        f"{matrix.name}: {' × '.join(dimensions)} = {counted}",
        "",
        f"{'cell':44} {'tests':>5} {'at most':>9} {'last time':>9} {'USD, most':>9}",
    ]
    for cell in chosen:
        last = f"{choice.seconds[cell.id]:.0f} s" if cell.id in choice.seconds else "-"
        usd = f"{cell.most_usd:.2f}" if cell.machine.usd_per_hour else "-"
        lines.append(f"{cell.id:44} {len(cell.tests):>5} {cell.limit_s:>7.0f} s {last:>9} {usd:>9}")
    lines += [
        "",
        f"machine-hours, at most: {most_hours(choice):.2f} on {len(machines)} machines; as last time, where known: {expected_hours(choice):.2f}",
        f"cost, at most: {most_usd(choice):.2f} USD; as last time, where known: {expected_usd(choice):.2f} USD (re-runs of failed cells come on top)",
    ]
    if impossible:
        lines += ["", "impossible:", *(f"  {cell.id}: {cell.impossible}" for cell in impossible)]
    return [*lines, "", *_coverage(matrix, choice)]


def _coverage(matrix: Matrix, choice: Choice) -> list[str]:
    pairs = _pairs(choice) if choice.how == "pairs" else []
    return [*pairs, *_cells_left(matrix, choice)]


def _pairs(choice: Choice) -> list[str]:
    from hpcaccept.plan.matrix.pairs import pairs_of

    every = pairs_of([cell for cell in choice.cells if not cell.impossible])
    missing = every - pairs_of(choice.chosen)
    shown = sorted(" with ".join(f"{name}={value}" for name, value in pair) for pair in missing)
    more = f" and {len(shown) - 12} more" if len(shown) > 12 else ""
    left = f"; not: {', '.join(shown[:12])}{more}" if shown else ""
    return [f"pairs of values that can be: {len(every)}; this run covers {len(every) - len(missing)}{left}"]


def _cells_left(matrix: Matrix, choice: Choice) -> list[str]:
    if not choice.uncovered:
        return ["After this run every cell that can be has been run at least once."]
    ids = [cell.id for cell in choice.uncovered]
    more = f" and {len(ids) - 12} more" if len(ids) > 12 else ""
    lines = [f"uncovered after this run: {len(ids)}: {', '.join(ids[:12])}{more}"]
    if choice.how == "cover":
        lines.append(
            f"Covering runs until every cell has been run, this one included: {choice.nights} (nights = {matrix.nights})."
        )
    return lines


def most_hours(choice: Choice) -> float:
    """By the limits."""
    return sum(cell.limit_s for cell in choice.chosen) / 3600


def expected_hours(choice: Choice) -> float:
    """As last time; by the limits where there was none."""
    return sum(choice.seconds.get(cell.id, cell.limit_s) for cell in choice.chosen) / 3600


def most_usd(choice: Choice) -> float:
    """By the limits."""
    return sum(cell.most_usd for cell in choice.chosen)


def expected_usd(choice: Choice) -> float:
    """As last time; by the limits where there was none."""
    return sum(choice.seconds.get(cell.id, cell.limit_s) / 3600 * cell.machine.usd_per_hour for cell in choice.chosen)


def as_plain(matrix: Matrix, choice: Choice) -> dict[str, Any]:
    """For programs."""
    return {
        "matrix": matrix.name,
        "choice": choice.how,
        "cells": len(choice.cells),
        "chosen": [
            {"id": c.id, "tests": [t.name for t in c.tests], "limit_s": c.limit_s, "last_s": choice.seconds.get(c.id), "most_usd": c.most_usd}
            for c in choice.chosen
        ],
        "impossible": {c.id: c.impossible for c in choice.cells if c.impossible},
        "most_hours": most_hours(choice),
        "expected_hours": expected_hours(choice),
        "most_usd": most_usd(choice),
        "expected_usd": expected_usd(choice),
        "uncovered": [c.id for c in choice.uncovered],
        "nights": choice.nights,
    }  # fmt: skip
