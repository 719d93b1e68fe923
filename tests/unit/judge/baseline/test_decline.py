"""Is a slow decline refused, over one step and over many small ones?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.builders import AT, baseline, entry

from hpcaccept.judge.baseline.decline import accept, declines
from hpcaccept.model.baseline import Baseline, Change

KEY = "speed.rate_flops"


def of(
    center: float, *, approved: bool = True, number: int = 1, facts: dict[str, str] | None = None, **more: Any
) -> Baseline:
    """A generation whose limit lies 10 below its centre."""
    one = baseline(entry(**{"center": center, "lower": center - 10.0, **more}))
    changes = (Change("approved", AT, "Ann"),) if approved else ()
    origin = replace(one.provenance, facts=facts or {})
    return replace(one, changes=changes, generation=number, provenance=origin)


@pytest.mark.parametrize(
    ("now", "refused"), [(120.0, False), (100.0, False), (95.1, False), (94.9, True), (50.0, True)]
)
def test_less_than_half_the_way_to_the_limit_is_learned(now: float, refused: bool) -> None:
    found = declines(of(now, approved=False), [of(100.0)])
    assert bool(found) == refused
    if found:
        assert found[0].key == KEY
        assert "worse than 100 FLOP/s of generation 1, approved 2026-11-22" in str(found[0])


def test_where_lower_is_better_more_is_a_decline() -> None:
    slow: dict[str, Any] = {"key": "speed.latency_s", "unit": "s", "direction": "lower", "lower": None}
    old = of(1.0, **slow, upper=1.1)
    assert not declines(of(1.04, approved=False, **slow, upper=1.2), [old])
    assert declines(of(1.06, approved=False, **slow, upper=1.2), [old])


def test_many_small_steps_are_held_against_the_first_that_was_approved() -> None:
    chain = [of(100.0, number=1)]
    for number, center in enumerate((98.0, 96.0), 2):
        new = of(center, approved=False, number=number)
        assert not declines(new, chain)
        chain.append(of(center, number=number))
    (found,) = declines(of(94.0, approved=False), chain)
    assert found.before == 100.0
    assert "generation 1" in found.since


def test_a_draft_that_nobody_vouched_for_holds_nobody_back() -> None:
    assert not declines(of(50.0, approved=False), [of(100.0, approved=False)])


def test_one_that_has_expired_since_still_counts() -> None:
    assert declines(of(50.0, approved=False), [replace(of(100.0), state="expired")])


@pytest.mark.parametrize(
    "more", [{"revision": 2}, {"unit": "1/s"}, {"setting": "8 nodes"}, {"facts": {"gpu_power_limit_w": "500"}}]
)
def test_unlike_things_are_not_held_against_each_other(more: dict[str, Any]) -> None:
    old = of(100.0, facts={"gpu_power_limit_w": "700"})
    assert not declines(of(50.0, approved=False, **more), [old])


def test_an_accepted_decline_is_written_down_and_begins_a_new_chain() -> None:
    first = of(100.0)
    new = of(80.0, approved=False, number=2)
    accepted, refused = accept(new, declines(new, [first]), [KEY])
    assert refused == []
    assert "20.0 % below generation 1" in accepted.entries[KEY].accepted
    second = replace(accepted, changes=(Change("approved", AT, "Ann"),), generation=2)
    assert not declines(of(78.0, approved=False), [first, second])
    assert declines(of(70.0, approved=False), [first, second])


@pytest.mark.parametrize(("keys", "left"), [([], 1), (["speed.latency_s"], 1), (["speed.*"], 0), (["*"], 0)])
def test_only_what_is_named_is_accepted(keys: list[str], left: int) -> None:
    new = of(50.0, approved=False)
    assert len(accept(new, declines(new, [of(100.0)]), keys)[1]) == left


def test_a_fleet_below_the_published_limit_does_not_become_its_own_measure() -> None:
    shipped = replace(baseline(entry("speed.*", center=None, lower=90.0, source="a maker")), state="shipped")
    shipped = replace(shipped, provenance=replace(shipped.provenance, setting=""))
    (found,) = declines(of(85.0, approved=False), [shipped])
    assert "the published limit (a maker)" in str(found)
    assert not declines(of(91.0, approved=False), [shipped])
