from __future__ import annotations

import itertools

import pytest

from hpcaccept.model.matrix.matrix import Cell, ImageSpec, MachineSpec
from hpcaccept.plan.matrix.pairs import covering, pairs_of

pytest.importorskip("covertable", reason="the extra 'matrix' is not installed")


def cells(images: int, machines: int, drivers: int, pythons: int) -> list[Cell]:
    return [
        Cell(ImageSpec(f"i{i}"), MachineSpec(f"m{m}"), {"driver": f"d{d}", "python": f"p{p}"}, ())
        for i, m, d, p in itertools.product(range(images), range(machines), range(drivers), range(pythons))
    ]


def test_a_few_cells_have_every_pair_of_values() -> None:
    every = cells(6, 5, 4, 3)
    chosen = covering(every)
    assert pairs_of(chosen) == pairs_of(every)
    assert len(every) == 360
    assert len(chosen) < 45, "30 is the least that any choice has"


def test_of_cells_that_cannot_be_none_is_chosen_and_no_pair_of_the_others_is_left_out() -> None:
    possible = [c for c in cells(4, 4, 3, 2) if (c.image.name, c.factors["driver"]) != ("i0", "d0")]
    possible = [c for c in possible if (c.machine.name, c.factors["python"]) not in (("m1", "p1"), ("m2", "p0"))]
    chosen = covering(possible)
    assert {c.id for c in chosen} <= {c.id for c in possible}
    assert pairs_of(chosen) == pairs_of(possible)


def test_two_factors_are_the_full_product() -> None:
    every = [Cell(ImageSpec(f"i{i}"), MachineSpec(f"m{m}"), {}, ()) for i in range(3) for m in range(4)]
    assert covering(every) == tuple(every)


def test_it_is_the_same_each_time() -> None:
    every = cells(4, 3, 2, 2)
    assert covering(every) == covering(every)
