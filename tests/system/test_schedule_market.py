"""Rented machines that are unpleasant: the marketplace is the loopback one, what a machine does is done here without ssh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support import vast_server as markets
from support.scheduled_tree import Timer, tree_with
from support.vast_server import Behaviour, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hpcaccept.model.schedule.standing import Standing

RECIPE = """command = "echo 1 >result"
restart = true
[rental]
image = "example/image:1"
max_price = 1.0
load_s = 60
[stop]
max_usd = 5
max_hours = 2
"""


@pytest.fixture
def market(monkeypatch: pytest.MonkeyPatch) -> Iterator[markets.VastServer]:
    with markets.vast_server() as server:
        monkeypatch.setenv("VAST_URL", server.url)
        monkeypatch.setenv("VAST_API_KEY", markets.KEY)
        server.foreign(2)
        yield server


@pytest.fixture
def timer(market: markets.VastServer, tmp_path: Path) -> Iterator[Timer]:
    started = Timer.started(tree_with(tmp_path / "tree", {"a": "a"}))
    yield started
    started.close()


def offered(market: markets.VastServer, *machines: int, **other: Any) -> None:
    """The first is the fastest."""
    for place, machine in enumerate(machines):
        listed: dict[str, Any] = {"num_gpus": 1, "dph_total": 0.5, "dlperf": 900.0 - place, **other}
        market.offer(machine, verified=True, verification="verified", **listed)


def ended(timer: Timer, recipe: str = RECIPE) -> Standing:
    timer.ask("add", recipe=recipe, place="rented")
    return timer.until(lambda standing: standing.final, machines=str(timer.tree.parent / "machines"))


def is_done(found: Standing, market: markets.VastServer, timer: Timer, unfit: tuple[int, ...]) -> None:
    assert (found.state, found.unfit, found.lease) == ("done", unfit, None), found
    assert market.ours() == []
    assert len(market.instances) == 2
    assert timer.latest().file("work/result").read_text() == "1\n"


def test_an_offer_that_vanishes_gives_way_to_the_next(market: markets.VastServer, timer: Timer) -> None:
    offered(market, 1, 2)
    market.rules.append(
        Rule("PUT /api/v0/asks", status=410, body={"success": False, "error": "no_such_ask", "msg": "gone"})
    )
    is_done(ended(timer), market, timer, (1,))


def test_a_rental_whose_answer_is_lost_is_found_by_its_label(market: markets.VastServer, timer: Timer) -> None:
    offered(market, 1)
    market.rules.append(Rule("PUT /api/v0/asks", kind="lost"))
    is_done(ended(timer), market, timer, ())
    assert market.most_rented == 1


def test_a_rental_that_was_never_made_is_tried_again(market: markets.VastServer, timer: Timer) -> None:
    offered(market, 1)
    market.rules.append(Rule("PUT /api/v0/asks", kind="unheard"))
    found = ended(timer)
    is_done(found, market, timer, ())
    assert found.usd < 0.1


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (Behaviour(status="offline"), "is offline"),
        (Behaviour(dearer=2.0), "agreed were"),
        (Behaviour(status="loading", message="Error: pull access denied"), "pull access denied"),
        (Behaviour(ports=False), "rental.load_s 2"),
    ],
    ids=["offline", "dearer", "no image", "no port"],
)
def test_a_machine_that_is_no_good_is_given_up_for_another(
    market: markets.VastServer, timer: Timer, behaviour: Behaviour, why: str
) -> None:
    offered(market, 1, 2)
    market.behaviours[1] = behaviour
    found = ended(timer, RECIPE if behaviour.ports else RECIPE.replace("load_s = 60", "load_s = 2"))
    is_done(found, market, timer, (1,))
    assert why in timer.latest().file("journal.jsonl").read_text()


def test_a_price_increase_is_rejected_and_never_accepted(market: markets.VastServer, timer: Timer) -> None:
    offered(market, 1)
    market.behaviours[1] = Behaviour(asks_more=True)
    is_done(ended(timer), market, timer, ())
    assert len(market.rejected) == 1
    assert market.accepted == []


def test_a_run_does_not_end_before_its_machine_is_in_no_list(market: markets.VastServer, timer: Timer) -> None:
    offered(market, 1)
    market.stays = 9
    is_done(ended(timer), market, timer, ())
    assert sum(each.startswith("DELETE") for each in market.requests) >= 10


def test_what_costs_more_than_the_cap_is_waited_for(market: markets.VastServer, timer: Timer) -> None:
    offered(market, 1, dph_total=1.5)
    timer.ask("add", recipe=RECIPE, place="rented")
    timer.ask("once")
    assert "the cheapest offer costs 1.5" in timer.latest().standing().waiting
    assert market.ours() == []
    timer.ask("stop")
    assert timer.latest().standing().state == "stopped"


def test_the_cap_of_money_ends_the_command_and_the_rental(market: markets.VastServer, timer: Timer) -> None:
    offered(market, 1)
    slow = RECIPE.replace("echo 1 >result", "echo 1 >result; sleep 600")
    timer.ask("add", recipe=slow, place="rented")
    machines = str(timer.tree.parent / "machines")
    timer.until(lambda standing: standing.state == "running", machines=machines)
    (instance,) = market.ours()
    market.charges[instance] = 5.5
    found = timer.until(lambda standing: standing.final, machines=machines, later_s=400)
    assert found.state == "stopped"
    assert "max_usd 5: it has cost 5.5" in found.why
    assert found.usd == 5.5
    assert market.ours() == []
    assert timer.latest().file("work/result").read_text() == "1\n"


def test_a_key_that_is_refused_is_said_and_nothing_is_forgotten(
    market: markets.VastServer, timer: Timer, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered(market, 1)
    timer.ask("add", recipe=RECIPE, place="rented")
    market.rules.append(
        Rule(
            "POST /api/v0/bundles",
            status=404,
            body={"success": False, "error": "auth_error", "msg": "Invalid user key"},
        )
    )
    said = timer.ask("once")["said"]
    assert any("auth_error" in each for each in said)
    assert timer.latest().standing().state == "starting"
    found = timer.until(lambda standing: standing.final, machines=str(timer.tree.parent / "machines"))
    is_done(found, market, timer, ())
