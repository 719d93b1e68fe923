"""When tests may run, and when they should have run: wall-clock times of a place whose clocks may change.

Times of day are what people and cron write; instants (aware datetimes) are what is compared. A time that the clock skips in
spring, or shows twice in autumn, is read so that a window is never longer than what was written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo

_CLOCK = re.compile(r"^(\d{1,2}):(\d{2})$")
#: A run may begin this long before its time: cron and timers have no better clock than their machine.
EARLY = timedelta(minutes=10)


def parse_clock(text: str) -> time:
    """``"22:00"``.

    Raises:
        ValueError: the text is no time of day.
    """
    match = _CLOCK.match(text.strip())
    if not match or int(match[1]) > 23 or int(match[2]) > 59:
        raise ValueError(f"found {text!r}, expected a time of day like 02:30")
    return time(int(match[1]), int(match[2]))


@dataclass(frozen=True)
class Window:
    """From a time of day to the next time of day that is ``end``: over midnight when ``end`` is not later."""

    start: time
    end: time

    @classmethod
    def parse(cls, text: str) -> Window:
        """``"22:00-05:00"``.

        Raises:
            ValueError: the text is no window.
        """
        first, dash, last = text.partition("-")
        if not dash:
            raise ValueError(f"found {text!r}, expected two times of day like 22:00-05:00")
        return cls(parse_clock(first), parse_clock(last))

    def around(self, now: datetime, place: tzinfo) -> tuple[datetime, datetime] | None:
        """Beginning and end (UTC) of the window that ``now`` lies in; None outside.

        Args:
            now: aware.
            place: whose clock the window is written for.
        """
        today = now.astimezone(place).date()
        for day in (today - timedelta(days=1), today):
            begin = instant(day, self.start, place)
            last = day if self.end > self.start else day + timedelta(days=1)
            end = min(instant(last, self.end, place, fold) for fold in (0, 1))
            if begin <= now < end:
                return begin, end
        return None


def instant(day: date, clock: time, place: tzinfo, fold: int = 0) -> datetime:
    """The instant (UTC) at which the clocks of a place show this; of a skipped time, what they show after the change."""
    return datetime.combine(day, clock.replace(fold=fold), tzinfo=place).astimezone(timezone.utc)


def due_between(at: time, since: datetime, now: datetime, place: tzinfo) -> list[datetime]:
    """Every instant (UTC) after ``since`` and not after ``now`` at which a nightly run was due, oldest first."""
    day, last = since.astimezone(place).date(), now.astimezone(place).date()
    found = []
    while day <= last:
        due = instant(day, at, place)
        if since < due <= now:
            found.append(due)
        day += timedelta(days=1)
    return found


def missed(due: list[datetime], began: list[datetime], now: datetime) -> list[datetime]:
    """The due instants of which nothing came: no run began from then (or a little before) until the next one was due.

    Args:
        due: oldest first.
        began: when runs began.
        now: the last due instant has until one hour after it, and may not be missed yet.
    """
    lost = []
    for number, when in enumerate(due):
        until = due[number + 1] - EARLY if number + 1 < len(due) else now
        if number + 1 == len(due) and now - when < timedelta(hours=1):
            continue
        if not any(when - EARLY <= start < until for start in began):
            lost.append(when)
    return lost


class Here(tzinfo):
    """The clock of this machine, with its changes: what ``TZ`` or ``/etc/localtime`` say, in any form."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        """Distance from UTC at a wall-clock time, its ``fold`` respected."""
        if when is None:
            return None
        naive = when.replace(tzinfo=None)
        return timedelta(seconds=naive.replace(tzinfo=timezone.utc).timestamp() - naive.timestamp())

    def dst(self, when: datetime | None) -> timedelta | None:
        """Unknown, and needed by nobody."""
        return None

    def tzname(self, when: datetime | None) -> str | None:
        """As the machine calls it."""
        return when.replace(tzinfo=None).astimezone().tzname() if when else None

    def fromutc(self, when: datetime) -> datetime:
        """Wall-clock time of an instant."""
        return datetime.fromtimestamp(when.replace(tzinfo=timezone.utc).timestamp()).replace(tzinfo=self)  # noqa: DTZ006 (the machine's own clock is asked for)
