"""Which nights were missed, and which nodes were not tested for too long. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.app.campaign.memory import instant_of
from hpcaccept.model.nightly.window import due_between, missed, parse_clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime, tzinfo

    from hpcaccept.app.campaign.memory import Memory
    from hpcaccept.model.nightly.night import LastTest


def missed_nights(memory: Memory, at: str, now: datetime, place: tzinfo) -> list[datetime]:
    """Due instants (UTC) of which nothing came, reported or not, oldest first.

    Args:
        memory: of the journal.
        at: time of day at which a run is due where the journal does not know: from the first night on.
        now: aware.
        place: whose clock is meant.
    """
    clock, since = memory.clock, memory.clock_since
    if since is None and at and memory.began:
        clock, since = at, memory.began[0][0]
    if not clock or since is None:
        return []
    due = due_between(parse_clock(clock), since, now, place)
    return missed(due, [when for when, _ in memory.began], now)


def stale_nodes(
    nodes: Iterable[str], tested: Mapping[str, LastTest], first_night: datetime, now: datetime, days: float
) -> tuple[str, ...]:
    """Nodes that were not tested for ``days``; of a node that was never tested they count from the first night."""

    def age_s(name: str) -> float:
        found = tested.get(name)
        return (now - (instant_of(found.at) if found else first_night)).total_seconds()

    return tuple(sorted(name for name in nodes if age_s(name) >= days * 86400))
