"""One line per run: what it tested, where it stands, how it ended, and which nodes are bad. Nothing is judged anew."""

from __future__ import annotations

import contextlib
from datetime import datetime, timezone
from statistics import median
from typing import TYPE_CHECKING, Any

from hpcaccept import launch
from hpcaccept.app.run.wait import events_of
from hpcaccept.bounded import read_text
from hpcaccept.errors import HpcacceptError
from hpcaccept.model.event import CANCELLED
from hpcaccept.model.run_line import UNKNOWN, RunLine
from hpcaccept.serial import loads

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hpcaccept.model.event import Event
    from hpcaccept.store.folder import RunFolder

#: In report.json everything that a line needs stands before this key; behind it may be megabytes.
_BEHIND_THE_HEAD = '\n "left_out": ['
#: Earlier runs that are looked at for how long one takes, and so many of them are enough.
_LOOKED_AT, _ENOUGH = 30, 5


def lines_of(folders: Iterable[RunFolder], now: datetime) -> list[RunLine]:
    """A line for each run, in the same order; what cannot be read of a run is left empty."""
    return [_line(folder, now) for folder in folders]


def usual_duration_s(folder: RunFolder, others: Sequence[RunFolder]) -> float | None:
    """How long runs of the same suite on as many nodes took before, the median of the last ones; None where there was none."""
    plan = folder.read_plan()
    took = []
    for other in reversed(others[-_LOOKED_AT:]):
        with contextlib.suppress(HpcacceptError, OSError):
            same = other.read_plan()
            alike = (same.suite, same.request.nodes, same.launcher) == (plan.suite, plan.request.nodes, plan.launcher)
            events = events_of(other) if alike and other.run_id != folder.run_id else []
            end = next((event for event in events if event.kind == "ended"), None)
            lasted = _duration_s(events, datetime.now(timezone.utc)) if end and not end.detail else None
            took += [] if lasted is None else [lasted]
    return median(took[:_ENOUGH]) if took else None


def _line(folder: RunFolder, now: datetime) -> RunLine:
    try:
        plan = folder.read_plan()
    except HpcacceptError:
        return RunLine(folder.run_id)
    events = _events(folder)
    report = _head_of_report(folder)
    conclusion = report.get("conclusion", {})
    return RunLine(
        run=folder.run_id,
        created_at=plan.created_at,
        suite=plan.suite.name,
        nodes=plan.request.nodes,
        state=_state(folder, events, reported=bool(report)),
        verdict=str(conclusion.get("word", "")),
        exit_code=report.get("exit_code"),
        bad_nodes=str(conclusion.get("bad_nodes", "")),
        duration_s=_duration_s(events, now),
    )


def _events(folder: RunFolder) -> list[Event]:
    try:
        return events_of(folder)
    except (OSError, HpcacceptError):
        return []


def _head_of_report(folder: RunFolder) -> dict[str, Any]:
    """What stands at the beginning of ``report.json``; empty where there is no report, or none that can be read."""
    with contextlib.suppress(OSError, ValueError):
        text = read_text(folder.report_file)
        head, cut, _ = text.partition(_BEHIND_THE_HEAD)
        found = loads(f"{head.rstrip(',')}}}" if cut else text)
        if isinstance(found, dict) and isinstance(found.get("conclusion"), dict):
            return found
    return _answer_of_isolation(folder)


def _answer_of_isolation(folder: RunFolder) -> dict[str, Any]:
    """The same of a run that only isolates: its word, and the nodes that it blames."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = loads(read_text(folder.isolation_report))
        return {
            "exit_code": int(found["exit_code"]),
            "conclusion": {"word": str(found["word"]), "bad_nodes": str(found["exclude"])},
        }
    return {}


def _state(folder: RunFolder, events: list[Event], *, reported: bool) -> str:
    end = next((event for event in events if event.kind == "ended"), None)
    if end:
        return "cancelled" if end.detail == CANCELLED else "ended"
    if reported and not _job_is_open(folder):
        return "ended"
    return _asked(folder) or ("running" if events else UNKNOWN)


def _job_is_open(folder: RunFolder) -> bool:
    """Whether the launcher still knows the job: a report may be made of a run that goes on."""
    return _asked(folder) in ("queued", "running")


def _asked(folder: RunFolder) -> str:
    """The state of the job in its launcher's words; empty where nobody can be asked."""
    with contextlib.suppress(HpcacceptError, OSError):
        job = folder.read_job()
        if job:
            state = launch.load(job.launcher).status(job).state
            return "queued" if state in ("pending", "stuck") else state
    return ""


def _duration_s(events: list[Event], now: datetime) -> float | None:
    begun = next((event.at for event in events if event.kind == "started"), "")
    ended = next((event.at for event in events if event.kind == "ended"), "")
    try:
        start = _time(begun)
        return max(0.0, ((_time(ended) if ended else now) - start).total_seconds())
    except ValueError:
        return None


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
