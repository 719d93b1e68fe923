"""Where are ranks started? One file per launcher, found by module name; ``render`` is pure, ``submit`` does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from hpcaccept import discover
from hpcaccept.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcaccept.model.job import JobRef, JobStatus, Rendered
    from hpcaccept.model.plan import Plan, Step
    from hpcaccept.store.folder import RunFolder


KIND = discover.Kind("launcher", __name__, "hpcaccept.launchers", also=("auto",))


class Launcher(Protocol):
    """A place where ranks are started."""

    def available(self) -> str:
        """Empty when this launcher can be used here, else why not."""

    def default_gpus(self, partition: str) -> int:
        """GPUs that each node of a partition is said to have, for a request that names no number."""

    def default_mpi(self) -> str:
        """How its ranks find each other, for a request that does not say (``srun --mpi=``); empty when nobody need be told."""

    def render(self, plan: Plan, folder: RunFolder) -> Rendered:
        """Every file and command of a submission. Pure."""

    def submit(self, plan: Plan, folder: RunFolder) -> JobRef:
        """Start the driver of the job. Raises LaunchError when the scheduler refuses."""

    def status(self, job: JobRef) -> JobStatus:
        """What is known of the job now, whether accounting runs or not."""

    def cancel(self, job: JobRef) -> None:
        """End the job and everything it started. No error when it is over already."""

    def nodes(self, plan: Plan, environ: Mapping[str, str]) -> tuple[str, ...]:
        """The nodes of the job, asked by its driver, in the order in which ranks are placed."""

    def unreachable(
        self, plan: Plan, nodes: Sequence[str], folder: RunFolder, environ: Mapping[str, str]
    ) -> dict[str, tuple[str, str]]:
        """Nodes on which nothing can be started now: node → cause, remedy. Asked by the driver before each step."""

    def step_command(self, plan: Plan, step: Step, folder: RunFolder) -> tuple[str, ...]:
        """The command that starts all ranks of a step. Pure."""

    def everywhere(self, plan: Plan, nodes: tuple[str, ...], command: Sequence[str]) -> tuple[str, ...]:
        """The command that runs a command once on every node of the job, outside of containers. Pure."""

    def seconds_left(self, environ: Mapping[str, str]) -> float | None:
        """Seconds until the scheduler ends the job, asked by its driver; None when nobody does."""

    def step_environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """What the command is started with. Pure."""


def names() -> tuple[str, ...]:
    """Every launcher there is."""
    return KIND.names()


def load(name: str) -> Launcher:
    """The launcher of that name.

    Raises:
        UsageError: there is no such launcher.
    """
    return cast("Launcher", KIND.load(name))


def choose(name: str) -> str:
    """The launcher for ``--launcher``: ``auto`` is Slurm if one answers, else this machine.

    Raises:
        UsageError: the named launcher does not exist or cannot be used here.
    """
    if name == "auto":
        return "local" if load("slurm").available() else "slurm"
    why_not = load(name).available()
    if why_not:
        raise UsageError(f"Launcher {name!r} cannot be used here: {why_not}", "Try --launcher local.")
    return name
