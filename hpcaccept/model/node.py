"""What a scheduler says of its nodes, and what it has planned for them."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: GPUs of a node: type → how many, in the order of the scheduler; the type is empty where the site names none.
Gpus = tuple[tuple[str, int], ...]
#: Flags of a node that a reservation keeps: sinfo says maint, scontrol MAINTENANCE (Slurm 22.05) or MAINT.
KEPT_FLAGS = frozenset({"RESERVED", "MAINT", "MAINTENANCE"})


def count_of(gpus: Gpus, gpu_type: str = "") -> int:
    """How many of a type; of all types for an empty one."""
    return sum(number for name, number in gpus if gpu_type in ("", name))


@dataclass(frozen=True)
class TakenOut:
    """Why somebody, or the scheduler itself, has taken a node out of service.

    Attributes:
        why: in the words of whoever did it.
        by: user's name; empty: not said.
        at_s: seconds since the epoch; NaN: not said.
    """

    why: str
    by: str = ""
    at_s: float = math.nan


@dataclass(frozen=True)
class NodeState:
    """One node as the scheduler sees it now.

    Attributes:
        name: of the node.
        flags: its state and everything added to it, upper case: ``("IDLE", "PLANNED")``.
        busy_cpus: CPUs that jobs hold.
        gpus: that it is configured with.
        partitions: that it belongs to.
        out: why it is out of service; None: nobody has said that it is.
    """

    name: str
    flags: tuple[str, ...]
    busy_cpus: int = 0
    gpus: Gpus = ()
    partitions: tuple[str, ...] = ()
    out: TakenOut | None = None

    def count(self, gpu_type: str = "") -> int:
        """How many GPUs of a type it has; of all types for an empty one."""
        return count_of(self.gpus, gpu_type)


@dataclass(frozen=True)
class Reserved:
    """Nodes that are kept for something from a time to a time.

    Attributes:
        name: of the reservation, or of the job that waits for the nodes.
        start_s: seconds since the epoch.
        end_s: seconds since the epoch; infinite for a job that waits: nobody knows.
        nodes: their names.
        for_job: True where a job waits for them, False for a reservation.
    """

    name: str
    start_s: float
    end_s: float
    nodes: frozenset[str]
    for_job: bool = False


@dataclass(frozen=True)
class WaitingJob:
    """A job that waits in the queue.

    Attributes:
        id: as the scheduler calls it.
        partitions: that it may run in.
        nodes: that it needs at least.
        reason: why it waits, in the scheduler's word.
        since_s: when it was submitted, seconds since the epoch; NaN: not said.
        named: nodes that it must have; empty: any.
        excluded: nodes that it must not have.
        planned: nodes on which the scheduler means to start it.
        several: True for an array, of which nobody knows here how many of its jobs wait.
        comment: of whoever submitted it.
    """

    id: str
    partitions: tuple[str, ...]
    nodes: int = 1
    reason: str = ""
    since_s: float = math.nan
    named: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    planned: frozenset[str] = frozenset()
    several: bool = False
    comment: str = ""


@dataclass(frozen=True)
class ClusterNow:
    """One look at a cluster.

    Attributes:
        partition: that is meant: the default one when none was named.
        nodes: all that the scheduler shows.
        kept: reservations, and nodes planned for jobs that wait.
        waiting: jobs that wait, the one that comes first first.
    """

    partition: str
    nodes: tuple[NodeState, ...]
    kept: tuple[Reserved, ...]
    waiting: tuple[WaitingJob, ...] = ()
