from __future__ import annotations

import math

import pytest
import torch

from hpcaccept.measure import pattern

TABLE = torch.arange(1.0, 8.0)


@pytest.mark.parametrize("length", [1, 6, 7, 8, 700, 1023])
def test_what_was_filled_is_right_in_every_element(length: int) -> None:
    memory = torch.full((length,), math.nan)
    pattern.fill(memory, TABLE)
    assert memory.tolist() == [i % 7 + 1 for i in range(length)]
    assert pattern.wrong_elements(memory, TABLE) == 0


@pytest.mark.parametrize("at", [0, 500, 699, 700, 703])
@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_one_wrong_element_is_counted_wherever_it_is(at: int, value: float) -> None:
    memory = torch.empty(704)
    pattern.fill(memory, TABLE)
    memory[at] = value
    assert pattern.wrong_elements(memory, TABLE) == 1


def test_elements_that_land_a_power_of_two_too_far_are_seen() -> None:
    memory = torch.empty(704)
    pattern.fill(memory, TABLE)
    assert pattern.wrong_elements(memory.roll(64), TABLE) > 600
