"""hpcaccept.judge.statistics.student_t against published tables and closed forms."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from hpcaccept.judge.statistics.student_t import normal_tail, t_quantile, t_quantiles, t_tail


@pytest.mark.parametrize(
    ("z", "tail"),
    [(0.0, 0.5), (1.0, 0.15865525393), (1.959963985, 0.025), (6.0, 9.865876450e-10), (-1.0, 0.84134474607)],
)
def test_the_tail_of_the_normal_distribution_is_that_of_the_tables(z: float, tail: float) -> None:
    assert normal_tail(z) == pytest.approx(tail, rel=1e-8)


# Any table of the t distribution (NIST/SEMATECH e-Handbook, 1.3.6.7.2).
@pytest.mark.parametrize(
    ("tail", "df", "quantile"),
    [
        (0.10, 1, 3.077684), (0.05, 1, 6.313752), (0.025, 2, 4.302653), (0.01, 3, 4.540703), (0.005, 5, 4.032143),
        (0.001, 10, 4.143700), (0.05, 30, 1.697261), (0.025, 100, 1.983972), (0.025, 1e5, 1.959963985), (0.4, 4, 0.270722),
    ],
)  # fmt: skip
def test_quantiles_and_tails_are_those_of_the_tables(tail: float, df: float, quantile: float) -> None:
    assert t_quantile(tail, df) == pytest.approx(quantile, rel=2e-5)
    assert t_tail(quantile, df) == pytest.approx(tail, rel=2e-5)


@pytest.mark.parametrize("t", [0.0, 0.1, 1.0, 5.0, 1e3, 1e6])
def test_one_and_two_degrees_of_freedom_have_closed_forms(t: float) -> None:
    assert t_tail(t, 1.0) == pytest.approx(math.atan2(1.0, t) / math.pi, rel=1e-9)
    assert t_tail(t, 2.0) == pytest.approx(1 / (math.sqrt(t * t + 2) * (math.sqrt(t * t + 2) + t)), rel=1e-8)


@pytest.mark.parametrize("df", [1.0, 1.9, 9.0, 512.0, 99_999.0])
def test_a_tail_and_its_quantile_undo_each_other(df: float) -> None:
    for tail in (0.3, 1e-3, 1e-8):
        assert t_tail(t_quantile(tail, df), df) == pytest.approx(tail, rel=1e-8)


def test_many_degrees_of_freedom_are_the_normal_distribution_without_a_step() -> None:
    assert t_tail(4.0, 99_999.0) == pytest.approx(t_tail(4.0, 100_000.0), rel=1e-2)
    assert t_quantile(1e-6, 99_999.0) == pytest.approx(t_quantile(1e-6, 1e5), rel=1e-3)


@pytest.mark.parametrize("tail", [0.2, 3e-3, 1e-5, 1e-9])
def test_quantiles_of_many_are_those_of_each_for_a_tail_rounded_down_by_six_percent(tail: float) -> None:
    df = np.array([1.0, 1.5, 3.7, 12.0, 64.0, 1500.0])
    found = t_quantiles(tail, df)
    for quantile, freedom in zip(found.tolist(), df.tolist(), strict=True):
        assert t_quantile(tail, freedom) * (1 - 1e-3) <= quantile <= t_quantile(0.94 * tail, freedom) * (1 + 1e-3)
    assert t_quantiles(tail, np.array([0.1])) == t_quantiles(tail, np.array([1.0])), "each at least 1"


def test_from_a_hundred_thousand_degrees_of_freedom_on_it_is_the_normal_distribution_itself() -> None:
    assert t_quantile(1e-6, 1e5) == -NormalDist().inv_cdf(1e-6)
    assert t_tail(4.0, 1e5) == normal_tail(4.0)
    assert t_tail(4.0, 99_999.0) > normal_tail(4.0)
