"""What does a scheduler say of its nodes, and what has it planned for them?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NodeState:
    """One node as the scheduler sees it now.

    Attributes:
        name: of the node.
        flags: its state and everything added to it, upper case: ``("IDLE", "PLANNED")``.
        busy_cpus: CPUs that jobs hold.
        gpus: that it is configured with.
        partitions: that it belongs to.
    """

    name: str
    flags: tuple[str, ...]
    busy_cpus: int = 0
    gpus: int = 0
    partitions: tuple[str, ...] = ()


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
class ClusterNow:
    """One look at a cluster.

    Attributes:
        partition: that is meant: the default one when none was named.
        nodes: all that the scheduler shows.
        kept: reservations, and nodes planned for jobs that wait.
    """

    partition: str
    nodes: tuple[NodeState, ...]
    kept: tuple[Reserved, ...]
