"""A driver that is a process of this machine: how it is started, asked about and ended, and which mpiexec starts its ranks."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.config.private_variables import without_secrets
from hpcaccept.errors import LaunchError, install_hint
from hpcaccept.launch.job.driver import driver_command
from hpcaccept.launch.job.environment import UNPINNED
from hpcaccept.model.job import JobRef, JobStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcaccept.model.plan import Plan
    from hpcaccept.store.folder import RunFolder


#: For every Open MPI: more ranks than cores are wanted here, unbound, idle ranks yield, root may, no scheduler is asked.
#: The names of 5.x are PRTE's. MPICH needs none of it. https://docs.open-mpi.org/en/v5.0.x/launching-apps/scheduling.html
OPEN_MPI = {
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    # One machine: shared memory it is. Looking for fabrics first takes every rank a tenth of a second.
    "OMPI_MCA_pml": "ob1",
    "OMPI_MCA_plm": "isolated",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    "PRTE_ALLOW_RUN_AS_ROOT": "1",
    "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}


def mpiexec() -> str:
    """The launcher that fits the MPI library that mpi4py loads: beside this Python (a wheel), else on the PATH."""
    beside = Path(sys.executable).parent / "mpiexec"
    return str(beside) if beside.exists() else (shutil.which("mpiexec") or "")


def no_mpiexec() -> str:
    """Why no ranks can be started here; empty when there is an ``mpiexec``."""
    if mpiexec():
        return ""
    return f"there is no mpiexec. Install an MPI: apt-get install openmpi-bin, or {install_hint('mpi')}."


def step_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The caller's, less what would make mpiexec believe that it runs under a scheduler."""
    foreign = ("SLURM_", "PMI_", "PMIX_", "OMPI_COMM_", "PRTE_LAUNCHED")
    mine = {key: value for key, value in environ.items() if not key.startswith(foreign)}
    return {**UNPINNED, **OPEN_MPI, **mine}


def submit(plan: Plan, folder: RunFolder) -> JobRef:
    """Start the driver; it outlives this process."""
    import psutil

    from hpcaccept.transport.process import spawn_detached

    environ = without_secrets(os.environ, plan.request.keep_variables)
    pid = spawn_detached(driver_command(folder), log=folder.logs / "driver.log", env=environ, cwd=folder.path)
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        raise LaunchError(f"The driver ended at once; see {folder.logs / 'driver.log'}.") from None
    return JobRef(plan.launcher, str(pid), started=started, host=os.uname().nodename)


def _process(job: JobRef):  # type: ignore[no-untyped-def]
    import psutil

    try:
        process = psutil.Process(int(job.id))
        same = abs(process.create_time() - job.started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if same else None


def status(job: JobRef) -> JobStatus:
    """Running while the driver's process lives; what it said last decides the rest."""
    if job.host != os.uname().nodename:
        return JobStatus("lost", f"the driver runs on {job.host}", f"Ask there: ssh {job.host} hpcaccept status")
    return (
        JobStatus("running", f"process {job.id}") if _process(job) else JobStatus("lost", f"process {job.id} is gone")
    )


def cancel(job: JobRef) -> None:
    """Ask the driver to end its step and itself; end them by force when it does not."""
    import psutil

    process = _process(job)
    if process is None:
        return
    children = process.children(recursive=True)
    process.terminate()
    _, alive = psutil.wait_procs([process], timeout=15)
    for survivor in (*alive, *[c for c in children if alive]):
        try:
            survivor.kill()
        except psutil.NoSuchProcess:
            continue
