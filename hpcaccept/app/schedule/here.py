"""Runs a run on this machine: a process in a session of its own, which outlives the timer and is found again by it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.app.schedule import records, start_files
from hpcaccept.app.schedule.job import Failed, Job, NotYet, Seen
from hpcaccept.model.schedule.entry import Kept, Released, Started
from hpcaccept.transport import sessions
from hpcaccept.transport.process import spawn_detached

if TYPE_CHECKING:
    import datetime as dt

    from hpcaccept.model.schedule.recipe import Recipe

#: Until a script has made its first file.
_BEGIN_S = 20.0


@dataclass(frozen=True)
class Here:
    """This machine."""

    defers: bool = False

    def check(self, recipe: Recipe) -> None:
        """Everything can be run here."""

    def preview(self, recipe: Recipe, at: dt.datetime) -> list[str]:
        """A process needs nothing."""
        return ["runs as a process of this machine"]

    def start(self, job: Job) -> Started | NotYet | Failed:
        """A second start of the same attempt changes nothing, and finds the first."""
        key, folder = str(job.standing.attempt), job.record.folder
        spawn_detached(
            ["bash", str(job.record.file(records.SCRIPT)), key, key],
            log=job.record.file("start.log"),
            env=os.environ,
            cwd=folder,
        )
        waited = 0.0
        while waited < _BEGIN_S:
            found = start_files.begun(folder, key)
            if found and found[1]:
                return Started(job.standing.attempt, str(found[1].pid), platform.node(), key)
            job.clock.sleep(0.02)
            waited += 0.02
        return Failed(f"start.sh did not begin within {_BEGIN_S:g} s: see {job.record.file('start.log')}")

    def look(self, job: Job) -> Seen:
        """By its files, then by its process."""
        folder, key = job.record.folder, job.standing.key
        found = start_files.begun(folder, key)
        alive = bool(found and found[1] and sessions.lives(found[1], job.clock.boot()))
        # In this order: what has ended meanwhile has left its status.
        code = start_files.ended(folder, key)
        if code is not None:
            return Seen("ended", code)
        if alive:
            return Seen("running", machine=platform.node())
        booted = bool(found and found[1] and found[1].boot != job.clock.boot())
        return Seen("lost", text="this machine was booted" if booted else "its process was killed")

    def end(self, job: Job) -> Seen | None:
        """SIGTERM to all of its session, SIGKILL after the grace."""
        folder, key = job.record.folder, str(job.standing.attempt)
        found = start_files.begun(folder, key)
        if (
            found
            and found[1]
            and not sessions.end_session(found[1], job.clock.boot(), job.recipe.grace_s, job.clock.sleep)
        ):
            return None
        return Seen("ended", start_files.ended(folder, key))

    def fetch(self, job: Job) -> None:
        """They are here."""

    def keep(self, job: Job) -> Kept | None:
        """They are here."""
        return Kept(whole=True)

    def release(self, job: Job) -> Released | None:
        """Nothing is held."""
        return Released()

    def cost(self, job: Job, seconds: float) -> float:
        """None."""
        return 0.0
