"""A real Slurm for the time of a benchmark, and what it says of a job's way through its queue."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._child import ROOT, environment
from benchmarks._row import CannotRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from system.cluster import VirtualSlurm

#: The controller's log has milliseconds, what ``scontrol show job`` says has only seconds.
_LINE = re.compile(
    r"^\[(?P<at>\S+)\] (?:(?P<submitted>_slurm_rpc_submit_batch_job:)|sched\S* .*(?:Started|Allocate)) JobId=(?P<job>\d+)\b"
)


@contextlib.contextmanager
def virtual_slurm(number: int = 4) -> Iterator[VirtualSlurm]:
    """Four nodes on this machine, without accounting; gone at the end.

    Raises:
        CannotRun: not root, or Debian's packages are missing, or it did not start.
    """
    missing = [name for name in ("slurmd", "slurmctld", "munged", "srun") if not shutil.which(name)]
    if os.geteuid() or missing:
        why = f"no {', '.join(missing)}: bash tests/system/cluster/install.sh" if missing else "it needs root"
        raise CannotRun(f"no virtual Slurm: {why}")
    sys.path.insert(0, str(ROOT / "tests"))
    from system.cluster import ClusterError, VirtualSlurm

    try:
        with VirtualSlurm.up(Path(f"/run/hpcaccept-bench-{os.getpid()}"), nodes=number) as cluster:
            yield cluster
    except ClusterError as fault:
        raise CannotRun(f"no virtual Slurm: {fault}") from None


def slurm_environment(cluster: VirtualSlurm) -> dict[str, str]:
    """A user's environment on this cluster, for checks that need no GPU."""
    return environment(**cluster.env, HPCACCEPT_GPUS_PER_NODE="0")


def start_delay_s(controller_log: str, job: str) -> float:
    """Seconds from the controller's "submitted" to its "started": the queue's own, whoever submits.

    Raises:
        CannotRun: the log does not tell.
    """
    at: dict[bool, float] = {}
    for line in controller_log.splitlines():
        found = _LINE.match(line)
        if found and found["job"] == job:
            at.setdefault(bool(found["submitted"]), datetime.fromisoformat(found["at"]).timestamp())
    if len(at) != 2:
        raise CannotRun(f"the controller's log does not tell when job {job} was submitted and started")
    return at[False] - at[True]
