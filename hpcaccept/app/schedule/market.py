"""Chooses the offer to rent and the highest price for it. Pure: offers in, the choice and the reason out."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcaccept.provider.vast import prices, requests
from hpcaccept.provider.vast.labels import Mark
from hpcaccept.provider.vast.offers import Offer
from hpcaccept.provider.vast.query import parse_query

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from hpcaccept.model.schedule.recipe import Recipe
    from hpcaccept.model.schedule.standing import Standing

#: A rental's label lets anybody remove it so long after it should have ended by itself.
_SLACK = dt.timedelta(hours=1)


@dataclass(frozen=True)
class Choice:
    """What may be rented.

    Attributes:
        offers: that fit, in the order in which they are tried.
        cap: USD per hour, disk included.
        why: there is none; empty where there is one.
    """

    offers: tuple[Offer, ...]
    cap: float
    why: str = ""


def filters_of(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """The search for machines that can run a recipe.

    Raises:
        UsageError: its filter is no query.
    """
    cuda = f" cuda_vers>={recipe.cuda}" if recipe.cuda and "cuda_vers" not in recipe.rental.filter else ""
    return parse_query(f"{recipe.rental.filter}{cuda}".strip())


def usd_per_hour(offer: Offer, recipe: Recipe) -> float:
    """With the disk that is asked for."""
    return prices.rate_of(offer, recipe.rental.disk_gb, requests.LISTED_DISK_GB).usd_per_hour


def choose(offers: Sequence[Offer], recipe: Recipe, unfit: Collection[int]) -> Choice:
    """Of the offers under the cap the fastest, of equal ones the cheapest.

    Args:
        offers: that meet the filter.
        recipe: with ``max_price``, and how much dearer than the cheapest it may be.
        unfit: machines that are not tried again.
    """
    free = [each for each in offers if each.machine_id not in unfit]
    most = recipe.rental.max_price or 0.0
    if not free:
        tried = f"; {len(unfit)} machines were tried before" if unfit else ""
        return Choice((), most, f"no offer meets the filter {recipe.rental.filter!r}{tried}")
    cheapest = min(usd_per_hour(each, recipe) for each in free)
    cap = most if recipe.rental.premium is None else min(most, cheapest * (1 + recipe.rental.premium))
    fitting = [each for each in free if usd_per_hour(each, recipe) <= cap * 1.000001]
    if not fitting:
        return Choice((), cap, f"the cheapest offer costs {cheapest:.4f} USD/h, max_price is {most:g}")
    order = sorted(fitting, key=lambda each: (-(each.number("dlperf") or 0.0), usd_per_hour(each, recipe), each.id))
    return Choice(tuple(order), cap)


def mark_of(standing: Standing, machine: int, recipe: Recipe, ran_s: float, now: dt.datetime) -> Mark:
    """The label of a rental: by it the run finds it again, and anybody may remove it when its time is over."""
    ends = [now + dt.timedelta(seconds=recipe.stop.max_hours * 3600 - ran_s)] if recipe.stop.max_hours else []
    if recipe.stop.deadline:
        ends.append(dt.datetime.fromisoformat(recipe.stop.deadline.replace("Z", "+00:00")))
    until = min(ends) + dt.timedelta(seconds=recipe.rental.load_s) + _SLACK
    return Mark(standing.added.run, machine, until.astimezone(dt.timezone.utc))
