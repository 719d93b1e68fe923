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
