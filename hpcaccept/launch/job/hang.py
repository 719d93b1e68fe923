"""Who kept the others waiting in a collective. Pure: what ranks have seen of a hang in, names and sentences out.

Nothing here is evidence of a death: it names who was waited for where all ranks are alive and all late, and says more of those
that other signs have found.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.parse.nccl_ras import State, suspects_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcaccept.model.record import CollectivesSeen, GroupProgress

#: Processes that a sentence names.
_NAMED = 4
_SAID: dict[State, str] = {
    "dead": "could not be reached for 60 s",
    "unresponsive": "does not answer",
    "behind": "has launched fewer collectives than the others",
}


@dataclass(frozen=True)
class Wait:
    """A collective in which ranks waited.

    Attributes:
        operation: its name (``gloo:all_reduce``).
        number: within its group, counted from 1.
        waiting: ranks that were in it.
        absent: ranks of its group that wait nowhere and have not entered it.
    """

    operation: str
    number: int
    waiting: tuple[int, ...]
    absent: tuple[int, ...]

    def __str__(self) -> str:
        """For people: ``2 ranks waited in collective 5 (gloo:all_reduce)``."""
        ranks = f"{len(self.waiting):,} rank{'s' if len(self.waiting) > 1 else ''}"
        return f"{ranks} waited in collective {self.number} ({self.operation})"


def earliest_wait(seen: Mapping[int, CollectivesSeen]) -> Wait | None:
    """The collective that holds up most ranks, of several in one group the first; None where nobody waited in one.

    Args:
        seen: rank → what it says of its collectives. A rank that is not in it has said nothing and is not called absent.
    """
    waits = {rank: group for rank, said in seen.items() for group in said.groups if group.waits}
    if not waits:
        return None
    name, _ = Counter(group.group for group in waits.values()).most_common(1)[0]
    here = {rank: group for rank, group in waits.items() if group.group == name}
    first = min(here.values(), key=lambda group: group.entered)
    idle = [rank for rank in seen if rank not in waits]
    return Wait(
        operation=first.operation,
        number=first.entered,
        waiting=tuple(sorted(here)),
        absent=tuple(sorted(rank for rank in idle if -1 < _entered(seen[rank], first) < first.entered)),
    )


def _entered(said: CollectivesSeen, group: GroupProgress) -> int:
    """The last collective of a group that a rank has entered; -1 where it may not belong to it."""
    return next((g.entered for g in said.groups if g.group == group.group), 0 if group.everyone else -1)


def said_by_ras(status: str, pids: Mapping[int, int]) -> str:
    """What NCCL's RAS service says of processes, a sentence; empty where it says nothing.

    Args:
        status: its answer.
        pids: rank → number of its process on its host; who cannot be told by it is called as RAS calls it.
    """
    told = []
    for suspect in suspects_of(status):
        ranks = [rank for rank, pid in pids.items() if pid == suspect.pid]
        who = f"rank {ranks[0]} (process {suspect.pid}" if len(ranks) == 1 else f"a process ({suspect.pid}"
        told.append(f"{who} on {suspect.node}) {_SAID[suspect.state]}")
    more = [f"{len(told) - _NAMED:,} more"] if len(told) > _NAMED else []
    return f"NCCL RAS: {', '.join([*told[:_NAMED], *more])}" if told else ""
