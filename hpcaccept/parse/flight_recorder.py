"""How far a rank got in each group of ranks, from the trace of torch's flight recorder in its JSON form.

The recorder keeps the last collectives of a process in a ring: sequence number within the group, name, and whether it is over.
Traps:
    * The ring outlives its group, and the next group may have the same name and begins again at 1: only what is younger counts.
    * Point-to-point operations stand between collectives and have the number of the one before them.
    * gloo never says ``completed``; what is over is ``retired``.

Sources: pytorch/pytorch, ``torch/csrc/distributed/c10d/FlightRecorder.hpp``; traces of torch 2.14 in ``tests/data/flight_recorder``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hpcaccept.errors import NotUnderstood
from hpcaccept.model.record import GroupProgress

if TYPE_CHECKING:
    from collections.abc import Mapping

#: How torch describes the group of all ranks.
_EVERYONE = "default_pg"


def progress_of(trace: str | bytes, since_ns: int = 0) -> tuple[GroupProgress, ...]:
    """How far this rank has come in each group, in the order of the groups' first collectives.

    Args:
        trace: as ``_dump_fr_trace_json`` and ``_dump_nccl_trace_json`` give it.
        since_ns: nanoseconds since 1970; what is older belongs to an earlier group.

    Raises:
        NotUnderstood: it has another form.
    """
    try:
        entries = json.loads(trace).get("entries", [])
        found: dict[str, GroupProgress] = {}
        for entry in entries:
            if entry["time_created_ns"] >= since_ns:
                group, description = map(str, entry["process_group"])
                found[group] = _after(found.get(group), group, description, entry)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise NotUnderstood(f"The trace of the flight recorder has another form: {fault!r}"[:200]) from fault
    return tuple(found.values())


def _after(before: GroupProgress | None, group: str, description: str, entry: Mapping[str, Any]) -> GroupProgress:
    """Progress when one more entry is known."""
    between_two = bool(entry["is_p2p"])
    entered = int(entry["collective_seq_id"])
    return GroupProgress(
        group=group[:80],
        everyone=description == _EVERYONE,
        entered=before.entered if between_two and before else 0 if between_two else entered,
        operation=str(entry["profiling_name"])[:80],
        waits=not entry["retired"] and entry["state"] != "completed",
    )
