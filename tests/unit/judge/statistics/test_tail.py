"""hpcaccept.judge.statistics.tail: whether healthy values look like a normal distribution or like one with heavy tails."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from hpcaccept.judge.statistics.peer_rule import robust
from hpcaccept.judge.statistics.student_t import normal_tail, t_quantile, t_tail
from hpcaccept.judge.statistics.tail import (
    HEAVIEST,
    TAIL_FROM,
    WIDTH_OF_T,
    log_constant_of_t,
    log_likelihood_of_normal,
    log_likelihood_of_t,
    tail_of,
    width_of_tail,
    without_odd_ones,
)

Floats = npt.NDArray[np.float64]


@pytest.mark.parametrize("df", [5.0, 20.0])
def test_what_is_known_of_heavy_tails_is_what_the_width_of_such_a_tail_is(df: float) -> None:
    half = np.array([t_quantile((i + 0.5) / 800, df) for i in range(400)])
    assert robust(np.concatenate([-half, half])[None, :])[1][0] == pytest.approx(WIDTH_OF_T[df], rel=5e-3)


def test_the_normal_distribution_has_the_width_one() -> None:
    assert width_of_tail(math.inf) == 1.0
    assert HEAVIEST == 5.0


@pytest.mark.parametrize("df", sorted(WIDTH_OF_T))
def test_the_likelihoods_are_those_of_the_densities(df: float) -> None:
    """A density is the slope of the tail."""
    widths, step, scale = np.array([0.0, 0.7, 2.5, 6.0]), 1e-4, WIDTH_OF_T[df]
    slopes = [
        (t_tail(abs(x - step) * scale, df) - t_tail((x + step) * scale, df)) / (2 * step) for x in widths[1:].tolist()
    ]
    slopes.insert(0, (0.5 - t_tail(step * scale, df)) / step)
    assert log_likelihood_of_t(widths, df) == pytest.approx(sum(map(math.log, slopes)), abs=1e-4)
    assert math.exp(log_constant_of_t(df)) * scale == pytest.approx(slopes[0], rel=1e-4)


def test_the_likelihood_of_normal_values_is_that_of_their_density() -> None:
    slopes = [(normal_tail(x - 1e-4) - normal_tail(x + 1e-4)) / 2e-4 for x in (0.0, 1.5, 3.0)]
    assert log_likelihood_of_normal(np.array([0.0, 1.5, 3.0])) == pytest.approx(sum(map(math.log, slopes)), abs=1e-5)


def quantiles(df: float, count: int = 4096) -> Floats:
    """A t of width 1, evenly drawn: both sides."""
    half = np.array([t_quantile((i + 0.5) / count, df) for i in range(count // 2)]) / width_of_tail(df)
    return np.concatenate([half, -half])


@pytest.mark.parametrize(("df", "most"), [(5.0, 7.0), (7.0, 10.0), (math.inf, math.inf)])
def test_heavy_tails_are_read_off_the_fast_side(df: float, most: float) -> None:
    found = tail_of(0.01 * quantiles(df), np.full(4096, 0.01))
    assert found <= most
    assert math.isinf(found) == math.isinf(df)


def test_the_slow_side_says_nothing_of_the_tail() -> None:
    loss = 0.01 * quantiles(math.inf)
    slow = np.where(loss > 0.015, loss * 10, loss)
    sigma = np.full(len(loss), 0.01)
    assert math.isinf(tail_of(slow, sigma))
    assert not math.isinf(tail_of(-slow, sigma))


def test_few_fast_values_and_values_without_a_width_tell_nothing() -> None:
    loss = 0.01 * quantiles(5.0)
    few = np.sort(loss)[: TAIL_FROM // 4 - 1]
    assert math.isinf(tail_of(few, np.full(len(few), 0.01)))
    assert math.isinf(tail_of(loss, np.zeros(len(loss))))


RANKED = np.linspace(0.01, 3.0, 100)


@pytest.mark.parametrize(
    ("ends", "left"),
    [
        ([], 100),
        ([3.1], 101),
        # A gap of two and a half widths, or of half of what lies below it, is no tail.
        ([5.49], 101),
        ([5.51], 100),
        ([7.0, 7.1, 7.2], 100),
        # Three of a hundred at most.
        ([7.0, 7.1, 7.2, 7.3], 104),
    ],
)
def test_a_gap_parts_odd_ones_from_a_tail(ends: list[float], left: int) -> None:
    ranked = np.concatenate([RANKED, ends])
    kept = without_odd_ones(ranked, len(ranked))
    assert len(kept) == left
    assert (kept == ranked[:left]).all()


def test_far_out_the_gap_must_be_half_of_what_lies_below_it() -> None:
    ranked = np.append(np.linspace(0.1, 8.0, 100), [11.9])
    assert len(without_odd_ones(ranked, len(ranked))) == 101
    assert len(without_odd_ones(np.append(ranked[:-1], 12.1), 101)) == 100


def test_the_last_value_is_never_taken() -> None:
    assert len(without_odd_ones(np.array([9.0]), 1000)) == 1
    assert len(without_odd_ones(np.empty(0), 1000)) == 0
