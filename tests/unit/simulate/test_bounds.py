"""The bounds beside the found faults: tests by the book, checked where their power is known by hand."""

from __future__ import annotations

import pytest

from benchmarks.detection.bounds import bounds
from benchmarks.detection.fleets import BF16, TRIAD, Fault, Shape


def test_many_units_tell_their_width_and_both_tests_agree() -> None:
    known, alone = bounds(Shape(512, 1, 5), Fault(0.03, TRIAD))
    assert alone == pytest.approx(known, abs=0.01)


def test_the_known_width_finds_half_of_what_lies_at_its_cut() -> None:
    # 3 units x 5 metrics at 1 %: z = 3.209; a width of 0.75 %, with the noise of three launches, against the mean of two others.
    loss = 3.209 * 0.0075 * (1 + 1 / 48) ** 0.5 * 1.5**0.5
    known, alone = bounds(Shape(3, 1, 5), Fault(loss, BF16))
    assert known == pytest.approx(0.5, abs=0.001)
    assert alone < 0.25
