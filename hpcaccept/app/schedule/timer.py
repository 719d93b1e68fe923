"""The work of the timer: takes every run as far as it can go. If it is killed in the middle, the next one goes on.

Each step writes down what it is about to do, does it, and writes down what came of it. The table in docs/explanation/reliability.md has each of
them, with what happens when the timer is killed before or after it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from hpcaccept.app.schedule import watch
from hpcaccept.app.schedule.clock import Clock
from hpcaccept.app.schedule.job import Failed, Job, NotYet
from hpcaccept.app.schedule.places import place_of
from hpcaccept.app.schedule.records import NEW
from hpcaccept.app.schedule.rules import Stop, stop_of
from hpcaccept.errors import HpcacceptError, RunError, UsageError
from hpcaccept.model.schedule.entry import Asked, Ended, Ending, Halted, Kept, Paused, Starting, Waiting
from hpcaccept.store.one_writer import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hpcaccept.app.schedule.job import Seen
    from hpcaccept.app.schedule.records import Record, Records
    from hpcaccept.model.schedule.entry import Then, Wish

#: Steps that one run takes at a time: more would be a circle.
_MOST_STEPS = 40
#: Starts of one run: a machine that is lost each time is no place for it.
MOST_ATTEMPTS = 10
#: For so long results are waited for when a run has ended; a rented machine is paid for meanwhile.
KEEP_S = 1800.0


class Busy(RunError):
    """Another timer is at work. A retry helps when it is done."""


def run_once(records: Records, say: Callable[[str], None], clock: Clock | None = None) -> int:
    """Take every run as far as it can go now; gives how many could not be looked at.

    Raises:
        Busy: another timer is at work.
    """
    clock = clock or Clock()
    failed = 0
    with _alone(records, "looking after the runs", 0.0):
        records.sweep()
        for record in records.all():
            failed += not _tried(record, clock, say)
    return failed


def carry_out(
    records: Records, record: Record, wish: Wish, say: Callable[[str], None], clock: Clock | None = None
) -> None:
    """Write a wish down, then act upon it, unless a timer is at work: then that one does.

    Raises:
        RunError: it cannot be written.
    """
    clock = clock or Clock()
    record.write(Asked(wish), clock.now())
    try:
        with _alone(records, wish, 5.0):
            _tried(record, clock, say)
    except Busy:
        say(f"{record.run}: written down; the timer that is at work now does it next.")


def begin(records: Records, record: Record, say: Callable[[str], None], clock: Clock | None = None) -> None:
    """Take a run that was just recorded as far as it can go, unless a timer is at work, which does that itself."""
    with contextlib.suppress(Busy), _alone(records, "starting a run", 5.0):
        _tried(record, clock or Clock(), say)


def remove(records: Records, record: Record) -> None:
    """Remove a record that nothing depends on.

    Raises:
        UsageError: it has not ended, or something may still be rented for it.
        Busy: a timer is at work.
        RunError: it cannot be removed.
    """
    with _alone(records, "removing a run", 30.0):
        standing = record.standing()
        if not standing.final or standing.lease:
            raise UsageError(
                f"{record.run} is {standing.state}, and has not ended.", f"hpcaccept schedule stop {record.run}"
            )
        try:
            # Under a name that nobody reads first: a half removed record is none.
            gone = record.folder.rename(record.folder.with_name(f"{NEW}{record.run}.removed"))
            shutil.rmtree(gone)
        except OSError as fault:
            raise RunError(f"Cannot remove {record.folder}: {fault.strerror}.") from None


def advance(record: Record, clock: Clock, say: Callable[[str], None]) -> None:
    """Take one run as far as it can go now. Only under the lock.

    Raises:
        HpcacceptError: a place cannot be asked, or the record cannot be read or written; nothing is lost.
    """
    standing = record.standing()
    if standing.final:
        return
    place = place_of(standing.added.place)
    job = Job(record, record.recipe(), standing, record.progress(), clock, place, say)
    if standing.state != "running":  # whether it did run until now only its place knows
        watch.look_at_clock(job, running=False)
    for _ in range(_MOST_STEPS):
        before = job.standing
        _STEPS[before.state](job)
        if job.standing == before or job.standing.final:
            return


def _tried(record: Record, clock: Clock, say: Callable[[str], None]) -> bool:
    try:
        advance(record, clock, say)
    except HpcacceptError as fault:
        say(f"{record.run}: {fault.message}")
        _note(record, fault.message)
        return False
    _note(record, "")
    return True


def _note(record: Record, fault: str) -> None:
    """Keep what the last look has failed at, for ``status``."""
    known = record.progress()
    if known.fault != fault:
        with contextlib.suppress(RunError):
            record.keep(replace(known, fault=fault))


@contextlib.contextmanager
def _alone(records: Records, purpose: str, wait_s: float) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(records.lock, purpose, wait_s))
        except RunError as fault:
            raise Busy(fault.message, fault.remedy) from None
        yield


def _scheduled(job: Job) -> None:
    standing, now = job.standing, job.clock.now()
    at = dt.datetime.fromisoformat(standing.added.at)
    if standing.wish == "stop":
        job.write(Ended("stopped", "asked for, before it began"))
    elif standing.wish == "pause":
        job.write(Paused("asked for, before it began"))
    elif now > at + dt.timedelta(hours=job.recipe.latest_h):
        late = f"its time was {at:%Y-%m-%d %H:%M} UTC, and no timer looked within {job.recipe.latest_h:g} h (latest_h)"
        job.write(Ended("missed", late))
    elif now >= at or job.place.defers:
        job.say(f"{job.record.run}: starting")
        job.write(Starting(1))


def _starting(job: Job) -> None:
    if _leave(job):
        return
    found = job.place.start(job)
    if isinstance(found, NotYet):
        waited_s = (job.clock.now() - dt.datetime.fromisoformat(job.standing.since)).total_seconds()
        if waited_s > job.recipe.latest_h * 3600 and not job.standing.lease:
            job.write(
                Halted("failed", None, f"it could not be started for {job.recipe.latest_h:g} h (latest_h): {found.why}")
            )
        elif found.why != job.standing.waiting:
            job.say(f"{job.record.run}: {found.why}")
            job.write(Waiting(found.why))
    elif isinstance(found, Failed):
        job.say(f"{job.record.run}: {found.why}")
        job.write(Halted("failed", None, found.why))
    else:
        job.write(found)
        job.say(f"{job.record.run}: started{f' on {found.machine}' if found.machine else ''} ({found.job})")


def _running(job: Job) -> None:
    seen = job.place.look(job)
    # A machine that does not answer may run all the same, and is paid for.
    watch.look_at_clock(job, running=seen.state in ("running", "unknown"), silent=seen.state == "unknown")
    job.keep(replace(job.progress, seen=_shown(seen)))
    if seen.state == "running":
        job.place.fetch(job)
    watch.look_at_files(job)
    if seen.state == "ended":
        done = seen.exit_code == 0
        why = seen.text or ("the command ended" if done else f"the command ended with exit status {_code(seen)}")
        job.write(Halted("done" if done else "failed", seen.exit_code, why))
    elif seen.state == "lost":
        job.say(f"{job.record.run}: lost: {seen.text}")
        job.write(Halted("lost", None, seen.text))
    else:
        _leave(job)


def _leave(job: Job) -> bool:
    """Begin to end it where somebody has asked for that, or a rule says so."""
    standing = job.standing
    before = standing.usd + (standing.lease.usd_once if standing.lease else 0.0)
    stop = stop_of(job.recipe.stop, job.progress, job.clock.now(), before)
    if standing.wish == "stop":
        job.write(Ending("stopped", "stop was asked for", ""))
    elif standing.wish == "pause":
        job.write(Ending("paused", "pause was asked for", ""))
    elif stop:
        job.write(Ending("stopped", stop.rule, stop.evidence))
    else:
        return False
    job.say(f"{job.record.run}: {job.standing.why}")
    return True


def _ending(job: Job) -> None:
    seen = job.place.end(job)
    if seen is None:
        return
    standing = job.standing
    # It may have come to its own end before the signal reached it.
    finished = seen.exit_code == 0
    then: Then = "done" if finished else (standing.then or "stopped")
    job.write(Halted(then, seen.exit_code, "the command ended" if finished else standing.why))


def _halted(job: Job) -> None:
    watch.look_at_files(job)
    try:
        kept = job.place.keep(job)
        why = "they did not come in time"
    except HpcacceptError as fault:
        kept, why = None, fault.message
    if kept is None:
        since = dt.datetime.fromisoformat(job.standing.since)
        if (job.clock.now() - since).total_seconds() < KEEP_S:
            return
        kept = Kept(whole=False, why=why)
    if not kept.whole:
        job.say(f"{job.record.run}: results are not complete: {kept.why}")
    job.write(kept)


def _kept(job: Job) -> None:
    released = job.place.release(job)
    if released:
        job.write(released)


def _released(job: Job) -> None:
    standing = job.standing
    then = standing.then or "stopped"
    if then in ("paused", "lost") and standing.wish == "stop":
        job.write(Ended("stopped", "asked for", standing.exit_code))
    elif then == "paused" or (then == "lost" and standing.wish == "pause"):
        job.write(Paused(standing.why))
    elif then == "lost" and job.recipe.restart and standing.attempt < MOST_ATTEMPTS:
        job.say(f"{job.record.run}: starting again from its checkpoint")
        job.write(Starting(standing.attempt + 1))
    else:
        job.say(f"{job.record.run}: {then}: {standing.why}")
        job.write(Ended(then, standing.why, standing.exit_code))


def _paused(job: Job) -> None:
    stop = _only_time(job)
    if job.standing.wish == "stop":
        job.write(Ending("stopped", "stop was asked for", ""))
    elif stop:
        job.write(Ending("stopped", stop.rule, stop.evidence))
    elif job.standing.wish == "resume":
        job.write(Starting(job.standing.attempt + 1))


def _only_time(job: Job) -> Stop | None:
    """Of the rules only the deadline comes while nothing runs."""
    rules = replace(job.recipe.stop, max_hours=None, max_usd=None, idle_gpu_minutes=None, metric=None)
    return stop_of(rules, job.progress, job.clock.now(), 0.0)


def _shown(seen: Seen) -> str:
    return f"{seen.state}: {seen.text}" if seen.text else seen.state


def _code(seen: Seen) -> str:
    return "unknown" if seen.exit_code is None else str(seen.exit_code)


_STEPS: dict[str, Callable[[Job], None]] = {
    "scheduled": _scheduled,
    "starting": _starting,
    "running": _running,
    "ending": _ending,
    "halted": _halted,
    "kept": _kept,
    "released": _released,
    "paused": _paused,
}
