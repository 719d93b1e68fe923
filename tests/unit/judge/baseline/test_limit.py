"""Where a limit lies in this run: exact ones where they are, learned ones by the number of values."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import entry

from hpcaccept.judge.baseline.limit import MANY, law_in, limits_of, states_a_rate, units_for, useless, written_loss_from
from hpcaccept.judge.statistics.peer_rule import chance_of_each

if TYPE_CHECKING:
    from hpcaccept.model.baseline import BaselineEntry


def learned(**more: Any) -> BaselineEntry:
    """Of four units, as ``learn`` writes it."""
    law = {"floor": 0.02, "width": 0.0059, "freedom": 18.9, "rate": 0.0025, "comparisons": 64}
    return entry(**{"spread": 0.5, "subjects": 4, "nodes": 4, "values": 4, **law, **more})


@pytest.mark.parametrize("comparisons", [1, 10**7])
def test_a_stated_limit_holds_whatever_the_number_of_values(comparisons: int) -> None:
    assert limits_of(entry(), comparisons, 0.01)[:2] == (90.0, None)
    assert limits_of(entry(), comparisons, 0.01)[2] == pytest.approx(0.1)
    assert not states_a_rate(entry())


def test_a_learned_limit_lies_further_out_the_more_values_are_held_against_it() -> None:
    losses = [limits_of(learned(), comparisons, 0.0025)[2] for comparisons in (4, 640, 15_360, 245_760)]
    assert losses == sorted(losses)
    assert 0.02 < losses[0] < losses[-1] < 0.06
    lower, upper, loss = limits_of(learned(), 640, 0.0025)
    assert upper is None
    assert lower == pytest.approx(100 * (1 - loss))


def test_where_less_is_better_the_limit_lies_above() -> None:
    lower, upper, loss = limits_of(learned(direction="lower"), 640, 0.0025)
    assert lower is None
    assert upper == pytest.approx(100 * (1 + loss))


def test_no_limit_lies_within_the_floor() -> None:
    assert limits_of(learned(floor=0.3), 640, 0.0025)[2] == 0.3


@pytest.mark.parametrize(("units", "spread"), [(2, 1.0), (64, 1.0), (64, 6.0)])
def test_a_limit_of_an_older_file_never_shrinks(units: int, spread: float) -> None:
    """Its floor is what it was; its law follows from spread and number of units."""
    old = entry(floor=0.1, subjects=units, spread=spread)
    assert limits_of(old, 1, 0.01, 0.04)[2] >= 0.1
    assert limits_of(old, 10**6, 0.01, 0.04)[2] >= limits_of(old, 10, 0.01, 0.04)[2]


def test_how_many_units_would_narrow_a_limit_is_told() -> None:
    few, many = written_loss_from(learned(), 4), written_loss_from(learned(), MANY)
    assert few > 1.15 * many
    units = units_for(learned(), 1.1 * many)
    assert 8 <= units <= 64
    assert written_loss_from(learned(), units) <= 1.1 * many < written_loss_from(learned(), units // 2)
    assert units_for(learned(), many / 2) == 0, "not with any number"


def test_a_limit_that_the_broken_would_meet_says_how_many_units_would_help() -> None:
    assert useless(learned(lower=96.0)) == ""
    assert useless(learned(center=0.0)) == "the middle is 0"
    why = useless(learned(lower=40.0, spread=5.0, subjects=2, floor=0.04))
    assert "a loss of 60% would still pass" in why
    assert "units would be enough" in why


def test_an_entry_without_a_limit_finds_nothing() -> None:
    assert useless(learned(lower=None)) == "it has no limit"


@pytest.mark.parametrize(("upper", "useful"), [(200.0, True), (200.1, False)])
def test_what_takes_longer_may_take_twice_as_long_before_its_limit_is_useless(upper: float, useful: bool) -> None:
    assert (useless(learned(direction="lower", lower=None, upper=upper)) == "") is useful


@pytest.mark.parametrize(("lower", "useful"), [(50.0, True), (49.9, False)])
def test_half_of_a_rate_is_still_a_limit(lower: float, useful: bool) -> None:
    assert (useless(learned(lower=lower)) == "") is useful


def test_an_older_file_has_the_width_of_the_class_and_of_its_own_floor_where_that_is_not_known() -> None:
    """Its floor was the loss of its limit, and no floor of a class."""
    old = entry(floor=0.1, subjects=4, spread=0.1)
    known, unknown = (limits_of(old, 10**6, 0.01, class_floor)[2] for class_floor in (0.04, 0.0))
    assert known == pytest.approx(law_in(old, 0.04).loss_at(chance_of_each(10**6, 0.01)))
    assert unknown == pytest.approx(law_in(replace(old, floor=0.2), 0.1).loss_at(chance_of_each(10**6, 0.01)))
    assert unknown > 1.5 * known
