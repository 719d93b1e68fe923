"""The instant that ``--at`` means. A time that the clocks skip, or show twice, is refused with the two that could be meant."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

from hpcaccept.errors import UsageError

if TYPE_CHECKING:
    from datetime import tzinfo

_IN = re.compile(r"\+\s*(\d+(?:\.\d+)?)\s*(s|sec|m|min|h|hours?|d|days?)")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_CLOCK = re.compile(r"\d{1,2}:\d{2}(?::\d{2})?")
_EXAMPLES = "--at '2026-12-01 05:23', --at 05:23, --at +2h or --at 2026-12-01T04:23Z"


def instant_of(text: str, now: dt.datetime, place: tzinfo) -> dt.datetime:
    """The instant (UTC), to the second.

    Args:
        text: ``now``, ``+2h``, ``05:23`` (the next one), ``2026-12-01 05:23``, or either with ``Z`` or an offset.
        now: aware.
        place: whose clocks a time without offset is of.

    Raises:
        UsageError: it is no time, is past, or no clock or two clocks show it.
    """
    wanted = text.strip()
    if wanted == "now":
        return now.astimezone(dt.timezone.utc)
    if found := _IN.fullmatch(wanted):
        seconds = float(found[1]) * _UNIT_S[found[2][0]]
        if seconds > 366 * 86_400:
            raise UsageError(f"--at: {text!r} is more than a year ahead.", _EXAMPLES)
        return (now + dt.timedelta(seconds=seconds)).astimezone(dt.timezone.utc)
    when = _clock(wanted, now, place) if _CLOCK.fullmatch(wanted) else _written(wanted, place)
    if when < now - dt.timedelta(minutes=1):
        raise UsageError(f"--at: {text!r} is past; it is now {now.astimezone(place):%Y-%m-%d %H:%M}.", _EXAMPLES)
    return when


def _written(text: str, place: tzinfo) -> dt.datetime:
    try:
        when = dt.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise UsageError(f"--at: found {text!r}, expected a time.", _EXAMPLES) from None
    if when.tzinfo is not None:
        return when.astimezone(dt.timezone.utc)
    return _local(when, place)


def _clock(text: str, now: dt.datetime, place: tzinfo) -> dt.datetime:
    """The next time that clocks show this."""
    hour, minute, second = (*(int(each) for each in text.split(":")), 0)[:3]
    try:
        clock = dt.time(hour, minute, second)
    except ValueError:
        raise UsageError(f"--at: found {text!r}, expected a time of day.", _EXAMPLES) from None
    today = now.astimezone(place).date()
    first = _local(dt.datetime.combine(today, clock), place)
    return first if first > now else _local(dt.datetime.combine(today + dt.timedelta(days=1), clock), place)


def _local(naive: dt.datetime, place: tzinfo) -> dt.datetime:
    first, second = (
        naive.replace(tzinfo=place, fold=fold).astimezone(dt.timezone.utc).replace(microsecond=0) for fold in (0, 1)
    )
    if first == second:
        return first
    both = " or ".join(f"--at {each:%Y-%m-%dT%H:%MZ}" for each in sorted((first, second)))
    # A time that is shown comes back from its instant; one that the clocks skip does not.
    shown = first.astimezone(place).replace(tzinfo=None) == naive.replace(microsecond=0)
    what = "is shown twice" if shown else "is skipped"
    raise UsageError(f"--at: {naive:%Y-%m-%d %H:%M} {what} here, where the clocks change.", f"Type {both}.")
