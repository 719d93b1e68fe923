"""How sure is what was learned? Intervals against published tables and against simulation."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.builders import CATALOGUE, H100, evidence, fleet, nodes, plan, record, suite

from hpcaccept.judge.baseline.learn import learn, median_interval, only_at
from hpcaccept.judge.baseline.limit import limits_of
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


def test_one_unit_has_no_interval_and_a_limit_by_its_class_alone() -> None:
    one = learned(fleet([100.0]))
    assert one.center_low is None
    assert one.lower is not None
    # 1 % of the class, √2 of it with the centre's own: 2.6 of 16.5 degrees of freedom, one value.
    assert 90.0 < one.lower < 96.0


def test_a_setting_that_begins_like_the_one_asked_for_is_another_setting() -> None:
    found = fleet([100.0, 100.0, 50.0, 50.0, 50.0])
    settings_of = [SETTING, SETTING, *[f"{SETTING}, MIG 3g.40gb"] * 3]
    subjects = tuple(replace(u, setting=own) for u, own in zip(found.samples.subjects, settings_of, strict=True))
    one = learned(replace(found, samples=replace(found.samples, subjects=subjects)))
    assert (one.center, one.subjects) == (100.0, 2)


@pytest.mark.parametrize(
    ("more", "learned_of"),
    [({}, 1), ({"peer_floor": None}, 0), ({"direction": "exact"}, 0), ({"scope": "world", "peer_floor": None}, 1)],
)
def test_only_rates_that_can_be_compared_are_learned(more: dict[str, Any], learned_of: int) -> None:
    metric = replace(CATALOGUE["speed"]["rate_flops"], **more)
    catalogue = {"speed": {**CATALOGUE["speed"], "rate_flops": metric}}
    records = [record("speed", node, {"rate_flops": 100.0}) for node in nodes(4)]
    values = values_of(evidence(records, catalogue=catalogue).samples, catalogue)
    assert len(learn(values, H100, SETTING, {}, {"speed": 1}, 0.0)[0]) == learned_of


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


@pytest.mark.parametrize("count", [2, 3, 4, 8, 16, 64])
def test_of_fewer_units_of_the_same_spread_the_limit_is_wider(count: int) -> None:
    def loss(units: int) -> float:
        one = learned(fleet([99.0, 101.0] * (units // 2) + [100.0] * (units % 2)))
        assert one.center is not None
        assert one.lower is not None
        # In a run of as many values, so that only what is known of the units differs.
        return limits_of(one, 64, 0.01)[2]

    assert loss(count) >= loss(128)


def test_what_a_run_adds_is_not_hidden_by_the_median_of_several() -> None:
    """Units that are alike, measured three times each with a noise of 3 %: one further run of one of them differs by 3 %."""
    rng = random.Random(1)
    runs = [fleet([100.0 * (1 + rng.gauss(0, 0.03)) for _ in range(32)]) for _ in range(3)]
    one = learned(*runs)
    assert one.spread is not None
    assert one.spread < 2.5
    assert 0.025 < one.width < 0.040


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


@pytest.mark.parametrize("wonder", [1e151, 1e300])
def test_a_number_that_no_square_can_hold_teaches_no_law(wonder: float) -> None:
    found = learned(fleet([100.0, 100.5, 101.0, 99.5, 100.2, 99.8, 100.1, wonder]))
    assert found.subjects == 8
    assert found.width == 0.0
