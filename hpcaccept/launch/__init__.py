"""Launchers: where ranks are started. One file per launcher, found by module name; ``render`` is pure, ``submit`` does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from hpcaccept import container, discover
from hpcaccept.errors import LaunchError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcaccept.model.job import JobRef, JobStatus, Rendered
    from hpcaccept.model.launcher import LauncherTraits
    from hpcaccept.model.node import ClusterNow
    from hpcaccept.model.plan import Plan, Request, Step
    from hpcaccept.store.folder import RunFolder


KIND = discover.Kind("launcher", __name__, "hpcaccept.launchers", also=("auto",))


class Launcher(Protocol):
    """A place where ranks are started. What a launcher does not know better it imports from ``launch.job.defaults``."""

    TRAITS: LauncherTraits

    def available(self) -> str:
        """Empty when this launcher can be used here, else why not."""

    def missing_words(self) -> tuple[str, str]:
        """What was expected, and how to look, where it is installed and cannot be used; empty texts where it is not."""

    def default_gpus(self, partition: str) -> int:
        """GPUs that each node of a partition is said to have, for a request that names no number."""

    def default_mpi(self, listed: str | None = None) -> str:
        """How its ranks find each other, for a request that does not say (``srun --mpi=``); empty when nobody need be told.

        Args:
            listed: what it says of the ways that it knows; None: it is asked.
        """

    def render(self, plan: Plan, folder: RunFolder) -> Rendered:
        """Every file and command of a submission. Pure."""

    def submit(self, plan: Plan, folder: RunFolder) -> JobRef:
        """Start the driver of the job. Raises LaunchError when the scheduler refuses."""

    def status(self, job: JobRef) -> JobStatus:
        """What is known of the job now, whether accounting runs or not."""

    def cancel(self, job: JobRef) -> None:
        """End the job and everything it started. No error when it is over already."""

    def withdraw(self, job: JobRef) -> bool:
        """End the job unless it has begun; True when it never will."""

    def find_job(self, word: str) -> JobRef | None:
        """This user's job that was submitted with a word (``behind_others``, ``as_job``). Raises LaunchError when nobody answers."""

    def cluster_now(self, partition: str) -> ClusterNow | None:
        """The nodes that a job could be bound to, and what they are kept for; None when it has nobody to ask.

        Raises:
            LaunchError: the scheduler does not answer, or has no such partition.
        """

    def behind_others(self, plan: Plan, word: str, nice: int, within_s: float | None) -> Plan:
        """The plan as a job that stands behind everybody else's. Pure.

        Args:
            plan: of the run.
            word: by which ``find_job`` finds it.
            nice: how far behind.
            within_s: seconds from its submission within which it must have ended; None: whenever.
        """

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

    def outside_environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """What a job is started with that is none of the job in which this process may be. Pure."""

    def as_job(self, command: Sequence[str], plan: Plan, word: str, limit_s: float) -> tuple[str, ...]:
        """The command that runs a step's command now, as a job of its own, while this process listens. Pure.

        Args:
            command: of ``step_command``.
            plan: whose nodes it would get.
            word: by which ``find_job`` finds it.
            limit_s: seconds that it may last.
        """

    def begun(self, stderr: str) -> tuple[str, ...] | None:
        """The nodes of such a job in the order of its ranks, where only the job knew them; None while it waits.

        Args:
            stderr: of the command so far.
        """


def names() -> tuple[str, ...]:
    """Every launcher there is."""
    return KIND.names()


def load(name: str) -> Launcher:
    """The launcher of that name.

    Raises:
        UsageError: there is no such launcher.
    """
    return cast("Launcher", KIND.load(name))


def by_priority() -> tuple[str, ...]:
    """The launchers that hpcaccept brings, what ``auto`` tries first first. Those of installed packages are used where they are named."""
    return tuple(sorted(KIND.built_in(), key=lambda name: (-load(name).TRAITS.priority, name)))


def auto_order() -> tuple[str, ...]:
    """The launchers that ``auto`` tries, in turn."""
    return tuple(name for name in by_priority() if load(name).TRAITS.priority)


def providing(*needs: str) -> tuple[str, ...]:
    """The launchers that provide all of what is needed (``LauncherTraits.provides``), in the order of ``by_priority``."""
    return tuple(name for name in by_priority() if load(name).TRAITS.provides.issuperset(needs))


def choose(name: str, asked: Sequence[str] = ()) -> str:
    """The launcher for ``--launcher``: ``auto`` is the first scheduler that answers, else this machine.

    This machine is no substitute for a cluster: where there is a scheduler that does not answer, or the request names what only
    one has, nothing is tested in its place.

    Args:
        name: of the launcher, or ``auto``.
        asked: settings that are given and mean something to a scheduler only.

    Raises:
        LaunchError: with ``auto``, there is a scheduler, and it does not answer.
        UsageError: the named launcher does not exist or cannot be used here; with ``auto``, nothing is here that knows what was asked for.
    """
    if name == "auto":
        found = _first_of(auto_order())
        if load(found).TRAITS.virtual:
            _must_not_stand_in(found, asked)
        return found
    why_not = load(name).available()
    if why_not:
        raise UsageError(f"Launcher {name!r} cannot be used here: {why_not}", f"Try --launcher {auto_order()[-1]}.")
    return name


def _must_not_stand_in(found: str, asked: Sequence[str]) -> None:
    for passed_over in auto_order():
        place = load(passed_over)
        if place.TRAITS.virtual:
            continue
        expected, look = place.missing_words()
        if expected:
            raise LaunchError(
                f"Expected {expected}, found: {place.available()}",
                f"Ask it: {look}. Nothing was tested; to test this machine instead: --launcher {found}.",
            )
        if asked:
            raise UsageError(
                f"{', '.join(asked)} {'is' if len(asked) == 1 else 'are'} given, and nothing here knows what that is: {place.available()}",
                f"Submit where the cluster is, or leave it out to test this machine (--launcher {found}).",
            )


def choose_unattended(name: str) -> str:
    """As ``choose``, but ``auto`` is never this machine, of which nobody would notice; one that was named is not asked."""
    if name != "auto":
        return name
    return _first_of(tuple(found for found in auto_order() if not load(found).TRAITS.virtual))


def _first_of(order: Sequence[str]) -> str:
    """The first that can be used, else the last, which is not asked: whoever uses it will hear why not."""
    return next((name for name in order[:-1] if not load(name).available()), order[-1])


def refuse_unfit(name: str, request: Request, runtime: str) -> None:
    """Refuse what a launcher cannot do.

    Raises:
        UsageError: it needs the nodes' names, or cannot use the container runtime.
    """
    traits = load(name).TRAITS
    if traits.needs_nodelist and (request.exclude or not request.nodelist):
        raise UsageError(
            f"--launcher {name} needs the names of the hosts, and no --exclude.", "For example: --nodelist host[1-4]."
        )
    needs = container.load(runtime).NEEDS
    if not traits.provides.issuperset(needs):
        fitting = providing(*needs)
        raise UsageError(
            f"--container-runtime is {runtime!r}, which the launcher {name!r} cannot use; it needs {' or '.join(fitting)}.",
            f"Use --launcher {fitting[0]}, or another runtime: {', '.join(container.names())}.",
        )
