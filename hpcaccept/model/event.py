"""What does the driver say of a job while it runs? One line each in ``driver.jsonl``."""

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
    "not_entered",
    "death",
    "excluded",
    "retest",
    "isolation",
    "ended",
]


@dataclass(frozen=True)
class Event:
    """One thing that happened to the job.

    Attributes:
        kind: ``started`` (nodes), ``started_again`` (a second attempt, which measured nothing), ``step_started``, ``step_ended``, nodes ``not_entered`` because nothing could be started
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
