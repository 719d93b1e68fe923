"""The bus bandwidth that the nodes of a cluster must reach together: the suite ``fabric`` with limits that follow from what its network cards can carry.

Whatever crosses between nodes goes through their cards. With n nodes of g GPUs, R = n·g ranks and B bytes/s in each direction through the cards of a
node, bus bandwidths as nccl-tests defines them are at most

    all-reduce   B · ((R-1)/R) / ((n-1)/n)          all-to-all   (B/g) · ((R-1)/R) / ((n-1)/n)

(the NIC cut; no NVLink between nodes, no reduction in the switch). Of few nodes all-reduce is held by NVLink within them rather than by the cut, so its
floor is a share of B alone. The shares are hpcaccept's own. What is published of healthy clusters at 16 GB (validation table of CRE 0.13.0: 2 to 8 nodes of H100, GB200, GB300; speeds of their cards assumed) is at least 94 % of B for
all-reduce and 77 % of the cut for all-to-all; the floors lie far below, since they are asked at 1 GiB. They find TCP in the place of RDMA, not a rail of eight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.provider.azure.sizes import find

if TYPE_CHECKING:
    from hpcaccept.provider.azure.config import Cluster

#: Ours: about half of the least that is published. Azure's own baseline of ND H100 v5 wants 400 GB/s (1.0 of B) of all-reduce at 16 GB and reports a node below
#: 300 (0.75): https://github.com/Azure/ai-infrastructure-on-azure/blob/main/skills/slurm/sku_performance_baseline.md (read in November 2026). It is no
#: floor at 1 GiB, and says nothing of two nodes.
_ALL_REDUCE_SHARE, _ALL_TO_ALL_SHARE = 0.5, 0.4
#: All-reduce of nccl-tests over all GPUs, to 8 GiB as the replaced script measured it. Optional: the program must be there, and of the launcher's MPI.
ALL_NODES = "\n[checks.nccl_tests_world]\nrequired = false\ndeadline_s = 600\n"
#: The largest size of the sweep of ``fabric``; all-to-all rounds it down where ranks do not divide it.
_LARGEST_BYTES = 1 << 30
_ITEM_BYTES = 16


def all_reduce_cut(nodes: int, gpus: int, nic_bytes: float) -> float:
    """Most bus bandwidth of an all-reduce, bytes/s.

    Args:
        nodes: at least two.
        gpus: of each.
        nic_bytes: bytes/s of the cards of a node in one direction.
    """
    ranks = nodes * gpus
    return nic_bytes * ((ranks - 1) / ranks) / ((nodes - 1) / nodes)


def all_to_all_cut(nodes: int, gpus: int, nic_bytes: float) -> float:
    """Most bus bandwidth of an all-to-all, bytes/s; arguments as for ``all_reduce_cut``."""
    return all_reduce_cut(nodes, gpus, nic_bytes) / gpus


def limits(cluster: Cluster) -> str:
    """The tables ``[limits]`` that a cluster's network cards give; empty for one node, and for a size whose cards are not known or not the only way."""
    size = find(cluster.size)
    nodes, gpus = cluster.nodes, cluster.gpus
    if size is None or not size.nic_bytes or nodes < 2:
        return ""
    ranks = nodes * gpus
    reduced = _ALL_REDUCE_SHARE * size.nic_bytes * (ranks - 1) / ranks
    cut = all_reduce_cut(nodes, gpus, size.nic_bytes)
    text = _table(
        "allreduce.busbw_bytes[nccl/1GiB]",
        reduced,
        f"hpcaccept's own: half of the network cards of a node; they allow {cut / 1e9:.0f} GB/s",
    )
    if _LARGEST_BYTES % (ranks * _ITEM_BYTES) == 0:
        exchanged = all_to_all_cut(nodes, gpus, size.nic_bytes)
        why = f"hpcaccept's own: 40 % of what the network cards allow, {exchanged / 1e9:.1f} GB/s"
        text += _table("collectives.busbw_bytes[all_to_all/world/1GiB]", _ALL_TO_ALL_SHARE * exchanged, why)
    return text


def _table(key: str, lower: float, source: str) -> str:
    return f'\n[limits."{key}"]\nlower = {lower:.6g}\nunit = "B/s"\nsource = "{source}"\n'
