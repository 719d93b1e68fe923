"""Which of our jobs are in the way of a user's job that waits. Pure.

A job of ours is in the way where ending it lets a job begin that waits for nodes: some of the nodes that it may use are ours, and with them there are
enough. What a job needs beyond their number (features, GPUs, memory) is not known here. So where idle nodes seem to suffice and it waits all the
same, ours are ended after a second look, if it came after them: a job that waited already while our nodes were still idle does not wait for those.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcaccept.app.campaign.choose import HARMLESS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hpcaccept.model.node import NodeState, WaitingJob

#: Reasons of jobs that wait for nodes; all others wait for something that we cannot give.
#: https://slurm.schedmd.com/job_reason_codes.html (25.05)
_FOR_NODES = frozenset({"Resources", "Priority", "None"})
#: Seconds after which a job that should have begun on idle nodes is taken to need ours: the scheduler has looked meanwhile.
SECOND_LOOK_S = 15.0
#: A word of the comment of a job that stands behind everybody: the name of its run (``launch.behind_others``).
_RUN = re.compile(r"\d{8}-\d{6}-\S+-[0-9a-f]{4}")


@dataclass(frozen=True)
class Holding:
    """Nodes that a job of ours holds.

    Attributes:
        run: whose job it is.
        nodes: their names.
        since_s: when it was submitted, seconds since the epoch.
    """

    run: str
    nodes: frozenset[str]
    since_s: float


def in_the_way(
    waiting: Iterable[WaitingJob], nodes: Iterable[NodeState], held: Iterable[Holding], now_s: float
) -> dict[str, WaitingJob]:
    """Run whose job is to be ended → the job that waits for its nodes.

    Args:
        waiting: the one that comes first first.
        nodes: as the scheduler sees them now.
        held: by our jobs that have begun.
        now_s: seconds since the epoch.
    """
    known = {node.name: node for node in nodes}
    left = {holding.run: holding for holding in held}
    free = {name for name, node in known.items() if _idle(node)}
    found: dict[str, WaitingJob] = {}
    for job in waiting:
        if job.reason not in _FOR_NODES or any(_RUN.fullmatch(word) for word in job.comment.split()):
            continue
        usable = _usable(job, known)
        need = max(job.nodes, len(job.named))
        ours = [replace(one, nodes=one.nodes & usable) for one in left.values() if one.nodes & usable]
        if len(free & usable) + sum(len(one.nodes) for one in ours) < need:
            continue  # it waits for somebody else
        for run in _to_end(job, need, len(free & usable), ours, now_s):
            found[run] = job
            free |= left.pop(run).nodes
        # What it gets is not there for the next one.
        free -= set(sorted(free & usable)[:need])
    return found


def _idle(node: NodeState) -> bool:
    base, *more = node.flags
    return base == "IDLE" and not node.busy_cpus and not set(more) - HARMLESS - {"PLANNED"}


def _usable(job: WaitingJob, known: Mapping[str, NodeState]) -> set[str]:
    if job.named:
        return set(job.named)
    partitions = set(job.partitions)
    return {name for name, node in known.items() if partitions & set(node.partitions)} - job.excluded


def _to_end(job: WaitingJob, need: int, free: int, ours: Iterable[Holding], now_s: float) -> list[str]:
    """Those that the scheduler has planned for it first, then the youngest, until there are enough nodes."""
    order = sorted(ours, key=lambda one: (not one.nodes & job.planned, -one.since_s, one.run))
    if free >= need:
        late = now_s - job.since_s >= SECOND_LOOK_S
        return [one.run for one in order if late and one.since_s <= job.since_s]
    if job.several:
        return [one.run for one in order]
    ended = []
    for one in order:
        if free >= need:
            break
        ended.append(one.run)
        free += len(one.nodes)
    return ended
