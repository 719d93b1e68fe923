"""Where a run stands. Computed from the lines of its journal alone, so that a run goes on where it was, whoever was killed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from hpcaccept.model.schedule.entry import (
    Added,
    Asked,
    Ended,
    Ending,
    Entry,
    Halted,
    Kept,
    Paused,
    Released,
    Rented,
    Renting,
    Sent,
    Started,
    Starting,
    Then,
    Unfit,
    Waiting,
    Wish,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

State = Literal[
    "scheduled", "starting", "running", "ending", "halted", "kept", "released", "paused",
    "done", "failed", "stopped", "lost", "missed",
]  # fmt: skip
FINAL = ("done", "failed", "stopped", "lost", "missed")


@dataclass(frozen=True)
class Lease:
    """A machine that is, or may be, rented."""

    offer: int
    machine: int
    label: str
    usd_per_hour: float
    usd_once: float
    since: str
    instance: int = 0


@dataclass(frozen=True)
class Standing:
    """A run at one moment.

    Attributes:
        added: what was recorded first.
        state: where it stands.
        since: when it came there (UTC, ISO 8601).
        attempt: 0 before the first start.
        job: see ``Started``.
        machine: see ``Started``.
        key: see ``Started``.
        began: when the attempt was started.
        wish: that nobody has acted upon yet.
        then: what becomes of it once it has been put away.
        why: of the state.
        exit_code: of the command.
        waiting: why it cannot start yet.
        lease: that has not been seen to be over.
        sent: the files of this attempt are on the machine.
        unfit: machines that are not tried again.
        failures: machines of this attempt that did not become usable.
        usd: of earlier attempts.
        kept: whether the last results came whole, and why not.
    """

    added: Added
    state: State = "scheduled"
    since: str = ""
    attempt: int = 0
    job: str = ""
    machine: str = ""
    key: str = ""
    began: str = ""
    wish: Wish | None = None
    then: Then | None = None
    why: str = ""
    exit_code: int | None = None
    waiting: str = ""
    lease: Lease | None = None
    sent: bool = False
    unfit: tuple[int, ...] = ()
    failures: int = 0
    usd: float = 0.0
    kept: Kept | None = None

    @property
    def final(self) -> bool:
        """Nothing more will be done."""
        return self.state in FINAL


def standing_of(lines: Iterable[tuple[str, Entry]]) -> Standing | None:
    """Where a run stands; None where its journal does not begin with what was recorded."""
    found: Standing | None = None
    for at, entry in lines:
        if found is None:
            if not isinstance(entry, Added):
                return None
            found = Standing(entry, since=at)
        else:
            found = _after(found, at, entry)
    return found


def _after(now: Standing, at: str, entry: Entry) -> Standing:
    match entry:
        case Asked():
            if now.state == "paused" and not now.attempt and entry.wish == "resume":
                return replace(now, state="scheduled", since=at, wish=None, why="")
            return replace(now, wish=_wish(now, entry.wish))
        case Starting():
            return replace(
                now, state="starting", since=at, attempt=entry.attempt, wish=None if now.wish == "resume" else now.wish,
                then=None, why="", exit_code=None,
                waiting="", sent=False, failures=0, machine="",
            )  # fmt: skip
        case Waiting():
            return replace(now, waiting=entry.why)
        case Renting():
            lease = Lease(entry.offer, entry.machine, entry.label, entry.usd_per_hour, entry.usd_once, at)
            return replace(now, lease=lease, machine=str(entry.machine), sent=False)
        case Rented():
            return replace(now, lease=replace(now.lease, instance=entry.instance) if now.lease else None)
        case Unfit():
            return replace(
                now, unfit=tuple(dict.fromkeys((*now.unfit, entry.machine))), failures=now.failures + 1, sent=False
            )
        case Sent():
            return replace(now, sent=True)
        case Started():
            return replace(
                now, state="running", since=at, job=entry.job, machine=entry.machine or now.machine, key=entry.key,
                began=at, waiting="",
            )  # fmt: skip
        case Ending():
            return replace(now, state="ending", since=at, then=entry.then, why=_joined(entry.rule, entry.evidence))
        case Halted():
            lost = (now.lease.machine,) if now.lease and entry.then == "lost" else ()
            return replace(
                now, state="halted", since=at, then=entry.then, exit_code=entry.exit_code, why=entry.why or now.why,
                unfit=tuple(dict.fromkeys((*now.unfit, *lost))),
            )  # fmt: skip
        case Kept():
            return replace(now, state="kept" if now.state == "halted" else now.state, since=at, kept=entry)
        case Released():
            state = "released" if now.state == "kept" else now.state
            return replace(now, state=state, since=at, lease=None, usd=now.usd + entry.usd)
        case Paused():
            return replace(now, state="paused", since=at, why=entry.why, wish=_kept_wish(now.wish))
        case Ended():
            return replace(now, state=entry.state, since=at, why=entry.why, exit_code=entry.exit_code, wish=None)
        case _:
            return now


def _wish(now: Standing, wish: Wish) -> Wish | None:
    """The last wish counts; to resume what has not been paused takes back the pause. A stop is never taken back."""
    if now.final or (now.state == "paused" and wish == "pause"):
        return None
    if now.wish == "stop":
        return "stop"
    if wish == "resume" and now.wish == "pause":
        return None
    return wish


def _kept_wish(wish: Wish | None) -> Wish | None:
    return None if wish == "pause" else wish


def _joined(rule: str, evidence: str) -> str:
    return f"{rule}: {evidence}" if evidence else rule
