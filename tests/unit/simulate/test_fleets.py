"""benchmarks.detection.fleets: the fleet is what it says, and what is counted is what the judge said."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.detection.audit import FAULTS, HEALTHY
from benchmarks.detection.fleets import (
    BF16,
    TRIAD,
    Family,
    Fault,
    Shape,
    between_units,
    catalogue,
    floor_of,
    key_of,
    launch_of,
    run_of,
    tally_of,
)
from hpcaccept.model.verdict import CODE, Outcome


def dice(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("family", ["normal", "t(5)", "slow-skewed", "fast-skewed"])
def test_units_differ_by_a_quarter_of_the_floor_times_the_width(family: Family) -> None:
    like = between_units(Shape(2000, 8, 5, 2.0, family), dice())
    for metric in range(5):
        assert np.std(like[metric]) == pytest.approx(2 * floor_of(metric) / 4, rel=0.1)


def test_the_long_side_is_the_slow_one() -> None:
    slow, fast = (between_units(Shape(2000, 8, 5, 1.0, family), dice()) for family in ("slow-skewed", "fast-skewed"))
    assert np.mean(slow[0]) < np.median(slow[0])
    assert np.mean(fast[0]) > np.median(fast[0])


def test_metrics_are_real_ones_with_variants() -> None:
    keys = [key_of(metric) for metric in range(30)]
    assert len(set(keys)) == 30
    assert {key.partition(".")[0] for key in keys} == set(catalogue())
    assert (floor_of(BF16), floor_of(TRIAD)) == (0.03, 0.02)


def test_a_launch_has_digits_load_and_disturbances() -> None:
    shape = Shape(500, 8, 5, digits=3, load=0.2, disturbed=0.1)
    like = np.ones((5, 4000))
    value = launch_of(shape, like, np.ones(4000), dice())
    assert np.allclose(value * 500, np.round(value * 500))
    usual = np.median(value)
    assert 0.8 <= usual < 1
    assert np.mean(value < 0.975 * usual) == pytest.approx(0.1, abs=0.02)


def test_a_fault_is_found_where_it_is() -> None:
    shape = Shape(4, 2, 5)
    assert Fault(0.1, TRIAD, 0.5, whole=True).units(shape).tolist() == [0, 1, 2, 3]
    answers, _, launches = run_of(shape, dice(), Fault(0.2, TRIAD))
    failed = {(a.key, row) for a in answers for row in a.subject[a.outcome == CODE[Outcome.FAIL]].tolist()}
    assert failed == {(key_of(TRIAD), 0)}
    assert launches == 3


def test_runs_are_counted() -> None:
    healthy, faulty = (tally_of(Shape(4, 1, 5), 4, [1], fault) for fault in (None, Fault(0.2, TRIAD)))
    assert (healthy.runs, healthy.failed, healthy.found) == (4, 0, 0)
    assert (faulty.found, faulty.told, faulty.failed) == (4, 4, 0)


def test_every_cell_of_the_audit_that_concerns_peers_is_there() -> None:
    families = {shape.family for shape, _, _ in HEALTHY.values()}
    assert families == {"normal", "t(5)", "t(3)", "slow-skewed", "fast-skewed"}
    assert {shape.width for shape, _, _ in HEALTHY.values()} == {0.5, 1.0, 1.5, 2.0, 4.0}
    assert {fault.nodes for _, fault, _, _ in FAULTS.values()} == {0.0, 0.25, 0.5, 0.67}
