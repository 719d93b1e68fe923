"""When runs may run and when they were due, on days on which the clocks change too."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcaccept.model.nightly.window import Window, due_between, instant, missed, parse_clock

BERLIN = ZoneInfo("Europe/Berlin")
UTC = timezone.utc
#: Clocks go from 02:00 to 03:00, and from 03:00 back to 02:00.
SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)
CLOCKS = st.builds(time, st.integers(0, 23), st.integers(0, 59))


def berlin(year: int, month: int, day: int, hour: int, minute: int = 0, fold: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=BERLIN, fold=fold).astimezone(UTC)


@pytest.mark.parametrize("text", ["", "24:00", "7", "7:5", "12:60", "ab:cd", "-1:00", "12:00:00"])
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time of day"):
        parse_clock(text)


def test_a_window_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match="expected two times"):
        Window.parse("22:00")


def test_over_midnight() -> None:
    window = Window.parse("22:00-05:00")
    assert window.around(berlin(2026, 11, 22, 21, 59), BERLIN) is None
    begin, end = window.around(berlin(2026, 11, 22, 22), BERLIN) or pytest.fail("outside")
    assert (begin, end) == (berlin(2026, 11, 22, 22), berlin(2026, 11, 23, 5))
    assert window.around(berlin(2026, 11, 23, 4, 59), BERLIN) == (begin, end)
    assert window.around(berlin(2026, 11, 23, 5), BERLIN) is None


def test_within_a_day() -> None:
    window = Window.parse("01:30-04:00")
    assert window.around(berlin(2026, 11, 22, 1, 29), BERLIN) is None
    assert window.around(berlin(2026, 11, 22, 3), BERLIN) == (berlin(2026, 11, 22, 1, 30), berlin(2026, 11, 22, 4))


def test_the_same_time_twice_is_a_whole_day() -> None:
    assert Window.parse("05:00-05:00").around(berlin(2026, 11, 22, 4, 59), BERLIN) is not None


def test_in_spring_an_hour_is_missing_from_the_night() -> None:
    begin, end = Window.parse("22:00-05:00").around(berlin(2026, 3, 29, 1), BERLIN) or pytest.fail("outside")
    assert end - begin == timedelta(hours=6)


def test_in_autumn_the_night_is_longer() -> None:
    begin, end = Window.parse("22:00-05:00").around(berlin(2026, 10, 25, 1), BERLIN) or pytest.fail("outside")
    assert end - begin == timedelta(hours=8)


def test_a_window_that_ends_in_the_skipped_hour_ends_before_it() -> None:
    _, end = Window.parse("22:00-02:30").around(berlin(2026, 3, 29, 0), BERLIN) or pytest.fail("outside")
    assert end <= datetime(2026, 3, 29, 1, 0, tzinfo=UTC)  # when 02:00 became 03:00


def test_a_window_that_ends_in_the_hour_that_comes_twice_ends_the_first_time() -> None:
    _, end = Window.parse("22:00-02:30").around(berlin(2026, 10, 25, 0), BERLIN) or pytest.fail("outside")
    assert end == berlin(2026, 10, 25, 2, 30, fold=0)


@given(CLOCKS, CLOCKS, st.integers(0, 3 * 1440), st.sampled_from([SPRING, AUTUMN]))
def test_inside_a_window_the_end_is_ahead_and_not_further_than_it_was_written(
    start: time, end: time, minutes: int, day: date
) -> None:
    now = instant(day, time(0, 0), BERLIN) - timedelta(days=1) + timedelta(minutes=minutes)
    found = Window(start, end).around(now, BERLIN)
    written = timedelta(hours=end.hour - start.hour, minutes=end.minute - start.minute) % timedelta(days=1)
    if found:
        begin, until = found
        assert begin <= now < until
        assert until - begin <= (written or timedelta(days=1)) + timedelta(hours=1)  # autumn


def test_a_run_is_due_once_a_day_whatever_the_clocks_do() -> None:
    for day in (SPRING, AUTUMN):
        since = instant(day, time(12), BERLIN) - timedelta(days=3)
        due = due_between(time(2, 30), since, since + timedelta(days=6), BERLIN)
        assert len(due) == 6
        assert len({when.astimezone(BERLIN).date() for when in due}) == 6


def test_a_night_of_which_nothing_came_is_missed() -> None:
    due = [datetime(2026, 11, day, 2, tzinfo=UTC) for day in (20, 21, 22)]
    began = [datetime(2026, 11, 20, 2, 0, 5, tzinfo=UTC), datetime(2026, 11, 22, 1, 59, tzinfo=UTC)]
    assert missed(due, began, datetime(2026, 11, 22, 2, 1, tzinfo=UTC)) == [due[1]]


def test_a_run_that_was_due_a_moment_ago_may_still_come() -> None:
    due = [datetime(2026, 11, 22, 2, tzinfo=UTC)]
    assert missed(due, [], due[0] + timedelta(minutes=59)) == []
    assert missed(due, [], due[0] + timedelta(minutes=61)) == due


@given(st.sets(st.integers(0, 19)))
def test_exactly_the_nights_without_a_run_are_missed(ran: set[int]) -> None:
    first = datetime(2026, 11, 1, 2, tzinfo=UTC)
    due = [first + timedelta(days=n) for n in range(20)]
    began = [due[n] + timedelta(minutes=3) for n in sorted(ran)]
    lost = missed(due, began, due[-1] + timedelta(hours=5))
    assert {due.index(when) for when in lost} == set(range(20)) - ran


@pytest.mark.parametrize("zone", ["Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3", "America/New_York", "UTC"])
def test_the_clock_of_this_machine_is_read_in_any_form(zone: str) -> None:
    """In a process of its own: TZ belongs to a process."""
    code = (
        "from datetime import date, time, datetime, timezone\n"
        "from hpcaccept.model.nightly.window import Here, instant\n"
        "here = Here()\n"
        "for month, day in ((3, 29), (10, 25), (3, 8), (11, 1), (7, 1)):\n"
        "    for hour in range(24):\n"
        "        for fold in (0, 1):\n"
        "            found = instant(date(2026, month, day), time(hour, 30), here, fold)\n"
        "            assert found.timestamp() == datetime(2026, month, day, hour, 30, fold=fold).timestamp()\n"
        "            back = found.astimezone(here)\n"
        "            assert back.replace(tzinfo=None) == found.astimezone().replace(tzinfo=None), back\n"
        "            assert back.utcoffset() == found.astimezone().utcoffset()\n"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "TZ": zone}, check=True)
