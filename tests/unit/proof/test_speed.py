from __future__ import annotations

import pytest

from hpcaccept.proof import speed
from hpcaccept.proof.speed import gpu_class


@pytest.mark.parametrize(
    ("claimed", "name"),
    [
        ("H100 SXM", "H100 SXM"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("RTX_4090", "RTX 4090"),
        ("rtx 4090", "RTX 4090"),
        ("Tesla T4", "T4"),
    ],
)
def test_a_class_is_found_however_it_is_spelt(claimed: str, name: str) -> None:
    found = gpu_class(claimed)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("claimed", ["", "B300", "GTX 1070", "H100 SXM 2"])
def test_what_is_not_in_the_table_has_no_floor(claimed: str) -> None:
    assert gpu_class(claimed) is None


def test_every_class_has_a_source_and_a_floor_below_its_peak() -> None:
    for found in speed._classes().values():
        assert found.source
        assert 1e12 < found.floor_ops < found.peak_ops < 1e16


@pytest.mark.parametrize(
    ("name", "floor_tops"),
    [("B200", 1278), ("GB200", 1125), ("H200", 574), ("H100", 531), ("A100 SXM4", 195), ("RTX 4090", 165)],
)
def test_floors_are_those_of_the_page(name: str, floor_tops: float) -> None:
    known = speed.gpu_class(name)
    assert known is not None
    assert known.floor_ops / 1e12 == pytest.approx(floor_tops, rel=2e-3)


@pytest.mark.parametrize(
    ("claimed", "sustained_tops", "memory_gb"),
    [("H100", 473, 1640), ("H200", 473, 1640), ("B200", 1402.6, 2663), ("A100 SXM4", 130, 320)],
)
def test_what_a_class_below_sustains_does_not_pass(claimed: str, sustained_tops: float, memory_gb: float) -> None:
    known = speed.gpu_class(claimed)
    assert known is not None
    assert speed.chain_ops(sustained_tops * 1e12, memory_gb * 1e9) < known.floor_ops


def test_the_chain_is_slower_than_its_products_and_than_its_memory() -> None:
    assert speed.chain_ops(1e15, 1e30) == pytest.approx(1e15)
    assert speed.chain_ops(1e30, 5e12) == pytest.approx(2 * 4096 * 1e12)


def test_a_gpu_three_classes_below_does_not_reach_the_floor_of_an_h100() -> None:
    h100, a30 = gpu_class("H100 SXM"), gpu_class("A30")
    assert h100 is not None and a30 is not None  # noqa: PT018
    assert a30.peak_ops < h100.floor_ops


def test_pings_that_are_answered_late_buy_half_a_second_at_most() -> None:
    assert speed.round_trip_s([3.0, 4.0, 5.0]) == speed.MOST_ROUND_TRIP_S
    assert speed.round_trip_s([0.2, 0.1, 0.3]) == 0.1
    assert speed.round_trip_s([]) == 0.0
    assert speed.rate_ops(1e12, 2.0, [1.0]) == pytest.approx(1e12 / 1.5)


def test_a_line_whose_round_trips_differ_blames_nobody_for_being_late() -> None:
    assert speed.unsteady(1.0, [0.01, 0.3])
    assert not speed.unsteady(10.0, [0.01, 0.3])
