"""How many processors ranks of one kernel have together. What pins a rank limits that rank only, a quota all who are under it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class CoreShare:
    """What one rank may use.

    Attributes:
        affinity: processors (or cores, by any name) that it may be scheduled on: what a cpuset, the launcher or its MPI has left it.
        group: its control groups, as ``host.cgroup`` tells them.
        quota: of those groups, in processors; None without one.
    """

    affinity: frozenset[Hashable]
    group: str
    quota: float | None


def cores_together(ranks: Iterable[CoreShare]) -> float:
    """Processors of all of these ranks, each counted once; those in one control group have no more than its quota."""
    by_group: dict[str, list[CoreShare]] = {}
    for rank in ranks:
        by_group.setdefault(rank.group, []).append(rank)
    every = {cpu for members in by_group.values() for rank in members for cpu in rank.affinity}
    return min(float(len(every)), sum(_of_group(members) for members in by_group.values()))


def _of_group(members: list[CoreShare]) -> float:
    pinned = float(len({cpu for rank in members for cpu in rank.affinity}))
    quotas = [rank.quota for rank in members if rank.quota is not None]
    return min([pinned, *quotas])
