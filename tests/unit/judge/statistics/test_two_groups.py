"""Two groups of like subjects are told from one, also where the slow ones are so many that they widen the width."""

from __future__ import annotations

import numpy as np
import pytest

from hpcaccept.judge.statistics.two_groups import FEWEST, Floats, slower_group

FLOOR = 0.03


def column(count: int, slow: int, loss: float, seed: int = 7, width: float = FLOOR / 4) -> Floats:
    value = 1e12 * (1 + width * np.random.default_rng(seed).standard_normal(count))
    value[:slow] *= 1 - loss
    return np.asarray(value)


@pytest.mark.parametrize(("count", "slow"), [(16, 8), (24, 8), (64, 20), (512, 160), (8, 4), (4, 2)])
def test_a_share_of_slow_ones_is_the_slower_group(count: int, slow: int) -> None:
    found = slower_group(column(count, slow, 0.2), True, FLOOR)
    assert found is not None
    assert found.tolist() == [number < slow for number in range(count)]


def test_of_times_the_longer_ones_are_the_slower_group() -> None:
    found = slower_group(1 / column(16, 8, 0.2), False, FLOOR)
    assert found is not None
    assert found.tolist() == [number < 8 for number in range(16)]


@pytest.mark.parametrize("scale", [1e-140, 1.0, 1e140])
def test_the_unit_of_measure_changes_nothing(scale: float) -> None:
    found = slower_group(column(24, 8, 0.05) / 1e12 * scale, True, FLOOR)
    assert found is not None
    assert int(found.sum()) == 8


def test_the_order_changes_nothing() -> None:
    value = column(24, 8, 0.2)
    order = np.random.default_rng(1).permutation(24)
    found = slower_group(value[order], True, FLOOR)
    assert found is not None
    assert sorted(order[found].tolist()) == list(range(8))


@pytest.mark.parametrize("count", [4, 5, 6, 8, 12, 16, 24, 64, 512])
@pytest.mark.parametrize("noise", ["normal", "t5", "lognormal", "uniform"])
def test_healthy_columns_are_one_group(count: int, noise: str) -> None:
    dice = np.random.default_rng(count)
    runs, found = 400, 0
    for _ in range(runs):
        wide = {
            "normal": lambda: dice.standard_normal(count),
            "t5": lambda: dice.standard_t(5, count) / 1.29,
            "lognormal": lambda: (1.133 - np.exp(0.5 * dice.standard_normal(count))) / 0.604,
            "uniform": lambda: dice.uniform(-1.73, 1.73, count),
        }[noise]()
        found += slower_group(1 + FLOOR / 4 * wide, True, FLOOR) is not None
    assert found <= 4, "one in a hundred columns of the width of the class"


def test_a_single_slow_one_is_no_group() -> None:
    assert slower_group(column(64, 1, 0.5), True, FLOOR) is None


@pytest.mark.parametrize("value", [[], [1.0], [1.0, 2.0], [1.0, 1.0, 0.5], [0.0] * 8, [-1.0] * 8])
def test_too_few_or_nothing_are_no_groups(value: list[float]) -> None:
    assert slower_group(np.array(value), True, FLOOR) is None


def test_equal_values_are_one_group_and_two_equal_halves_are_two() -> None:
    assert slower_group(np.ones(16), True, FLOOR) is None
    found = slower_group(np.array([1.0] * 8 + [0.9] * 8), True, FLOOR)
    assert found is not None
    assert FEWEST <= int(found.sum()) == 8
