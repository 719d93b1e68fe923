"""Turns the doctor's question into a Slurm job of its own."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from hpcaccept.errors import LaunchError
from hpcaccept.transport.slurm import ask_slurm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcaccept.model.plan import Plan

_GRANTED = re.compile(r"^salloc: Granted job allocation (\d+)", re.MULTILINE)
#: Options of sbatch that say where and as whom a job may run; the others (mail, dependencies, times) are the run's own affair.
_WHERE = {"cluster_constraint", "clusters", "constraint", "cpus_per_gpu", "gres", "licenses", "mcs_label", "mem", "mem_per_cpu",
          "mem_per_gpu", "network", "nice", "prefer", "priority", "qos", "reservation", "switches", "tmp", "wckey"}  # fmt: skip


#: The number alone, and the environment that is there.
SBATCH_OPTIONS = ("--parsable", "--export=ALL")
#: Variables of Slurm and of process managers that speak of a job, or are options of sbatch and salloc.
_OF_A_JOB = ("SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "PMI_", "PMIX_", "OMPI_COMM_", "PRTE_LAUNCHED")
#: Where the cluster is and who asks; and where a user's jobs go, which is a choice of the account and not of this shell.
_KEPT = {
    "SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "SLURM_CLUSTERS", "SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS",
    "SBATCH_RESERVATION", "SBATCH_WCKEY", "SALLOC_ACCOUNT", "SALLOC_PARTITION", "SALLOC_QOS", "SALLOC_RESERVATION", "SALLOC_WCKEY",
}  # fmt: skip


def outside_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without the job in which this is typed, and without options that nobody has typed."""
    return {key: value for key, value in environ.items() if key in _KEPT or not key.startswith(_OF_A_JOB)}


def as_job(command: Sequence[str], plan: Plan, word: str, limit_s: float) -> tuple[str, ...]:
    """A step's srun in a job of its own, for which Slurm chooses the nodes. Pure.

    With salloc, because an srun that makes its job itself gives its tasks other cores than a step of a batch job has.
    """
    request = plan.request
    named = {
        "job-name": "hpcaccept-doctor",
        "comment": word,
        "time": str(max(1, math.ceil(limit_s / 60))),
        "nodes": str(request.nodes),
        "ntasks-per-node": str(request.ranks_per_node),
        "gpus-per-node": request.gpus,
        "partition": request.partition,
        "account": request.account,
        "nodelist": request.nodelist,
        "exclude": request.exclude,
    }
    where = {key.replace("_", "-"): value for key, value in request.slurm.items() if key in _WHERE}
    words = [f"--{key}={value}" for key, value in {**named, **where}.items() if value]
    step = [word for word in command if not word.startswith("--nodelist=")]
    return ("salloc", "--exclusive", *words, *step)


def begun(stderr: str) -> tuple[str, ...] | None:
    """The nodes of the job in the order of its tasks, once salloc has it; empty when Slurm does not say, None while it waits."""
    granted = _GRANTED.search(stderr)
    return _nodes_of_job(granted[1]) if granted else None


def _nodes_of_job(job: str) -> tuple[str, ...]:
    try:
        names = ask_slurm(["squeue", "-h", "-t", "all", "-o", "%N", "-j", job]).stdout.strip()
    except LaunchError:
        return ()
    if not names:
        return ()
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet

    return tuple(NodeSet(names, resolver=RESOLVER_NOGROUP))
