"""What a report says that it would have seen is what it sees: half of the time the one loss, 19 times of 20 the other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.builders import CATALOGUE, CORES, RATE, TIME, entry, evidence, judged, nodes, record

from hpcaccept import checks
from hpcaccept.judge.questions.baseline import _width
from hpcaccept.judge.statistics.aggregate import values_of
from hpcaccept.judge.statistics.grouping import alike_of
from hpcaccept.judge.statistics.peer_rule import compare_with_peers, cut
from hpcaccept.judge.statistics.sensitivity import Sight, by_kind, expected_sight, seen, sight_of, widths_of
from hpcaccept.simulate.fleet import Fleet, Site
from hpcaccept.simulate.ours import run_of

if TYPE_CHECKING:
    from hpcaccept.model.metric import Metric

FLOOR = 0.04
#: What the floor stands for.
WIDTH = FLOOR / 4


def found(units: int, loss: str, *, repeats: int, width: float = WIDTH, metric: Metric = RATE) -> float:
    """How often a unit with the loss that a healthy fleet promises is blamed."""
    rng, z, blamed = np.random.default_rng(units), cut(units, 0.01), 0
    higher, node = metric.direction == "higher", np.arange(units)
    for _ in range(repeats):
        healthy = 100 * (1 + width * rng.standard_normal(units))
        sight = sight_of(metric, compare_with_peers(healthy, higher, node, (FLOOR, FLOOR), z), FLOOR)
        ends = sight.half if loss == "half" else sight.nearly_all
        assert ends is not None
        values = 100 * (1 + width * rng.standard_normal(units))
        values[0] *= 1 - ends[0] if higher else 1 + ends[0]
        compared = compare_with_peers(values, higher, node, (FLOOR, FLOOR), z)
        blamed += bool(compared.loss[0] > compared.fail_at[0])
    return blamed / repeats


@pytest.mark.parametrize("metric", [RATE, TIME], ids=["higher", "lower"])
@pytest.mark.parametrize("units", [3, 8, 64])
def test_the_smaller_loss_is_found_half_of_the_time(units: int, metric: Metric) -> None:
    assert 0.4 <= found(units, "half", repeats=200, metric=metric) <= 0.6


@pytest.mark.parametrize("metric", [RATE, TIME], ids=["higher", "lower"])
@pytest.mark.parametrize("units", [3, 8, 64])
def test_the_larger_loss_is_found_nineteen_times_of_twenty(units: int, metric: Metric) -> None:
    assert 0.9 <= found(units, "nearly all", repeats=200, metric=metric) <= 0.995


@pytest.mark.parametrize("metric", [RATE, TIME], ids=["higher", "lower"])
@pytest.mark.parametrize("units", [3, 8, 64, 5000])
def test_what_is_promised_before_a_run_is_what_healthy_runs_promise(units: int, metric: Metric) -> None:
    rng, z, higher = np.random.default_rng(units), cut(units, 0.01), metric.direction == "higher"
    sights = []
    for _ in range(31):
        values = 100 * (1 + WIDTH * rng.standard_normal(units))
        compared = compare_with_peers(values, higher, np.arange(units), (FLOOR, FLOOR), z)
        sights.append(sight_of(metric, compared, FLOOR))
    promised = expected_sight(metric, units, (FLOOR, FLOOR), z)
    assert promised.nearly_all is not None
    for ends, found in (
        (promised.half, [sight.half[0] for sight in sights]),
        (promised.nearly_all, [sight.nearly_all[0] for sight in sights if sight.nearly_all]),
    ):
        assert ends[0] == pytest.approx(float(np.median(found)), rel=0.1)


@pytest.mark.parametrize("preset", ["H100", "PCIe, air-cooled", "liquid-cooled"])
def test_what_an_earlier_run_shows_of_a_fleet_promises_what_its_next_run_states(preset: str) -> None:
    fleet = Fleet(Site(nodes=64, preset=preset), np.random.default_rng(1))
    earlier, later = run_of(fleet, ()), run_of(fleet, ())
    subjects = later.values[0].table_subjects
    widths, promised = widths_of(earlier.values, alike_of(subjects)), []
    z = cut(sum(len(column.subject) for column in later.values), 0.01)
    for column in {str(c.parts.bare): c for c in later.values}.values():
        floor = column.metric.peer_floor or 0.0
        many = len(column.subject)
        shown = widths[str(column.parts.bare)]
        promised += [expected_sight(column.metric, many, (floor / 2, floor), z, width) for width in shown]
    mine = {sight.kind: sight for sight in by_kind(promised)}
    # Here and there the noise of a metric looks as if it had a heavy tail, which widens the cut of that run by a third.
    near = 0.4
    for stated in later.sensitivity.kinds:
        assert mine[stated.kind].half == pytest.approx(stated.half, rel=near), stated.kind
        assert mine[stated.kind].nearly_all == pytest.approx(stated.nearly_all, rel=near), stated.kind


def test_few_like_units_do_not_show_by_how_much_they_differ() -> None:
    few = evidence([record("speed", node, {"rate_flops": 100.0 + i}) for i, node in enumerate(nodes(7))])
    assert widths_of(values_of(few.samples, CATALOGUE), alike_of(few.samples.subjects)) == {}


def test_equal_counts_are_expected_to_be_equal() -> None:
    assert expected_sight(CORES, 64, (0.001, 0.001), 4.0).half == (0.001, 0.001)


def test_few_units_twice_as_noisy_as_their_class_do_not_know_their_width_and_find_it_more_often_than_not() -> None:
    """What detection.md says: the promise holds for many of them, and two of three times for eight."""
    assert found(64, "nearly all", repeats=200, width=2 * WIDTH) >= 0.84
    assert found(8, "nearly all", repeats=200, width=2 * WIDTH) >= 0.55


def test_a_run_states_the_smallest_loss_of_its_quietest_and_of_its_noisiest_metric() -> None:
    records = [record("speed", node, {"rate_flops": 100.0, "latency_s": 1.0, "wrong_elements": 0}) for node in nodes(4)]
    losses = judged(evidence(records)).sensitivity["peers"].smallest_loss
    assert losses is not None
    assert losses[0] == pytest.approx(0.04, abs=0.01)
    assert losses[1] == pytest.approx(0.10, abs=0.02)


def test_the_loss_that_is_nearly_always_found_is_never_the_smaller_one() -> None:
    for loss in (0.0, 0.02, 0.5, 0.999, 1.0):
        sight = seen(RATE, loss, 0.01)
        assert sight.nearly_all is not None
        assert sight.half[0] <= sight.nearly_all[0] <= 1.0


def test_a_width_that_is_not_known_promises_nothing() -> None:
    assert seen(RATE, 0.1, None) == Sight("products", 1, (0.1, 0.1), None)
    assert by_kind([seen(RATE, 0.1, None), seen(RATE, 0.2, 0.01)])[0].nearly_all is None


def test_no_loss_is_larger_than_everything() -> None:
    assert seen(RATE, float("inf"), 0.1).half == (1.0, 1.0)
    endless = seen(TIME, float("inf"), 5.0)
    assert np.isfinite([*endless.half, *(endless.nearly_all or ())]).all()


def test_counts_have_no_noise_of_their_class() -> None:
    alike = compare_with_peers(np.full(4, 8.0), True, np.arange(4), (0.001, 0.001), cut(4, 0.01))
    sight = sight_of(CORES, alike, 0.001)
    assert (sight.kind, sight.half) == ("counts", (0.001, 0.001))
    assert sight.nearly_all == pytest.approx((0.001, 0.001))


def test_each_kind_of_metric_is_told_by_itself_from_the_quietest_to_the_noisiest() -> None:
    links = replace(RATE, unit="B/s")
    sights = [seen(RATE, 0.03, 0.01), seen(links, 0.02, 0.005), seen(links, 0.05, 0.02)]
    products, both = by_kind(sights)
    assert (products.kind, products.metrics, products.half) == ("products", 1, (0.03, 0.03))
    assert (both.kind, both.metrics, both.half) == ("links", 2, (0.02, 0.05))
    assert both.nearly_all is not None
    assert both.nearly_all[0] < 0.03 < 0.08 < both.nearly_all[1] < 0.09


def test_the_width_of_a_baseline_is_the_learned_one_else_that_of_the_units() -> None:
    learned, published = entry(), entry(spread=None)
    assert _width(learned, np.array([100.0])) == 0.01
    assert _width(published, np.array([100.0])) is None
    assert _width(entry(center=0.0), np.array([100.0])) is None, "a share of nothing is none"
    assert _width(entry(center=None), np.array([100.0])) is None
    assert _width(published, np.array([99.0, 100.0, 101.0])) == pytest.approx(0.012, rel=0.1)


@pytest.mark.parametrize("name", checks.built_in())
def test_every_rate_of_a_check_has_a_kind(name: str) -> None:
    assert not [m.name for m in checks.load(name).metrics if m.is_rate and m.sort == "others"]
