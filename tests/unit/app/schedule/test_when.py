from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from hpcaccept.app.schedule.when import instant_of
from hpcaccept.errors import UsageError

UTC = dt.timezone.utc
STOCKHOLM = ZoneInfo("Europe/Stockholm")
NOW = dt.datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", "2026-11-30T12:00:00"),
        ("+2h", "2026-11-30T14:00:00"),
        ("+90 min", "2026-11-30T13:30:00"),
        ("+1.5d", "2026-12-02T00:00:00"),
        ("2026-12-01 05:23", "2026-12-01T04:23:00"),
        ("2026-12-01 05:23:30", "2026-12-01T04:23:30"),
        ("2026-12-01T05:23Z", "2026-12-01T05:23:00"),
        ("2026-12-01 05:23-08:00", "2026-12-01T13:23:00"),
        ("13:30", "2026-11-30T12:30:00"),
        ("05:23", "2026-12-01T04:23:00"),
    ],
)
def test_a_time_is_one_instant(text: str, expected: str) -> None:
    assert instant_of(text, NOW, STOCKHOLM) == dt.datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_a_time_on_the_day_after_the_clocks_have_changed_is_that_of_the_new_offset() -> None:
    before = dt.datetime(2026, 10, 24, 12, 0, tzinfo=UTC)
    assert instant_of("2026-10-26 05:00", before, STOCKHOLM).hour == 4
    assert instant_of("2026-10-25 05:00", before, STOCKHOLM).hour == 4
    assert instant_of("2026-10-24 20:00", before, STOCKHOLM).hour == 18


def test_a_time_that_is_shown_twice_is_refused_with_both() -> None:
    with pytest.raises(UsageError) as refused:
        instant_of("2027-10-31 02:30", NOW, STOCKHOLM)
    assert "is shown twice" in refused.value.message
    assert "--at 2027-10-31T00:30Z or --at 2027-10-31T01:30Z" in refused.value.remedy


def test_a_time_that_the_clocks_skip_is_refused() -> None:
    with pytest.raises(UsageError, match="is skipped"):
        instant_of("2027-03-28 02:30", NOW, STOCKHOLM)


@pytest.mark.parametrize(
    "text", ["2026-11-30 11:00", "yesterday", "25:00", "", "+2 weeks", "+9999d", "2026-02-30 05:00"]
)
def test_what_is_past_or_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        instant_of(text, NOW, STOCKHOLM)
