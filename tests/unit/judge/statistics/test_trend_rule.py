"""hpcaccept.judge.statistics.trend_rule: a step that stayed, a slow decline, or nothing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from hpcaccept.judge.statistics.peer_rule import cut
from hpcaccept.judge.statistics.run_noise import MIN_PAST
from hpcaccept.judge.statistics.trend_rule import DECLINE, STEADY, STEP, Trend, _slow_begin
from hpcaccept.judge.statistics.trend_rule import trend as trend_of

Floats = npt.NDArray[np.float64]


def trend(past: Floats, higher: bool) -> Trend:
    """Of series that are looked at once, at one in a hundred for all of them."""
    return trend_of(past, higher, cut(past.shape[1], 0.01))


def series(runs: int, subjects: int, sigma: float = 0.002, seed: int = 1) -> Floats:
    """Units that differ by 2 %, and repeat themselves within sigma."""
    rng = np.random.default_rng(seed)
    return np.asarray((1 + 0.02 * rng.standard_normal(subjects)) * (1 + sigma * rng.standard_normal((runs, subjects))))


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


@pytest.mark.parametrize("runs", [6, 21])
def test_subjects_that_vary_more_than_their_like_do_not_decline(runs: int) -> None:
    """One of ten is five times as noisy: each third night of 512 had a "slow decline" of one of them."""
    told = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        width = 0.002 * np.where(rng.random(512) < 0.1, 5.0, 1.0)
        told += int((trend(1 + width * rng.standard_normal((runs, 512)), True).code == DECLINE).sum())
    assert told <= 1


def test_runs_that_are_missing_are_neither_worse_nor_better() -> None:
    runs = series(40, 64)
    runs[:, 5] *= 1 - 0.0008 * np.maximum(np.arange(40) - 10, 0)
    gaps = runs.copy()
    gaps[12:38:5, 5] = np.nan
    assert trend(runs, True).code[5] != STEADY
    assert trend(gaps, True).code[5] != STEADY


@pytest.mark.parametrize("absent", [[-1], [-2], [-3], [-2, -3], [-1, -3]])
def test_a_step_is_seen_in_the_last_two_values_wherever_the_gaps_are(absent: list[int]) -> None:
    runs = series(30, 64)
    runs[-4:, 5] *= 0.9
    runs[absent, 5] = np.nan
    found = trend(runs, True)
    assert found.code[5] == STEP
    assert found.size[5] == pytest.approx(0.1, abs=0.01)
    assert found.since[5] == 26


def test_one_bad_value_before_a_gap_is_no_step() -> None:
    runs = series(30, 64)
    runs[-3, 5] *= 0.9
    runs[-2:, 5] = np.nan
    assert trend(runs, True).code[5] == STEADY


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


def test_since_when_is_the_run_after_which_more_than_what_is_forgiven_was_lost_on_and_on() -> None:
    score = np.zeros((10, 4))
    score[3:, 0] = 0.8
    score[3:, 1] = 0.7
    score[2, 2], score[6:, 2] = 2.0, 2.0  # what was lost once is forgiven in the runs after it
    score[1:, 3] = 50.0
    there = np.ones(score.shape, bool)
    assert _slow_begin(score, there)[[0, 2, 3]].tolist() == [3, 6, 1]
    assert _slow_begin(score, there)[1] == 10, "never more than is forgiven"
    # Held to three widths: 2.25 is forgiven after three runs.
    once = np.zeros((6, 1))
    once[1] = 50.0
    assert _slow_begin(once, np.ones(once.shape, bool)).tolist() == [6]
    assert _slow_begin(once[:4], np.ones((4, 1), bool)).tolist() == [1]
