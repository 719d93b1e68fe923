"""What the last ``node-check --deep`` measured, and whether it still holds. A stale result is UNKNOWN, never PASS."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from hpcaccept.app.node_check.look import Look
from hpcaccept.app.node_check.one_node import judged, not_run
from hpcaccept.app.node_check.state import read_deep
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import at_most
from hpcaccept.units import show_duration

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.app.node_check.look import Asked
    from hpcaccept.model.node_check import Deep, Item

PART = "deep"
#: The fact that says when it was measured, ISO 8601 in UTC.
MEASURED_AT = "deep_at"
_REMEDY = "Run it while the node is idle, or by its timer: hpcaccept node-check --deep"
#: A result of the future is one of a clock that was wrong; a little is the difference of two reads.
_AHEAD_S = 60.0


def look(asked: Asked, folder: Path, now: float) -> Look:
    """The cached result, where one is expected; one that FAILED counts also where none is."""
    try:
        deep = read_deep(folder)
    except (OSError, ValueError) as fault:
        return Look([_unknown(f"the cached result cannot be read: {fault}")] if asked.expected.deep else [])
    if deep is None:
        return Look([_unknown("there is no cached result")] if asked.expected.deep else [])
    said = f"{deep.verdict}, {show_duration(max(0.0, now - deep.at))} ago, {deep.run}"
    found = Look(facts={"deep": said, MEASURED_AT: _written(deep.at)})
    if item := _item(asked, deep, now):
        found.items.append(item)
    return found


def _written(at: float) -> str:
    """ISO 8601; a damaged number is none that a clock shows."""
    try:
        return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return ""


def _item(asked: Asked, deep: Deep, now: float) -> Item | None:
    age_s, most_s = now - deep.at, asked.expected.deep_max_age_s
    limit = at_most(0, "faults", "the suite of node-check --deep")
    if -_AHEAD_S <= age_s <= most_s and deep.verdict == "NOT_FIT":
        code = FindingCode.DEEP_FAILED
        return judged(
            PART, "faults", code, max(1, len(deep.codes)), limit, f"{deep.reason} (hpcaccept report {deep.run})"
        )
    if not asked.expected.deep:
        return None
    if age_s < -_AHEAD_S:
        return _unknown(f"the cached result is {show_duration(-age_s)} ahead of the clock")
    if age_s > most_s:
        return _unknown(f"the cached result is {show_duration(age_s)} old, expected at most {show_duration(most_s)}")
    if deep.verdict == "UNKNOWN":
        return _unknown(f"it could not be judged: {deep.reason}")
    return judged(PART, "faults", FindingCode.DEEP_FAILED, 0, limit)


def _unknown(why: str) -> Item:
    return not_run(PART, "cached result", why, _REMEDY, FindingCode.DEEP_STALE)
