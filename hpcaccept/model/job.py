"""What a launcher knows of a job that it has started."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

#: ``ended`` needs the driver's own last word; the states after it are how a job ends without one.
State = Literal[
    "pending", "running", "ended", "cancelled", "timeout", "node_fail", "out_of_memory", "failed", "lost", "stuck"
]
#: What the scheduler does to a job, whatever its driver says: the driver only hears that it is to end.
FROM_OUTSIDE: frozenset[State] = frozenset({"cancelled", "timeout", "node_fail", "out_of_memory"})
OVER: frozenset[State] = frozenset({"ended", "cancelled", "timeout", "node_fail", "out_of_memory", "failed", "lost"})


_SAID: dict[State, str] = {
    "cancelled": "the job was cancelled",
    "timeout": "the job reached its time limit",
    "out_of_memory": "the job reached its limit of memory",
    "failed": "the job failed",
    "lost": "the job is gone without a last word",
    "stuck": "the job waits for something that cannot come",
}


@dataclass(frozen=True)
class JobRef:
    """How to find a job again.

    Attributes:
        launcher: module name in hpcaccept.launch.
        id: Slurm job number, or process number of the local driver.
        started: process start time (seconds since the epoch) that tells a process from a later one with its number.
        host: where the job was submitted from.
    """

    FORMER: ClassVar[dict[str, str]] = {"submitted_at": ""}

    launcher: str
    id: str
    started: float = 0.0
    host: str = ""


@dataclass(frozen=True)
class JobStatus:
    """What is known of a job now.

    Attributes:
        state: see ``State``; ``stuck`` is pending for a reason that never goes away by itself.
        detail: the scheduler's own words.
        remedy: what to type next.
        nodes: that failed, where a failed node ended it and is known.
        last_lines: of the job's own output, where its driver had no last word.
    """

    state: State
    detail: str = ""
    remedy: str = ""
    nodes: tuple[str, ...] = ()
    last_lines: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What happened, in words, with the scheduler's own behind them."""
        if self.state == "node_fail":
            who = (
                f"{', '.join(self.nodes)} failed"
                if self.nodes
                else "a node failed, and the scheduler does not say which"
            )
            return f"{who} ({self.detail})" if self.detail else who
        said = _SAID.get(self.state, f"the job is {self.state}")
        # Slurm's one word for it would say the same again.
        return said if self.detail.lower() in ("", said, self.state) else f"{said} ({self.detail})"

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
