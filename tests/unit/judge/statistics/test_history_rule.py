"""hpcaccept.judge.statistics.history_rule: slower than it used to be, suddenly or slowly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from hpcaccept.judge.statistics.history_rule import DECLINE, MIN_PAST, STEADY, STEP, compare_with_past, trend
from hpcaccept.judge.statistics.peer_rule import Compared, cut

Floats = npt.NDArray[np.float64]
FLOORS = (0.0025, 0.005)


def series(runs: int, subjects: int, sigma: float = 0.002, seed: int = 1) -> Floats:
    """Units that differ by 2 %, and repeat themselves within sigma."""
    rng = np.random.default_rng(seed)
    return np.asarray((1 + 0.02 * rng.standard_normal(subjects)) * (1 + sigma * rng.standard_normal((runs, subjects))))


def failed(found: Compared) -> list[int]:
    rows: list[int] = np.flatnonzero(found.loss > found.fail_at).tolist()
    return rows


# --- one run against the past -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("higher", [True, False])
def test_two_percent_are_found_although_subjects_differ_by_more(higher: bool) -> None:
    runs = series(6, 64)
    runs[-1, 9] *= 0.98 if higher else 1.02
    found = compare_with_past(runs[:5], runs[5], higher, FLOORS, cut(64, 0.01))
    assert failed(found) == [9]
    assert found.loss[9] == pytest.approx(0.02, abs=0.005)


def test_too_short_a_past_says_nothing() -> None:
    runs = series(6, 4)
    runs[:2, 1] = np.nan
    runs[5] = 0.1
    found = compare_with_past(runs[:5], runs[5], True, FLOORS, 4.0)
    assert np.isnan(found.center[1])
    assert found.fail_at[1] == np.inf
    assert failed(found) == [0, 2, 3]


def test_nobody_has_a_past() -> None:
    found = compare_with_past(np.full((3, 5), np.nan), np.ones(5), True, FLOORS, 4.0)
    assert np.isnan(found.loss).all()
    assert np.isinf(found.fail_at).all()
    assert (compare_with_past(np.empty((0, 2)), np.ones(2), True, FLOORS, 4.0).fail_at == np.inf).all()


def test_one_bad_night_in_the_past_hides_nothing() -> None:
    runs = series(7, 64)
    runs[2, 9] *= 0.8
    runs[-1, 9] *= 0.98
    assert failed(compare_with_past(runs[:6], runs[6], True, FLOORS, cut(64, 0.01))) == [9]


def test_widths_of_like_subjects_are_put_together() -> None:
    # Five runs that happen to agree do not make a unit exact: its limit is near that of the others.
    runs = series(5, 64)
    runs[:, 3] = 1.0
    found = compare_with_past(runs, np.ones(64), True, (0.0, 0.0), 4.0)
    assert found.fail_at[3] > 0.5 * np.median(found.fail_at)


def test_a_restless_subject_keeps_a_wider_limit() -> None:
    runs = series(40, 64)
    runs[:, 3] = 1 + 0.02 * np.random.default_rng(2).standard_normal(40)
    found = compare_with_past(runs, np.ones(64), True, (0.0, 0.0), 4.0)
    assert found.fail_at[3] > 3 * np.median(found.fail_at)


@pytest.mark.parametrize(("subjects", "runs"), [(64, 5), (64, 20)])
def test_the_stated_rate_is_the_real_one_within_a_factor_of_two(subjects: int, runs: int) -> None:
    # 200 healthy fleets, stated 10 %: 20 are expected; 10 to 40 is a factor of two on both sides.
    z, blamed = cut(subjects, 0.1), 0
    for seed in range(200):
        table = series(runs + 1, subjects, seed=seed)
        blamed += bool(failed(compare_with_past(table[:-1], table[-1], True, (0.0, 0.0), z)))
    assert 10 <= blamed <= 40


def test_the_unit_of_measure_changes_nothing() -> None:
    runs = series(6, 20)
    one, other = (compare_with_past(runs[:5] * s, runs[5] * s, True, FLOORS, 4.0) for s in (1.0, 3e12))
    np.testing.assert_allclose(one.loss, other.loss, atol=1e-9)
    np.testing.assert_allclose(one.fail_at, other.fail_at, rtol=1e-6)


# --- trends -----------------------------------------------------------------------------------------------------------


def test_a_step_needs_two_runs() -> None:
    runs = series(30, 64)
    runs[-1, 5] *= 0.97
    assert trend(runs, True).code[5] == STEADY
    runs[-2, 5] *= 0.97
    found = trend(runs, True)
    assert found.code[5] == STEP
    assert found.size[5] == pytest.approx(0.03, abs=0.005)
    assert found.since[5] == 28


def test_one_bad_night_is_no_trend() -> None:
    runs = series(30, 64)
    runs[20, 5] *= 0.7
    assert trend(runs, True).code[5] == STEADY


@pytest.mark.parametrize("higher", [True, False])
def test_a_slow_decline_is_found(higher: bool) -> None:
    runs = series(40, 64)
    runs[:, 5] *= 1 + (-1 if higher else 1) * 0.0004 * np.maximum(np.arange(40) - 15, 0)
    found = trend(runs, higher)
    assert found.code[5] == DECLINE
    assert 0.004 < found.size[5] < 0.015
    assert 12 <= found.since[5] <= 30


def test_who_gets_better_does_not_decline() -> None:
    runs = series(40, 64)
    runs[20:, 5] *= 1.05
    assert trend(runs, True).code[5] == STEADY


def test_healthy_subjects_rarely_have_a_trend() -> None:
    # 2,048 series of 60 runs, looked at once: ours alarm in about 1 % of series that are looked at after every run.
    rng = np.random.default_rng(4)
    runs = 1 + 0.002 * rng.standard_t(5, (60, 2048))
    assert np.mean(trend(runs, True).code != STEADY) < 0.01


def test_runs_that_are_missing_are_neither_worse_nor_better() -> None:
    runs = series(40, 64)
    runs[:, 5] *= 1 - 0.0008 * np.maximum(np.arange(40) - 10, 0)
    gaps = runs.copy()
    gaps[12:38:5, 5] = np.nan
    assert trend(runs, True).code[5] != STEADY
    assert trend(gaps, True).code[5] != STEADY


def test_a_subject_that_joined_late_has_its_own_first_runs() -> None:
    runs = series(40, 64)
    runs[:25, 5] = np.nan
    assert trend(runs, True).code[5] == STEADY
    runs[38:, 5] *= 0.96
    assert trend(runs, True).code[5] == STEP


@pytest.mark.parametrize("runs", [0, 1, MIN_PAST])
def test_too_few_runs_have_no_trend(runs: int) -> None:
    found = trend(series(max(runs, 1), 3)[:runs], True)
    assert (found.code == STEADY).all()
    assert np.isnan(found.size).all()
    assert (found.since == -1).all()
