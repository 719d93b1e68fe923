"""How sure is what was learned? Intervals against published tables and against simulation."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.builders import CATALOGUE, H100, evidence, fleet, nodes, plan, record, suite

from hpcaccept.judge.baseline.learn import learn, median_interval, only_at, prediction_factor
from hpcaccept.judge.statistics.aggregate import values_of

if TYPE_CHECKING:
    from hpcaccept.model.baseline import BaselineEntry
    from hpcaccept.model.evidence import Evidence

SETTING = "8 threads, all at once"


def learned(*runs: Evidence, setting: str = SETTING, places: frozenset[tuple[str, str]] | None = None) -> BaselineEntry:
    values = [column for run in runs for column in values_of(run.samples, CATALOGUE)]
    values = values if places is None else list(only_at(values, places))
    (one,) = learn(values, H100, setting, {}, {"speed": 1, "fabric": 1}, 0.0)[0].values()
    return one


# Ranks of the 95 % interval of a median for n numbers: https://www.itl.nist.gov/div898/handbook, and any table of
# order statistics (n = 10: 2nd and 9th; n = 20: 6th and 15th; n = 50: 18th and 33rd).
@pytest.mark.parametrize(
    ("count", "low", "high"), [(6, 1, 6), (8, 1, 8), (9, 2, 8), (10, 2, 9), (20, 6, 15), (50, 18, 33), (100, 40, 61)]
)
def test_the_interval_of_a_median_has_the_ranks_of_the_tables(count: int, low: int, high: int) -> None:
    assert median_interval([float(n) for n in range(1, count + 1)]) == (low, high)


@pytest.mark.parametrize("count", range(6))
def test_fewer_than_six_subjects_have_no_such_interval(count: int) -> None:
    assert median_interval([1.0] * count) == (None, None)


@pytest.mark.parametrize("count", [7, 30])
def test_the_interval_covers_the_true_median_as_often_as_it_says(count: int) -> None:
    rng = random.Random(4)
    covered = 0
    for _ in range(2000):
        low, high = median_interval(sorted(rng.expovariate(1.0) for _ in range(count)))
        assert low is not None
        assert high is not None
        covered += low <= math.log(2) <= high
    assert 0.94 < covered / 2000 <= 1.0


@pytest.mark.parametrize(
    ("count", "factor"), [(2, 15.56), (3, 4.968), (4, 3.558), (10, 2.373), (30, 2.079), (1000, 1.963)]
)
def test_the_prediction_interval_has_the_factors_of_the_tables(count: int, factor: float) -> None:
    assert prediction_factor(count) == pytest.approx(factor, rel=0.002)


def test_a_single_subject_predicts_nothing() -> None:
    assert prediction_factor(1) == math.inf
    one = learned(fleet([100.0]))
    assert one.center_low is None


def test_an_entry_says_of_how_many_subjects_nodes_and_values_it_is() -> None:
    runs = [
        fleet([100.0, 101.0, 102.0, 103.0, 104.0, 105.0, 106.0]),
        fleet([100.0, 101.0, 102.0, 103.0, 104.0, 105.0, 106.0]),
    ]
    one = learned(*runs)
    assert (one.subjects, one.nodes, one.values) == (7, 7, 14)
    assert (one.center, one.center_low, one.center_high) == (103.0, 100.0, 106.0)


def test_a_subject_speaks_once_however_often_it_was_measured() -> None:
    # node0 was in three runs: it must not outvote the two others.
    runs = [fleet([90.0, 100.0, 102.0]), fleet([90.0], plan(nodes=1)), fleet([90.0], plan(nodes=1))]
    assert learned(*runs).center == 100.0


@pytest.mark.parametrize(("rates", "sigmas"), [([100.0, 103.0, 106.0], 4.968), ([100.0, 103.0, 106.0, 109.0], 4.0)])
def test_of_few_subjects_the_limit_is_as_wide_as_a_further_one_may_lie(rates: list[float], sigmas: float) -> None:
    one = learned(fleet(rates))
    assert one.center is not None
    assert one.spread is not None
    assert one.lower == pytest.approx(one.center - sigmas * one.spread, rel=0.002)


def test_a_number_of_all_ranks_speaks_anew_in_every_run_and_keeps_its_scale() -> None:
    def run(rate: float) -> Evidence:
        found = evidence([record("fabric", "node0", {"busbw_bytes": rate})], plan(suite("fabric")), names=nodes(4))
        subjects = tuple(replace(subject, setting=f"{SETTING}, 4 nodes × 1") for subject in found.samples.subjects)
        return replace(found, samples=replace(found.samples, subjects=subjects))

    one = learned(run(99.0), run(100.0), run(101.0))
    assert (one.center, one.subjects, one.values) == (100.0, 1, 3)
    assert one.setting == f"{SETTING}, 4 nodes × 1"


def test_only_the_devices_that_are_alike_are_learned_from() -> None:
    one = learned(fleet([100.0, 100.0, 50.0, 50.0]), places=frozenset({("node0", "cuda:0"), ("node1", "cuda:0")}))
    assert (one.center, one.subjects) == (100.0, 2)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(50.0, 150.0), min_size=2, max_size=30))
def test_intervals_enclose_the_centre(rates: list[float]) -> None:
    values = values_of(fleet(rates).samples, CATALOGUE)
    for one in learn(values, H100, SETTING, {}, {"speed": 1}, 0.0)[0].values():
        assert one.center is not None
        if one.center_low is not None and one.center_high is not None:
            assert one.center_low <= one.center <= one.center_high
