"""hpcaccept.judge.statistics.run_noise: how much a subject varies from run to run."""

from __future__ import annotations

import numpy as np
import pytest

from hpcaccept.judge.statistics.run_noise import (
    _trigamma,
    as_of_one_launch,
    kept_of,
    middle_of_others,
    resolution_of,
)


@pytest.mark.parametrize("runs", [2, 3, 6, 7])
def test_the_middle_of_the_others_is_the_median_without_the_value(runs: int) -> None:
    rng = np.random.default_rng(1)
    past = rng.normal(size=(runs, 40))
    past[rng.random(past.shape) < 0.2] = np.nan
    found = middle_of_others(past)
    for run, subject in np.ndindex(past.shape):
        others = np.delete(past[:, subject], run)
        others = others[np.isfinite(others)]
        if np.isfinite(past[run, subject]) and len(others):
            assert found[run, subject] == pytest.approx(np.median(others))
        else:
            assert np.isnan(found[run, subject])


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.5, 0.8])
@pytest.mark.parametrize(("runs", "subjects"), [(5, 512), (20, 128)])
def test_what_a_run_has_of_the_run_before_is_found_whatever_the_number_of_runs(
    kept: float, runs: int, subjects: int
) -> None:
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((runs, subjects))
    for run in range(1, runs):
        noise[run] = kept * noise[run - 1] + (1 - kept**2) ** 0.5 * noise[run]
    assert kept_of(1 + 0.002 * noise, np.ones(subjects, bool)) == pytest.approx(kept, abs=0.08)


def test_some_subjects_that_changed_do_not_make_runs_resemble_each_other() -> None:
    runs = 1 + 0.002 * np.random.default_rng(3).standard_normal((20, 256))
    runs[10:, :5] *= 0.95
    assert kept_of(runs, np.ones(256, bool)) < 0.1


@pytest.mark.parametrize(
    ("x", "value"),
    [(0.5, np.pi**2 / 2), (1.0, np.pi**2 / 6), (1.5, np.pi**2 / 2 - 4), (7.0, np.pi**2 / 6 - 1.4913888888888889)],
)
def test_the_second_derivative_of_log_gamma_has_its_known_values(x: float, value: float) -> None:
    assert _trigamma(x) == pytest.approx(value, rel=1e-6)


def test_without_enough_runs_nothing_is_known_of_it() -> None:
    assert kept_of(np.ones((4, 8)), np.ones(8, bool)) == 0.0
    assert kept_of(np.ones((20, 8)), np.ones(8, bool)) == 0.0, "equal values resemble nothing"
    assert kept_of(np.ones((20, 8)), np.zeros(8, bool)) == 0.0


@pytest.mark.parametrize("higher", [True, False])
@pytest.mark.parametrize("launches", [2, 3, 4])
def test_the_best_of_several_launches_says_what_one_reaches_and_how_widely(launches: int, higher: bool) -> None:
    noise = 0.003 * np.random.default_rng(4).standard_normal((20, launches, 4000))
    best = 1 + (noise.max(axis=1) if higher else noise.min(axis=1))
    found = as_of_one_launch(best, np.full(best.shape, launches, np.uint8), higher)
    assert np.mean(found) == pytest.approx(1, abs=0.0002)
    assert np.std(found) == pytest.approx(0.003, rel=0.03)


def test_values_of_one_launch_and_of_nobody_knows_how_many_stay_as_they_are() -> None:
    runs = 1 + 0.003 * np.random.default_rng(4).standard_normal((8, 16))
    assert as_of_one_launch(runs, None, True) is runs
    assert as_of_one_launch(runs, np.full(runs.shape, 1, np.uint8), True) is runs
    some = np.zeros(runs.shape, np.uint8)
    some[3, 5] = 3
    changed = as_of_one_launch(runs, some, True) != runs
    assert changed[3, 5]
    assert np.isclose(as_of_one_launch(runs, some, True), runs, rtol=1e-12).sum() >= runs.size - 8
    assert (as_of_one_launch(runs[:2], some[2:4], True) == runs[:2]).all(), "two runs tell no width"


def test_the_step_of_rounded_numbers_is_found_and_that_of_others_is_far_below_their_noise() -> None:
    runs = 3.35 * (1 + 0.0004 * np.random.default_rng(4).standard_normal((20, 64)))
    np.testing.assert_allclose(resolution_of(np.round(runs, 2)), 0.01 / 3.35, rtol=0.01)
    assert np.median(resolution_of(runs)) < 0.0004 / 10
    assert (resolution_of(np.full((20, 4), 3.35)) == 0).all()
    assert resolution_of(np.empty((0, 4))).shape == (4,)
