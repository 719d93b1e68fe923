"""What the driver records of a job while it runs: one line each in ``driver.jsonl``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: The last word of a driver that was told to end (SIGTERM): by whom and why, only the scheduler knows.
CANCELLED = "the job was cancelled"
Kind = Literal[
    "started",
    "started_again",
    "step_started",
    "step_ended",
    "swept",
    "not_entered",
    "death",
    "excluded",
    "retest",
    "isolation",
    "ended",
]

_SAID: dict[Kind, str] = {
    "started": "the driver started",
    "started_again": "a second start was refused",
    "swept": "containers that earlier runs left were removed",
    "step_started": "step {step} started",
    "step_ended": "step {step} ended",
    "not_entered": "no rank could be started",
    "death": "ranks were lost",
    "excluded": "left out of the rest of the run",
    "retest": "measuring suspects again",
    "isolation": "finding out whose fault it is",
    "ended": "the driver ended",
}
#: Nodes that a sentence names.
_NAMED = 8


@dataclass(frozen=True)
class Event:
    """One thing that happened to the job.

    Attributes:
        kind: ``started`` (nodes), ``started_again`` (a second attempt, which measured nothing), nodes ``swept`` of containers of earlier runs, ``step_started``, ``step_ended``, nodes ``not_entered`` because nothing could be started
            there, ``death`` of ranks, a node ``excluded`` from the rest, a ``retest`` of suspects, an ``isolation`` that follows the suite, ``ended`` (the driver's last word).
        at: UTC, ISO 8601.
        step: which step, where it belongs to one.
        nodes: names it speaks of.
        ranks: ranks it speaks of.
        check: the check that was running.
        detail: what happened, a sentence.
        remedy: what to do about it.
        returncode: of the step's launcher.
        job: number that the scheduler gave the job, where there is one (``started``).
        user: whose job it is (``started``).
        cluster: name that the scheduler gives the cluster, where there is one (``started``).
    """

    kind: Kind
    at: str
    step: str = ""
    nodes: tuple[str, ...] = ()
    ranks: tuple[int, ...] = ()
    check: str = ""
    detail: str = ""
    remedy: str = ""
    returncode: int = 0
    job: str = ""
    user: str = ""
    cluster: str = ""

    @property
    def sentence(self) -> str:
        """What happened, for people: ``ranks were lost (node2): matmul: rank 18 was killed``."""
        nodes = f" ({len(self.nodes):,} nodes)" if len(self.nodes) > _NAMED else f" ({', '.join(self.nodes)})"
        why = ": ".join(filter(None, (self.check, self.detail)))
        what = _SAID[self.kind].format(step=self.step)
        return f"{what}{nodes if self.nodes else ''}{f': {why}' if why else ''}{f' → {self.remedy}' if self.remedy else ''}"
