"""This machine: virtual nodes are groups of MPI ranks under ``mpiexec``. No scheduler is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept import container
from hpcaccept.launch.job.defaults import (
    as_job,
    begun,
    behind_others,
    cluster_now,
    default_mpi,
    everywhere,
    find_job,
    missing_words,
    outside_environment,
    seconds_left,
    unreachable,
    withdraw,
)
from hpcaccept.launch.job.driver import driver_command
from hpcaccept.launch.job.environment import UNPINNED
from hpcaccept.launch.job.this_machine import (
    OPEN_MPI,
    cancel,
    mpiexec,
    no_mpiexec,
    status,
    step_environment,
    submit,
)
from hpcaccept.measure.gpu import driver
from hpcaccept.model.job import Rendered
from hpcaccept.model.launcher import LauncherTraits
from hpcaccept.serial import dumps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcaccept.model.plan import Plan, Step
    from hpcaccept.store.folder import RunFolder

__all__ = [
    "TRAITS",
    "as_job",
    "available",
    "begun",
    "behind_others",
    "cancel",
    "cluster_now",
    "default_gpus",
    "default_mpi",
    "everywhere",
    "find_job",
    "missing_words",
    "nodes",
    "outside_environment",
    "render",
    "seconds_left",
    "status",
    "step_command",
    "step_environment",
    "submit",
    "unreachable",
    "withdraw",
]

TRAITS = LauncherTraits(
    provides=frozenset({"mpiexec", "container", "one machine"}), priority=20, summary="virtual nodes", virtual=True
)


def available() -> str:
    """Empty when there is an ``mpiexec``."""
    return no_mpiexec()


def default_gpus(partition: str) -> int:
    """GPUs that the driver of this machine has: its device files (``/dev/nvidia0`` …)."""
    return len(driver.device_files())


def nodes(plan: Plan, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Virtual names: ``node0`` …, or those of ``--nodelist``."""
    if plan.request.nodelist:
        from ClusterShell.NodeSet import NodeSet

        return tuple(NodeSet(plan.request.nodelist))
    return tuple(f"node{number}" for number in range(plan.request.nodes))


def step_command(plan: Plan, step: Step, folder: RunFolder) -> tuple[str, ...]:
    """``mpiexec -n RANKS python -m hpcaccept.rank …``; in a container all of it runs inside, with the image's own MPI."""
    mine = "mpiexec" if plan.image.reference else mpiexec() or "mpiexec"
    command = (mine, "-n", str(step.ranks), plan.image.python, "-m", "hpcaccept.rank", str(folder.path), step.id)
    inside = container.load(plan.image.runtime)
    names = (*UNPINNED, *OPEN_MPI)
    return tuple(inside.enter(plan.image, command, step=step.id, names=names, gpus=bool(step.gpus_per_node)))


def render(plan: Plan, folder: RunFolder) -> Rendered:
    """The plan file, the driver, and the step it will start first."""
    step = plan.first_step(nodes(plan, {}), virtual=True)
    return Rendered(
        files={str(folder.plan_file): dumps(plan)},
        commands=(
            ("the driver, detached from this terminal", driver_command(folder)),
            ("its first step: all ranks of all virtual nodes", step_command(plan, step, folder)),
        ),
    )
