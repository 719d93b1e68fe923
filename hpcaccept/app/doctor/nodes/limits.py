"""Whether enough memory may be locked, and whether there is enough shared memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.app.doctor.grouping import grouped
from hpcaccept.model.doctor.finding import Finding
from hpcaccept.units import show_bytes

if TYPE_CHECKING:
    from hpcaccept.app.doctor.case import Case
    from hpcaccept.model.doctor.finding import Mark
    from hpcaccept.model.doctor.probe import NodeFacts, ProbeResult

PLACE = 80
_GIB = 1 << 30
#: RDMA registers what it sends: buffers of NCCL and MPI for every rank.
_LEAST_LOCKED = 4 * _GIB
#: What Docker gives a container, and NCCL cannot work with.
_DOCKERS = 64 << 20
#: For the shared buffers of NCCL and the workers of data loaders; MPI alone needs some MiB for each rank.
_SHM_PER_GPU, _LEAST_SHM = _GIB, 256 << 20


def judge(case: Case, heard: ProbeResult) -> list[Finding]:
    """Both are settings of slurmd or of the container runtime, which a shell on the node does not show."""
    nodes = [node for node in heard.nodes if node.python]
    gpus = case.request.gpus_per_node
    return grouped(nodes, lambda node: _memlock(node, gpus)) + grouped(
        nodes, lambda node: _shm(node, gpus, case.launcher)
    )


def _memlock(node: NodeFacts, gpus: int) -> Finding:
    limit = node.memlock_bytes
    if limit is None:
        return Finding("memlock", "unknown", "could not look: this system has no such limit", "unlimited")
    if limit < 0:
        return Finding("memlock", "ok", "unlimited")
    found, expected = show_bytes(limit), f"unlimited, or {show_bytes(_LEAST_LOCKED)} and more"
    if limit >= _LEAST_LOCKED or not (gpus or node.infiniband):
        return Finding("memlock", "ok", f"{found}{'' if limit >= _LEAST_LOCKED else ', and no RDMA needs it'}")
    remedy = "LimitMEMLOCK=infinity in slurmd's unit; in slurm.conf PropagateResourceLimitsExcept=MEMLOCK"
    return Finding("memlock", "wrong" if node.infiniband else "warning", found, expected, remedy)


def _shm(node: NodeFacts, gpus: int, launcher: str) -> Finding:
    least = max(_LEAST_SHM, gpus * _SHM_PER_GPU)
    expected = f"{show_bytes(least)} or more"
    bigger = "mount -o remount,size=50% /dev/shm there; docker: --ipc=host or --shm-size; a mount of Enroot's"
    if node.no_shm:
        return Finding("/dev/shm", "wrong", node.no_shm, "writable", "Mount a tmpfs there with mode 1777.")
    found = _coarse(node.shm_bytes)
    if node.shm_bytes >= least:
        return Finding("/dev/shm", "ok", found, expected)
    mark: Mark = "wrong" if gpus and node.shm_bytes <= _DOCKERS else "warning"
    return Finding("/dev/shm", mark, found, expected, bigger)


def _coarse(size: int) -> str:
    """Two digits: half of the memory, which is the default, differs by some pages on like hosts."""
    unit, name = (_GIB, "GiB") if size >= _GIB else (1 << 20, "MiB")
    return f"{float(f'{size / unit:.2g}'):g}{name}"
