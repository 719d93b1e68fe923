"""What Slurm says of its nodes now, and of what it means to do with them."""

from __future__ import annotations

import os

from hpcaccept.errors import LaunchError
from hpcaccept.model.node import ClusterNow
from hpcaccept.parse.slurm.nodes import (
    WAITING,
    parse_default_partition,
    parse_nodes,
    parse_planned,
    parse_reservations,
    parse_waiting,
)
from hpcaccept.transport.slurm import ask_slurm


def cluster_now(partition: str) -> ClusterNow:
    """Ask Slurm; only what it lets every user see.

    Raises:
        LaunchError: it does not answer, or has no such partition.
    """
    partition = partition or os.environ.get("SBATCH_PARTITION", "")
    if not partition:
        partition = parse_default_partition(_said(["scontrol", "-o", "show", "partition"]))
        if not partition:
            raise LaunchError("Slurm has no default partition.", "Name one with --partition.")
    # Plans before states: a node that is taken in between is seen as taken.
    waiting = _said(["squeue", "-h", "-t", "PD", "-o", WAITING])
    reservations = parse_reservations(_said(["scontrol", "-o", "show", "reservation"]))
    nodes = parse_nodes(_said(["scontrol", "-o", "show", "node"]))
    if not any(partition in node.partitions for node in nodes):
        raise LaunchError(f"No node belongs to a partition {partition!r}.", "See 'sinfo -a -s'.")
    return ClusterNow(partition, tuple(nodes), (*reservations, *parse_planned(waiting)), tuple(parse_waiting(waiting)))


def _said(command: list[str]) -> str:
    done = ask_slurm(command, timeout_s=60.0, seconds=True)
    if not done.ok:
        raise LaunchError(f"{' '.join(command)}: {done.stderr.strip()[:300]}", "Is the scheduler up?")
    return done.stdout
