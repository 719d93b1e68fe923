"""How long a run took, step by step and check by check. Read from its first rank's journals and its driver's.

The driver sits on the node of rank 0, so that both speak by one clock. A check lasts until the next one starts: turns, and waiting for
the slowest rank, are in it. What its first use of a module costs is told apart, and belongs to the start: whichever check comes first
pays for it.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from hpcaccept.errors import HpcacceptError
from hpcaccept.model.event import Event
from hpcaccept.model.record import ModuleImported, Record
from hpcaccept.model.run_time import CheckTime, StepTime
from hpcaccept.store.journal import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hpcaccept.model.plan import Plan, Step
    from hpcaccept.store.folder import RunFolder

#: No check lasts longer (a deadline may be 30 days): what says so is no time.
_LONGEST_S = 30 * 24 * 3600.0
#: By which the import of one rank may differ from what the others waited for.
_SCATTER_S = 5.0
#: The journal of the rank on the driver's node.
_FIRST_RANK = "r000000.jsonl"


def known_times(folders: Iterable[RunFolder]) -> list[StepTime]:
    """Of all steps of some runs that can be read, in the order of the runs."""
    found: list[StepTime] = []
    for folder in folders:
        with contextlib.suppress(HpcacceptError, OSError):
            found += times_of(folder)
    return found


def times_of(folder: RunFolder) -> list[StepTime]:
    """Of the steps of one run that came to their end.

    Raises:
        StoreError: the plan or a step cannot be read.
        OSError: the driver has left no journal.
    """
    plan = folder.read_plan()
    events = [word for word in read(folder.driver_log) if isinstance(word, Event)]
    begun = {event.step: _at(event.at) for event in events if event.kind == "step_started"}
    ended = {event.step: _at(event.at) for event in events if event.kind == "step_ended"}
    started = next((_at(event.at) for event in events if event.kind == "started"), math.nan)
    found: list[StepTime] = []
    for step in folder.read_steps():
        if not step.checks or step.id not in ended:
            continue
        from_s = started if not found else begun.get(step.id, math.nan)
        time = _of_step(plan, step, list(read(folder.records(step.id) / _FIRST_RANK)), from_s, ended[step.id])
        if time is not None:
            found.append(replace(time, first=not found))
    return found


def _of_step(plan: Plan, step: Step, words: Sequence[object], from_s: float, until_s: float) -> StepTime | None:
    """None where the first rank does not say when everything began."""
    records = [word for word in words if isinstance(word, Record)]
    if not records:
        return None
    starts = [_at(record.started_at) for record in records]
    params = {spec.name: spec.params for spec in step.checks}
    between = _imports_after(words)
    checks = []
    for number, (record, end) in enumerate(zip(records, (*starts[1:], until_s), strict=True)):
        seconds = end - starts[number] - between[number]
        # What ended in the middle does not tell how long it lasts; a clock that jumped tells nothing.
        whole = record.outcome != "error" and not record.cut_short
        if whole and -_SCATTER_S <= seconds <= _LONGEST_S:
            checks.append(CheckTime(record.check, params.get(record.check, {}), max(0.0, seconds), _why_not(record)))
    start_s = starts[0] - from_s + sum(between)
    if not 0 <= start_s <= _LONGEST_S:
        return None
    return StepTime(
        nodes=len(step.nodes),
        ranks_per_node=step.ranks_per_node,
        gpus=step.gpus,
        virtual=step.virtual,
        image=plan.image.reference,
        first=False,
        start_s=start_s,
        checks=tuple(checks),
    )


def _imports_after(words: Sequence[object]) -> list[float]:
    """Seconds of imports behind each record: they stand before the record of the check that needed them."""
    found = [0.0]
    for word in words:
        if isinstance(word, Record):
            found.append(0.0)
        elif isinstance(word, ModuleImported) and math.isfinite(word.seconds):
            found[-1] += max(0.0, word.seconds)
    # Those before the first record are over when its check starts.
    return found[1:]


def _why_not(record: Record) -> str:
    return record.cause if record.outcome == "not_run" else ""


def _at(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return math.nan
