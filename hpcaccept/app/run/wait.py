"""Waits for a job so that its end is seen at once and its death soon, with or without accounting.

The driver's last word in ``driver.jsonl`` is the end: it is looked for twenty times a second by opening the file (NFS shows
a new line to whoever opens it anew). The scheduler is asked every two seconds; when it says that the job is over and
the driver has had no last word, the job died, and its state is the reason.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcaccept import launch
from hpcaccept.launch.job.rank_logs import first_rank_started
from hpcaccept.model.event import CANCELLED, Event
from hpcaccept.model.job import FROM_OUTSIDE, JobRef, JobStatus
from hpcaccept.model.record import CheckStarted, Record
from hpcaccept.store.journal import read

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.store.folder import RunFolder

LOOK_S = 0.05
ASK_S = 2.0
#: Progress is worth fewer looks than the end: each one reads a step and a journal, beside ranks that are starting.
TELL_S = 0.25
#: After the scheduler says that a job is over, its last word may still be on its way through the file system.
SETTLE_S = 1.5
#: A job that is being ended is "completing" until its last process on its last node is gone.
CAUSE_S = 30.0


@dataclass(frozen=True)
class Progress:
    """What a person wants to see while waiting.

    Attributes:
        state: of the job, with the scheduler's reason.
        check: that rank 0 of the current step is at.
        done: checks it has behind it.
        total: checks of the step.
        news: what has happened to ranks and nodes so far, a sentence each.
    """

    state: str
    check: str = ""
    done: int = 0
    total: int = 0
    news: tuple[str, ...] = ()


#: Events that whoever waits wants to hear of; that a step begins and ends shows in its checks.
_NEWS = frozenset({"started_again", "swept", "not_entered", "death", "excluded", "retest"})


def wait_for(
    folder: RunFolder, job: JobRef, tell: Callable[[Progress], None], *, queue_timeout_s: float = 0.0
) -> JobStatus | None:
    """Until the job is over, or cannot begin.

    Returns:
        None when the driver had its last word; else the state in which the job was left: over without a word, or with none but that it was
        told to end; ``stuck``, or still ``pending`` after the queue time-out.
    """
    launcher = launch.load(job.launcher)
    status, asked, told, over_since, begun = JobStatus("pending"), 0.0, 0.0, 0.0, time.monotonic()
    while True:
        events = events_of(folder)
        if ended := next((event for event in events if event.kind == "ended"), None):
            return _told_to_end(launcher, job) if ended.detail == CANCELLED else None
        now = time.monotonic()
        if now - asked >= ASK_S or over_since:
            status, asked = launcher.status(job), now
        if status.over:
            over_since = over_since or now
            if now - over_since > SETTLE_S:
                return status
        if status.state == "stuck":
            return status
        if queue_timeout_s and status.state == "pending" and now - begun > queue_timeout_s:
            return JobStatus(
                "stuck", f"still {status.detail} after {queue_timeout_s:g} s", "It stays queued: hpcaccept wait"
            )
        if now - told >= TELL_S:
            tell(progress_of(folder, events, status))
            told = now
        time.sleep(LOOK_S if not over_since else 0.2)


def _told_to_end(launcher: launch.Launcher, job: JobRef) -> JobStatus | None:
    """Why, where the scheduler knows: its driver only heard that it is to end."""
    until = time.monotonic() + CAUSE_S
    while True:
        status = launcher.status(job)
        if status.state in ("pending", "stuck"):
            # It ran, and waits again: nobody cancelled it, and another start of it measures nothing.
            return JobStatus(
                "cancelled", f"put back into the queue: {status.detail}", "Submit again, for a run of its own."
            )
        if status.over or time.monotonic() > until:
            return status if status.state in FROM_OUTSIDE else None
        time.sleep(0.2)


def events_of(folder: RunFolder) -> list[Event]:
    """What the driver has said so far."""
    if not folder.driver_log.exists():
        return []
    return [word for word in read(folder.driver_log) if isinstance(word, Event)]


def progress_of(folder: RunFolder, events: list[Event], status: JobStatus) -> Progress:
    """Where the job is, from the journal of one rank: ranks keep in step."""
    return replace(_place_of(folder, events, status), news=tuple(e.sentence for e in events if e.kind in _NEWS))


def _place_of(folder: RunFolder, events: list[Event], status: JobStatus) -> Progress:
    step = next((event.step for event in reversed(events) if event.kind == "step_started"), None)
    if step is None:
        return Progress("running" if events else f"{status.state} ({status.detail})" if status.detail else status.state)
    spec = folder.read_step(step)
    journal = next(iter(sorted(folder.records(step).glob("*.jsonl"))), None)
    words = list(read(journal)) if journal else []
    current = next((word.check for word in reversed(words) if isinstance(word, CheckStarted)), "")
    done = sum(1 for word in words if isinstance(word, Record))
    if not current:
        return Progress("starting MPI" if not first_rank_started(folder, step) else "running", "", 0, len(spec.checks))
    return Progress("running", current, done, len(spec.checks))
