"""The state of the nights: the last ones, what runs, who holds the lock, what was missed. Also for programs that watch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from hpcaccept.app.campaign.memory import Memory, instant_of
from hpcaccept.app.nightly.earlier_nights import missed_nights
from hpcaccept.app.nightly.message import named
from hpcaccept.model.nightly.night import ACCEPTED
from hpcaccept.model.nightly.window import due_between, parse_clock
from hpcaccept.report.printable import safe
from hpcaccept.store.night_lock import Held
from hpcaccept.units import show_duration

if TYPE_CHECKING:
    from datetime import tzinfo


SHOWN = 7


@dataclass(frozen=True)
class Status:
    """What is known at a moment.

    Attributes:
        memory: of the journal.
        held: the lock.
        missed: nights (UTC) of which nothing came and that were not reported yet.
        next_due: when the next run is due (UTC); None without a schedule.
        unreadable: lines of the journal that cannot be read.
    """

    memory: Memory
    held: Held
    missed: tuple[datetime, ...] = ()
    next_due: datetime | None = None
    unreadable: int = 0

    @property
    def running(self) -> bool:
        """True while a night goes on."""
        return self.held.number > 0 and not self.held.free

    @property
    def cut_short(self) -> bool:
        """True when a night began, did not end, and nobody is at it."""
        return bool(self.memory.open_nights) and not self.running

    @property
    def exit_code(self) -> int:
        """3 when a night is missing or was cut short; else that of the last night that ended."""
        if self.missed or self.cut_short:
            return 3
        return self.memory.ended[-1].exit_code if self.memory.ended else 0


def status_of(memory: Memory, held: Held, at: str, now: datetime, place: tzinfo, unreadable: int = 0) -> Status:
    """The sum of journal and lock.

    Args:
        memory: of the journal.
        held: the lock.
        at: time of day at which a run is due where the journal does not know.
        now: aware.
        place: whose clock is meant.
        unreadable: lines of the journal that cannot be read.
    """
    lost = [due for due in missed_nights(memory, at, now, place) if due.isoformat() not in memory.reported]
    clock = memory.clock if memory.clock_since else at
    ahead = due_between(parse_clock(clock), now, now + timedelta(days=2), place) if clock else []
    return Status(memory, held, tuple(lost), ahead[0] if ahead else None, unreadable)


def lines(status: Status, now: datetime) -> list[str]:
    """For people, without anything that could steer a terminal."""
    memory, held = status.memory, status.held
    found = [f"Lock:     {_lock(held)}"]
    due = _local(status.next_due.isoformat()) if status.next_due else "none: hpcaccept nightly install"
    found.append(f"Next:     {due}")
    found += [f"Missed:   no run came at {_local(when.isoformat())}" for when in status.missed]
    for night in memory.open_nights:
        what = "is running" if status.running else "was cut short; the next run finishes what it left"
        found.append(f"Open:     {night} {what}")
    found += [f"          run {run.run}{f' on {named(run.nodes)}' if run.nodes else ''}" for run in memory.open_runs]
    began = {word.night: when for when, word in memory.began}
    for ended in memory.ended[-SHOWN:]:
        when = _local(began[ended.night].isoformat()) if ended.night in began else ended.night
        found.append(f"Night:    {when}  exit code {ended.exit_code}  {ended.headline}")
        found += [f"          note: {note}" for note in ended.notes]
    found += _of_nodes(status, now)
    if status.unreadable:
        found.append(f"Journal:  {status.unreadable} line(s) cannot be read.")
    return [safe(line) for line in found]


def _of_nodes(status: Status, now: datetime) -> list[str]:
    tested = status.memory.tested
    if not tested:
        return ["Nodes:    none was tested yet"]
    oldest = min(tested, key=lambda name: (tested[name].at, name))
    age_s = max(0.0, (now - instant_of(tested[oldest].at)).total_seconds())
    found = [f"Nodes:    {len(tested)} tested; longest ago {oldest}, {show_duration(age_s)}"]
    bad = sorted(name for name, last in tested.items() if last.outcome not in ACCEPTED)
    found += [f"          {name}: {tested[name].outcome}: {tested[name].reason}" for name in bad[:20]]
    return found + ([f"          and {len(bad) - 20} more: {named(bad[20:])}"] if len(bad) > 20 else [])


def _lock(held: Held) -> str:
    if held.number == 0 or (held.owner and held.owner.released):
        return "free"
    who = str(held.owner or "somebody (its file cannot be read)")
    return f"stale: {who}: {held.stale}" if held.stale else f"held by {who}"


def _local(text: str) -> str:
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M")


def as_json(status: Status) -> dict[str, Any]:
    """For programs."""
    held, memory = status.held, status.memory
    return {
        "schema": 1,
        "exit_code": status.exit_code,
        "running": status.running,
        "lock": {"owner": str(held.owner) if held.owner and not held.owner.released else None, "stale": held.stale},
        "next_due": status.next_due.isoformat() if status.next_due else None,
        "missed": [when.isoformat() for when in status.missed],
        "cut_short": list(memory.open_nights) if status.cut_short else [],
        "open_runs": [run.run for run in memory.open_runs],
        "nights": [
            {"night": n.night, "exit_code": n.exit_code, "headline": n.headline, "notes": list(n.notes)}
            for n in memory.ended[-SHOWN:]
        ],
        "nodes": {
            name: {"outcome": t.outcome, "tested_at": t.at, "accepted_at": t.accepted_at or None, "run": t.run}
            for name, t in sorted(memory.tested.items())
        },
    }
