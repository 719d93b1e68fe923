"""Is a slow decline refused, over one step and over many small ones?"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from support.builders import AT, CATALOGUE, H100, baseline, entry, fleet

from hpcaccept.judge.baseline.decline import accept, by_chance, declines, meant, unclear
from hpcaccept.judge.baseline.learn import learn
from hpcaccept.judge.statistics.aggregate import values_of
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


def test_a_generation_of_another_setting_holds_nobody_back() -> None:
    old = of(100.0)
    other = replace(old, provenance=replace(old.provenance, setting="1 threads, in turn"))
    assert declines(of(50.0, approved=False), [old])
    assert not declines(of(50.0, approved=False), [other])


@pytest.mark.parametrize(("now", "refused"), [(99.1, False), (98.9, True)])
def test_a_generation_without_a_limit_allows_one_hundredth(now: float, refused: bool) -> None:
    assert bool(declines(of(now, approved=False), [of(100.0, lower=None)])) == refused


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


# --- units differ, and so do the middles of two handfuls of them ------------------------------------------------------


def taught(units: int, seed: int, *, loss: float = 0.0, approved: bool = False) -> Baseline:
    """What ``learn`` makes of so many units, which differ by 1 % where the floor is 4 %."""
    rng = random.Random(seed)
    run = fleet([100.0 * (1 - loss) * (1 + rng.gauss(0, 0.01)) for _ in range(units)])
    entries, _ = learn(values_of(run.samples, CATALOGUE), H100, "8 threads, all at once", {}, {"speed": 1}, 0.0)
    changes = (Change("approved", AT, "Ann"),) if approved else ()
    return replace(baseline(), entries=entries, changes=changes, generation=int(approved))


def most(old: Baseline, new: Baseline) -> float:
    """The loss that would be learned."""
    one, other = old.entries[KEY], new.entries[KEY]
    return max(meant(one), by_chance(one, other, 1))


@pytest.mark.parametrize("units", [2, 4, 8, 16, 64])
def test_other_units_of_the_same_fleet_have_not_declined(units: int) -> None:
    refused = sum(bool(declines(taught(units, seed), [taught(units, -seed - 1, approved=True)])) for seed in range(40))
    assert refused <= 1


@pytest.mark.parametrize("units", [4, 16, 64])
def test_half_as_much_again_as_is_learned_is_refused(units: int) -> None:
    caught = 0
    for seed in range(40):
        old = taught(units, seed, approved=True)
        worse = taught(units, -seed - 1, loss=1.5 * most(old, taught(units, -seed - 1)))
        caught += bool(declines(worse, [old]))
    assert caught >= 38


def test_more_units_tell_smaller_declines_and_never_less_than_half_the_floor() -> None:
    few, more, many = (most(taught(units, 1, approved=True), taught(units, 2)) for units in (4, 16, 256))
    assert few > more
    assert few > 0.02
    assert many == 0.02


def test_of_few_units_a_loss_that_may_be_chance_is_learned_and_said_with_the_number_that_could_tell() -> None:
    old, new = (taught(4, seed, approved=approved) for seed, approved in ((1, True), (2, False)))
    low = replace(new.entries[KEY], center=0.975 * (old.entries[KEY].center or 0.0))
    new = replace(new, entries={KEY: low})
    assert not declines(new, [old])
    (told,) = unclear(new, [old])
    assert 4 < told.units <= 32
    assert (
        f"may be the difference between so few units, and is learned; {told.units} units in each could tell 2.0 %"
        in str(told)
    )
    enough = replace(low, subjects=told.units, values=told.units, nodes=told.units)
    assert [
        one.key
        for one in declines(
            replace(new, entries={KEY: enough}),
            [
                replace(
                    old,
                    entries={KEY: replace(old.entries[KEY], subjects=told.units, values=told.units, nodes=told.units)},
                )
            ],
        )
    ] == [KEY]


def test_what_is_sure_is_not_among_what_is_unclear() -> None:
    old, new = taught(64, 1, approved=True), taught(64, 2, loss=0.1)
    assert declines(new, [old])
    assert not unclear(new, [old])


def test_the_centre_of_fewer_units_says_how_badly_the_scatter_is_known() -> None:
    law: dict[str, Any] = {"floor": 0.02, "width": 0.005, "rate": 0.0025, "comparisons": 64, "spread": 0.5}
    few = entry(**law, freedom=3.0, subjects=4, nodes=4, values=4)
    many = entry(**law, freedom=60.0, subjects=4, nodes=4, values=4)
    assert by_chance(few, many, 30) == pytest.approx(by_chance(few, few, 30))
    assert by_chance(many, few, 30) == pytest.approx(by_chance(few, few, 30))
    assert by_chance(many, many, 30) < by_chance(few, few, 30) / 2
