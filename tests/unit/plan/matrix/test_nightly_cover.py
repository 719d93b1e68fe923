from __future__ import annotations

import math
import random

import pytest

from hpcaccept.model.matrix.matrix import Cell, ImageSpec, MachineSpec
from hpcaccept.plan.matrix.nightly_cover import nights_needed, tonight


def grid(images: int, machines: int, without: frozenset[tuple[int, int]] = frozenset()) -> list[Cell]:
    return [
        Cell(ImageSpec(f"i{i}"), MachineSpec(f"m{m}"), {}, ())
        for i in range(images)
        for m in range(machines)
        if (i, m) not in without
    ]


@pytest.mark.parametrize(("images", "machines"), [(1, 1), (2, 3), (5, 5), (3, 7), (12, 11), (1, 9)])
def test_within_a_week_every_cell_is_run_and_each_night_every_image_and_machine(images: int, machines: int) -> None:
    cells, last = grid(images, machines), dict[str, str]()
    for night in range(7):
        chosen = tonight(cells, last, 7)
        assert {c.image.name for c in chosen} == {f"i{i}" for i in range(images)}
        assert {c.machine.name for c in chosen} == {f"m{m}" for m in range(machines)}
        last |= {c.id: f"{night}" for c in chosen}
    assert len(last) == len(cells)


def test_a_night_is_as_short_as_it_can_be() -> None:
    assert len(tonight(grid(5, 5), {}, 7)) == 5
    assert len(tonight(grid(3, 7), {}, 7)) == 7
    # 132 cells in seven nights are 19 a night.
    assert len(tonight(grid(12, 11), {}, 7)) == 19


def test_pairs_rotate_for_ever_though_some_cannot_be() -> None:
    rng = random.Random(3)
    without = frozenset((rng.randrange(8), rng.randrange(6)) for _ in range(15))
    cells, last = grid(8, 6, without), dict[str, str]()
    for night in range(40):
        last |= {c.id: f"{night:03}" for c in tonight(cells, last, 7)}
        if night >= 7:
            assert min(last.values()) >= f"{night - 6:03}", "a cell waited for more than a week"


def test_cells_that_were_never_run_come_before_those_that_were() -> None:
    cells = grid(3, 3)
    ran = {cell.id: "1" for cell in cells[:8]}
    assert cells[8] in tonight(cells, ran, 7)


def test_nights_are_counted_ahead() -> None:
    cells = grid(4, 4)
    assert nights_needed(cells, {}, 7) == 4
    assert nights_needed(cells, {cell.id: "1" for cell in cells}, 7) == 0
    assert nights_needed(grid(12, 11), {}, 7) == math.ceil(132 / 19)
