"""Where a rank stands among the others, once each has reported where it runs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from hpcaccept import __version__
from hpcaccept.measure.context import RankPlacement
from hpcaccept.measure.gpu import driver
from hpcaccept.measure.host import host
from hpcaccept.measure.host.shared_cores import CoreShare, cores_together
from hpcaccept.model.record import RankStarted
from hpcaccept.parse.slurm.gres import is_slice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.plan import Step
    from hpcaccept.rank.rank import Rank


class Standing(NamedTuple):
    """What one rank tells the others of itself: its node, its kernel, and its processors."""

    node: str
    boot_id: str
    share: CoreShare


def node_of(step: Step, rank: int) -> str:
    """Name of the node that this process is on."""
    if step.virtual:
        return step.nodes[min(rank // step.ranks_per_node, len(step.nodes) - 1)]
    # A launcher that reaches hosts by names of its own says which one this is.
    return os.environ.get("HPCACCEPT_NODE") or os.environ.get("SLURMD_NODENAME") or host.hostname()


def own_share(rank: Rank) -> Standing:
    """What this rank tells the others."""
    return Standing(rank.node, host.boot_id(), CoreShare(host.affinity(), host.cgroup(), host.cpu_quota()))


def settle(rank: Rank, world: Sequence[Standing], library: str) -> tuple[int, ...]:
    """Place a rank among the others and say hello; gives the ranks on its kernel.

    Args:
        rank: that gets its place.
        world: of every rank, by rank.
        library: what speaks MPI in this step.
    """
    cores, boot = host.usable_cores(), host.boot_id()
    node_ranks = tuple(r for r, there in enumerate(world) if there.node == rank.node)
    host_ranks = tuple(r for r, there in enumerate(world) if there.boot_id == boot)
    host_cores = cores_together(world[r].share for r in host_ranks)
    local = node_ranks.index(rank.number)
    device = driver.place_rank(local) if rank.step.gpus_per_node else "cpu"
    rank.place = RankPlacement(
        rank=rank.number,
        size=len(world),
        node=rank.node,
        node_ranks=node_ranks,
        host_ranks=host_ranks,
        host_cores=host_cores,
        cores=cores,
        device=device,
        gpus_asked=rank.step.gpus_per_node,
        slices_asked=is_slice(rank.step.gpu_type),
        shared_kernel=len(host_ranks) == len(world),
    )
    os.environ["OMP_NUM_THREADS"] = str(rank.place.threads)
    rank.model = "" if rank.step.gpus_per_node else host.cpu_model()
    rank.journal.write(
        RankStarted(
            rank=rank.number,
            size=len(world),
            node=rank.node,
            pid=os.getpid(),
            python=".".join(map(str, sys.version_info[:3])),
            version=__version__,
            mpi=library,
            boot_id=boot,
            cores=cores,
            ranks_on_host=len(host_ranks),
            in_turn=rank.place.in_turn,
            threads=rank.place.threads,
            host_cores=host_cores,
        ),
    )
    return host_ranks
