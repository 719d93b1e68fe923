"""What does a launcher know of a job that it has started?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

#: ``ended`` needs the driver's own last word; the states after it are how a job ends without one.
State = Literal[
    "pending", "running", "ended", "cancelled", "timeout", "node_fail", "out_of_memory", "failed", "lost", "stuck"
]
OVER: frozenset[State] = frozenset({"ended", "cancelled", "timeout", "node_fail", "out_of_memory", "failed", "lost"})


@dataclass(frozen=True)
class JobRef:
    """How to find a job again.

    Attributes:
        launcher: module name in hpcaccept.launch.
        id: Slurm job number, or process number of the local driver.
        started: process start time (seconds since the epoch) that tells a process from a later one with its number.
        host: where the job was submitted from.
        submitted_at: UTC, ISO 8601.
    """

    launcher: str
    id: str
    started: float = 0.0
    host: str = ""
    submitted_at: str = ""


@dataclass(frozen=True)
class JobStatus:
    """What is known of a job now.

    Attributes:
        state: see ``State``; ``stuck`` is pending for a reason that never goes away by itself.
        detail: the scheduler's own words.
        remedy: what to type next.
    """

    state: State
    detail: str = ""
    remedy: str = ""

    @property
    def over(self) -> bool:
        """True when waiting longer can bring nothing."""
        return self.state in OVER


@dataclass(frozen=True)
class Rendered:
    """Everything a submission would write and run.

    Attributes:
        files: path → text of what would be written.
        commands: argument lists, in order, with a comment each.
    """

    files: dict[str, str] = field(default_factory=dict)
    commands: tuple[tuple[str, tuple[str, ...]], ...] = ()
