"""Where a run stands follows from its journal alone, wherever that ends."""

from __future__ import annotations

import pytest

from hpcaccept.model.schedule.entry import (
    Added,
    Asked,
    Ended,
    Ending,
    Entry,
    Halted,
    Kept,
    Paused,
    Released,
    Rented,
    Renting,
    Sent,
    Started,
    Starting,
    Unfit,
)
from hpcaccept.model.schedule.standing import Standing, standing_of

ADDED = Added("r", "2026-12-01T04:23:00+00:00", "rented", "c", "s", "", False, "", 0, (), 0, 0, "", 1, 1)
RENTING = Renting(1, 7, 17, "label", 0.5, 0.03)
LIFE: tuple[Entry, ...] = (
    Starting(1), RENTING, Rented(1, 900), Sent(1, 10, 1.0), Started(1, "900", "17", "1"), Ending("paused", "pause was asked for", ""),
    Halted("paused", 143, ""), Kept(whole=True), Released((900,), 0.2), Paused("pause was asked for"),
)  # fmt: skip


def after(*entries: Entry) -> Standing:
    found = standing_of(("2026-12-01T04:23:00+00:00", each) for each in (ADDED, *entries))
    assert found
    return found


def test_each_line_leads_to_the_next_state() -> None:
    states = [after(*LIFE[:count]).state for count in range(len(LIFE) + 1)]
    assert states == [
        "scheduled", "starting", "starting", "starting", "starting", "running", "ending", "halted", "kept", "released", "paused",
    ]  # fmt: skip


def test_a_machine_counts_as_rented_from_before_the_request_until_a_list_shows_that_it_is_gone() -> None:
    held = [after(*LIFE[:count]).lease is not None for count in range(len(LIFE) + 1)]
    assert held == [False, False, True, True, True, True, True, True, True, False, False]


def test_what_was_paid_adds_up_over_attempts() -> None:
    again = after(*LIFE, Asked("resume"), Starting(2), RENTING, Released((901,), 0.3))
    assert again.usd == pytest.approx(0.5)
    assert (again.attempt, again.state) == (2, "starting")


def test_a_machine_that_was_lost_or_unfit_is_not_tried_again() -> None:
    assert after(*LIFE[:5], Halted("lost", None, "gone")).unfit == (17,)
    assert after(*LIFE[:3], Unfit(1, 17, "no ssh")).unfit == (17,)
    assert after(*LIFE).unfit == ()


def test_a_stop_is_taken_back_by_nothing() -> None:
    assert after(*LIFE[:5], Asked("stop"), Asked("resume")).wish == "stop"
    assert (
        after(*LIFE[:5], Asked("stop"), Halted("lost", None, "x"), Kept(whole=True), Released(), Starting(2)).wish
        == "stop"
    )


def test_to_resume_takes_back_a_pause_that_nobody_has_acted_upon() -> None:
    assert after(*LIFE[:5], Asked("pause"), Asked("resume")).wish is None


def test_a_second_pause_does_not_swallow_the_resume() -> None:
    assert after(*LIFE, Asked("pause"), Asked("resume")).wish == "resume"


def test_what_has_ended_has_no_wishes() -> None:
    ended = after(*LIFE[:5], Asked("stop"), Ended("stopped", "asked for"), Asked("resume"))
    assert (ended.final, ended.wish) == (True, None)


def test_a_journal_without_its_first_line_is_none() -> None:
    assert standing_of([("t", Starting(1))]) is None
    assert standing_of([]) is None
