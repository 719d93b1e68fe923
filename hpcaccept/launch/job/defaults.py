"""What a launcher answers that has no queue, no scheduler and no other machines: each imports what it does not know better."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcaccept.model.job import JobRef
    from hpcaccept.model.node import ClusterNow
    from hpcaccept.model.plan import Plan
    from hpcaccept.store.folder import RunFolder


def missing_words() -> tuple[str, str]:
    """Two empty texts: nobody would think that it could be used."""
    return "", ""


def default_mpi(listed: str | None = None) -> str:
    """Empty: whoever starts its ranks tells them of each other."""
    return ""


def unreachable(
    plan: Plan, nodes: Sequence[str], folder: RunFolder, environ: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    """None: this machine is here."""
    return {}


def everywhere(plan: Plan, nodes: tuple[str, ...], command: Sequence[str]) -> tuple[str, ...]:
    """The command as it is: there is one machine."""
    return tuple(command)


def seconds_left(environ: Mapping[str, str]) -> float | None:
    """None: nobody ends the job but its own deadlines."""
    return None


def withdraw(job: JobRef) -> bool:
    """False: nothing waits here, every job has begun."""
    return False


def find_job(word: str) -> JobRef | None:
    """None: nobody keeps a list of jobs."""
    return None


def cluster_now(partition: str) -> ClusterNow | None:
    """None: nobody knows of other nodes."""
    return None


def behind_others(plan: Plan, word: str, nice: int, within_s: float | None) -> Plan:
    """The plan as it is: there is nobody to stand behind."""
    return plan


def outside_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment as it is: a job of this launcher tells its processes nothing."""
    return dict(environ)


def as_job(command: Sequence[str], plan: Plan, word: str, limit_s: float) -> tuple[str, ...]:
    """The command as it is: it starts at once."""
    return tuple(command)


def begun(stderr: str) -> tuple[str, ...] | None:
    """At once; the names of the nodes were known before."""
    return ()
