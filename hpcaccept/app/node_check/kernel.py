"""What the kernel logged of the hardware, as the check ``kernel_log`` judges: since the job began, and what from before still holds.

Only ``/dev/kmsg`` is read: the tools that give the same log are programs, and a gate starts none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hpcaccept.app.node_check.look import Look
from hpcaccept.app.node_check.one_node import OneNode, broken, judged
from hpcaccept.checks.kernel_log import Before, KernelLog
from hpcaccept.errors import ToolError
from hpcaccept.model.check import Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import at_most

if TYPE_CHECKING:
    from hpcaccept.app.node_check.look import Asked
    from hpcaccept.measure.host.memory_errors import Counter

PART = "kernel log"


def look(asked: Asked) -> Look:
    """The log and the counters of memory errors."""
    found = Look()
    check = KernelLog(source="kmsg", kmsg=asked.kmsg, root=str(asked.root))
    seat = OneNode(check, node=asked.node)
    begun = check.begin(seat)
    assert begun is not None
    seat.begun = _as_of_then(begun, asked.before)
    try:
        check.measure(seat)
    except (Unavailable, ToolError) as fault:
        # An Xid that no table knows is an ERROR; what was judged beside it counts.
        found.items.append(broken(PART, "log", fault))
    over_a_job = asked.before is not None
    found.items += seat.items(PART, only=() if over_a_job else ("old_faults",))
    if over_a_job and "faults" in seat.refused:
        found.items.append(broken(PART, "faults", Unavailable(seat.refused["faults"])))
    if begun.log is not None and "old_faults" in seat.refused:
        # As in a run: the past that was overwritten is not asked for, and what is left holds nothing.
        found.facts["kernel log"] = seat.refused["old_faults"]
        limit = at_most(0, "events", "no fault of a GPU may hold")
        found.items.append(judged(PART, "old_faults[in what is left of the log]", FindingCode.KERNEL_FAULT, 0, limit))
    if begun.log is None and begun.why is not None and not any(item.outcome != "PASS" for item in found.items):
        found.items.append(broken(PART, "log", begun.why))
    found.facts |= {name: text for name, text in seat.facts.items() if name.startswith("older[")}
    counters = {_name(counter): float(count) for counter, count in begun.counters.items()}
    last = begun.log.last if begun.log else None
    found.kept = {"last": last, "counters": counters}
    if over_a_job:
        found.compare(asked.before.get("counters", {}), counters)
    return found


def _as_of_then(now: Before, before: Any) -> Before:
    """What there was when the job began, out of what is there now: the ring buffer holds both, as long as it was not overwritten."""
    if before is None:
        return now
    counted = {counter: int(before["counters"].get(_name(counter), count)) for counter, count in now.counters.items()}
    if now.log is None or before["last"] is None:
        return replace(now, counters=counted)
    old = tuple(line for line in now.log.lines if line.number is not None and line.number <= before["last"])
    if not old:
        # Everything that is left came since: the first line stands for the moment before it.
        first = now.log.lines[0]
        old = (replace(first, number=before["last"], text=""),)
    return Before(replace(now.log, lines=old, last=before["last"]), now.why, counted)


def _name(counter: Counter) -> str:
    return f"{counter.what} at {counter.where}" if counter.where else counter.what
