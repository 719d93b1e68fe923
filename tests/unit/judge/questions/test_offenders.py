"""Who failed again and again: in more runs than chance makes fail again, and no fewer than two."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from support.builders import H100

from hpcaccept.judge.questions.offenders import offenders
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.history import FAILED, PASSED, WARNED, Past, PastRun

RATE, OF_RUN = 0.00125, 0.01


def past(runs: int, failed: list[int], units: int = 0) -> Past:
    """Unit i failed in its first ``failed[i]`` runs; further ones never did."""
    units = units or len(failed)
    said = np.full((runs, units), PASSED, np.uint8)
    for unit, count in enumerate(failed):
        said[:count, unit] = FAILED
    when = tuple(PastRun(f"run{i}", f"2026-01-{i + 1:02d}", "", H100) for i in range(runs))
    return Past(when, tuple(f"unit{i}" for i in range(units)), {"m": np.ones((runs, units))}, {"m": said})


def called(known: Past, units: int | None = None) -> dict[int, float]:
    """Number of each offender → the most failed runs that are allowed."""
    place = np.arange(len(known.subjects) if units is None else units)
    return {
        int(subject): float(upper)
        for answer in offenders(known, place, RATE, OF_RUN)
        for subject, upper in zip(answer.subject, answer.upper, strict=True)
    }


def by_hand(runs: int, units: int) -> int:
    """Smallest number, two at least, that a healthy unit fails in with less than the chance, all of them together."""
    each = min(OF_RUN / units, 0.5)

    def reached(most: int) -> float:
        return sum(math.comb(runs, n) * each**n * (1 - each) ** (runs - n) for n in range(most, runs + 1))

    return next(most for most in range(2, runs + 1) if most == runs or units * reached(most) <= RATE)


@pytest.mark.parametrize(("runs", "units"), [(5, 1), (20, 1), (25, 1), (25, 3), (28, 2), (28, 512)])
def test_chance_alone_makes_no_offender(runs: int, units: int) -> None:
    often = by_hand(runs, units)
    assert called(past(runs, [often], units)) == {0: often - 1}
    assert called(past(runs, [often - 1], units)) == {}


def test_the_numbers_are_not_all_two() -> None:
    assert [by_hand(5, 1), by_hand(8, 1), by_hand(25, 1), by_hand(8, 64)] == [2, 3, 4, 2]


def test_once_is_not_again_and_a_warning_is_no_failure() -> None:
    known = past(8, [1, 2], 64)
    known.outcomes["m"][:, 0] = np.where(known.outcomes["m"][:, 0] == FAILED, FAILED, WARNED)
    assert list(called(known)) == [1]


def test_a_unit_without_a_past_is_no_offender() -> None:
    known = past(8, [2], 64)
    (answer,) = offenders(known, np.array([-1, *range(64)]), RATE, OF_RUN)
    assert answer.subject.tolist() == [1]
    assert answer.value.tolist() == [2.0]


def test_runs_in_which_another_metric_failed_count_too_and_each_run_once() -> None:
    one = past(8, [1], 64)
    other = np.full((8, 64), PASSED, np.uint8)
    known = replace(one, outcomes={**one.outcomes, "n": other})
    assert called(known) == {}
    other[0, 0] = FAILED
    assert called(known) == {}, "the same run"
    other[4, 0] = FAILED
    (answer,) = offenders(known, np.arange(64), RATE, OF_RUN)
    assert answer.remarks[0].reason == "failed in 2 of its last 8 runs, at last in run4 (2026-01-05)"
    assert answer.remarks[0].code is FindingCode.REPEAT_OFFENDER


def test_without_any_outcome_or_run_nobody_is_one() -> None:
    assert offenders(Past((), (), {}, {}), np.array([-1]), RATE, OF_RUN) == []
    assert offenders(Past((), ("a",), {}, {"m": np.empty((0, 1), np.uint8)}), np.array([0]), RATE, OF_RUN) == []
