from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from support.vast_server import offer

from hpcaccept.app.schedule.market import choose, filters_of, mark_of
from hpcaccept.app.schedule.rented import OnRented
from hpcaccept.errors import UsageError
from hpcaccept.model.schedule.entry import Added
from hpcaccept.model.schedule.recipe import Recipe, Rental, StopRules
from hpcaccept.model.schedule.standing import Standing
from hpcaccept.provider.vast.labels import mark_of as read_label
from hpcaccept.provider.vast.offers import Offer, offer_of

RECIPE = Recipe("true", rental=Rental(image="a/b:1", disk_gb=5, max_price=1.0), stop=StopRules(max_usd=5, max_hours=2))
NOW = dt.datetime(2026, 12, 1, 12, 0, tzinfo=dt.timezone.utc)


def offers(*each: tuple[int, float, float]) -> list[Offer]:
    return [offer_of(offer(900 + machine, machine, dph_total=price, dlperf=speed)) for machine, price, speed in each]


def chosen(found: list[Offer], recipe: Recipe = RECIPE, unfit: tuple[int, ...] = ()) -> list[int]:
    return [each.machine_id for each in choose(found, recipe, unfit).offers]


def test_of_the_offers_under_the_cap_the_fastest_comes_first() -> None:
    assert chosen(offers((1, 0.5, 100), (2, 0.9, 300), (3, 1.1, 900))) == [2, 1]


def test_a_premium_counts_from_the_cheapest() -> None:
    recipe = replace(RECIPE, rental=replace(RECIPE.rental, premium=0.1))
    assert chosen(offers((1, 0.5, 100), (2, 0.55, 200), (3, 0.56, 900)), recipe) == [2, 1]


def test_the_price_has_the_disk_in_it() -> None:
    recipe = replace(RECIPE, rental=replace(RECIPE.rental, disk_gb=500, max_price=0.52))
    assert chosen(offers((1, 0.5, 100)), recipe) == []
    assert chosen(offers((1, 0.5, 100)), replace(recipe, rental=replace(recipe.rental, disk_gb=5))) == [1]


def test_what_is_too_dear_or_unfit_is_not_rented_and_says_why() -> None:
    assert choose(offers((1, 1.5, 1)), RECIPE, ()).why == "the cheapest offer costs 1.5000 USD/h, max_price is 1"
    assert choose(offers((1, 0.5, 1)), RECIPE, (1,)).why == "no offer meets the filter ''; 1 machines were tried before"


def test_the_cuda_that_is_needed_is_part_of_the_search() -> None:
    assert "cuda_max_good" in filters_of(replace(RECIPE, cuda="12.4"))


@pytest.mark.parametrize(
    ("stop", "until"),
    [
        (StopRules(max_hours=2), "2026-12-01T15:00"),
        (StopRules(deadline="2026-12-01T13:00+00:00"), "2026-12-01T14:30"),
        (StopRules(max_hours=2, deadline="2026-12-01T12:30Z"), "2026-12-01T14:00"),
    ],
)
def test_the_label_says_until_when_it_may_live(stop: StopRules, until: str) -> None:
    added = Added("20261201t120000-0123abcd", "", "rented", "c", "s", "", False, "", 0, (), 0, 0, "", 1, 1)
    mark = mark_of(Standing(added), 17, replace(RECIPE, stop=stop), 1800.0, NOW)
    assert read_label(str(mark)) == mark
    assert mark.until.isoformat().startswith(until if stop.deadline else "2026-12-01T15:00")


@pytest.mark.parametrize(
    ("recipe", "missing"),
    [
        (replace(RECIPE, rental=Rental(max_price=1)), "--image"),
        (replace(RECIPE, rental=Rental(image="a")), "--max-price"),
        (replace(RECIPE, stop=StopRules(max_hours=1)), "--max-usd"),
        (replace(RECIPE, stop=StopRules(max_usd=1)), "--max-hours"),
    ],
)
def test_nothing_is_rented_without_every_cap(recipe: Recipe, missing: str) -> None:
    with pytest.raises(UsageError, match=missing):
        OnRented().check(recipe)
    OnRented().check(RECIPE)
