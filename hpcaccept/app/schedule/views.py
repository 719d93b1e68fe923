"""Runs as people see them: lines for ``status`` and ``next``, plain values for programs."""

from __future__ import annotations

import datetime as dt
from itertools import groupby
from typing import TYPE_CHECKING, Any

from hpcaccept.app.schedule import records
from hpcaccept.bounded import end_of
from hpcaccept.errors import HpcacceptError
from hpcaccept.model.schedule.entry import Sent
from hpcaccept.report.printable import safe
from hpcaccept.serial import to_plain
from hpcaccept.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from hpcaccept.app.schedule.records import Record
    from hpcaccept.app.schedule.snapshot import Contents
    from hpcaccept.model.schedule.progress import Progress
    from hpcaccept.model.schedule.recipe import Recipe, Rental
    from hpcaccept.model.schedule.standing import Standing

#: Mbit/s that uploads are estimated with where nobody has said or measured any: a home's.
_UPLOAD_MBIT_S = 50.0
#: Bytes of an upload from which on its time says something of the link.
_LEAST_BYTES = 1_000_000
#: Bytes at the end of a log in which its last line is looked for.
_END_BYTES = 8192


def as_plain(record: Record) -> dict[str, Any]:
    """A run for programs."""
    standing, progress = record.standing(), record.progress()
    return {
        **to_plain(standing.added),
        "state": standing.state,
        "since": standing.since,
        "attempt": standing.attempt,
        "job": standing.job,
        "machine": standing.machine,
        "wish": standing.wish,
        "why": standing.why or standing.waiting,
        "exit_code": standing.exit_code,
        "instance": standing.lease.instance if standing.lease else 0,
        "usd": round(_usd(standing, progress), 6),
        "ran_s": round(progress.ran_s, 1),
        "metric": to_plain(progress.metric),
        "idle_s": progress.idle_s,
        "seen": progress.seen,
        "fault": progress.fault,
        "results_whole": standing.kept.whole if standing.kept else None,
        "log": last_line(record),
        "folder": str(record.folder),
    }


def status_lines(there: Sequence[Record], place: tzinfo) -> list[str]:
    """Every run, grouped by commit, the latest commit last."""
    standings = [(each, each.standing()) for each in there]
    order: dict[tuple[str, str], int] = {}
    for _, standing in standings:
        key = (standing.added.commit, standing.added.diff_sha256)
        order[key] = len(order) if key not in order else order[key]
    grouped = sorted(standings, key=lambda each: order[(each[1].added.commit, each[1].added.diff_sha256)])
    lines: list[str] = []
    for _, group in groupby(grouped, key=lambda each: (each[1].added.commit, each[1].added.diff_sha256)):
        found = list(group)
        lines.append(commit_line(found[0][1]))
        for record, standing in found:
            lines += [f"  {each}" for each in _of_run(record, standing, place)]
    return lines


def commit_line(standing: Standing) -> str:
    """``1f2e3d4c5b6a (main) Fix the loss; with changes 9a8b7c6d: status --diff RUN``."""
    added = standing.added
    branch = f" ({added.branch})" if added.branch else ""
    dirty = f"; DIRTY, changes {added.diff_sha256[:12]}" if added.dirty else ""
    untracked = f"; {added.untracked} untracked" if added.untracked else ""
    return f"{added.commit[:12]}{branch} {added.subject}{dirty}{untracked}"


def _of_run(record: Record, standing: Standing, place: tzinfo) -> list[str]:
    added, progress = standing.added, record.progress()
    at = dt.datetime.fromisoformat(added.at)
    queued = standing.state == "running" and progress.seen.startswith("pending")
    words = [
        record.run,
        ("queued" if queued else standing.state) + (f" ({standing.wish} asked for)" if standing.wish else ""),
    ]
    words.append(f"at {local(at, place)} = {at:%Y-%m-%d %H:%M:%S} UTC")
    words.append(f"on {where(standing)}")
    if added.place == "rented":
        words.append(f"{_usd(standing, progress):.4f} USD")
    words.append(f"{added.files:,} files, {size(added.size_bytes)}")
    lines = ["  ".join(words)]
    why = standing.why or standing.waiting or (progress.seen if standing.state == "running" else "")
    lines += [f"    {why}"] if why else []
    if standing.kept and not standing.kept.whole:
        lines.append(f"    results are not complete: {standing.kept.why}")
    lines += [f"    {each}" for each in (progress.fault, progress.note) if each and not standing.final]
    if line := last_line(record):
        lines.append(f"    log: {line}")
    return lines


def _usd(standing: Standing, progress: Progress) -> float:
    return standing.usd + (progress.usd + standing.lease.usd_once if standing.lease else 0.0)


def where(standing: Standing) -> str:
    """``rented: instance 900001 of machine 4711``, ``slurm: job 17 on n1``, ``here: process 4711``."""
    place = standing.added.place
    if place == "rented":
        lease = standing.lease
        found = f"instance {lease.instance or '?'} of machine {lease.machine}" if lease else ""
    else:
        job = f"{'job' if place == 'slurm' else 'process'} {standing.job}" if standing.job else ""
        found = f"{job}{f' on {standing.machine}' if standing.machine else ''}"
    return f"{place}: {found}" if found else place


def local(at: dt.datetime, place: tzinfo) -> str:
    """Wall-clock time with its distance from UTC, so that it means one instant."""
    return f"{at.astimezone(place):%Y-%m-%d %H:%M:%S%z}"


def size(size_bytes: float) -> str:
    """``1.2 GB``, powers of ten, as traffic is billed."""
    for scale, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size_bytes >= scale:
            return f"{size_bytes / scale:.1f} {name}"
    return f"{size_bytes:.0f} B"


def last_line(record: Record) -> str:
    """Of what the command printed; what the start-up script says is no part of it."""
    found = end_of(record.file(records.LOG), _END_BYTES).replace("\r", "\n").splitlines()
    own = "--- hpcaccept schedule"
    return safe(next((each for each in reversed(found) if each.strip() and not each.startswith(own)), ""))[:200]


def link_of(rental: Rental, there: Sequence[Record]) -> tuple[float, str]:
    """Mbit/s to rented machines, and where that comes from: the recipe, else the last upload from here, else a home's."""
    if rental.upload_mbit_s is not None:
        return rental.upload_mbit_s, "rental.upload_mbit_s"
    for record in reversed(there):
        try:
            sent = [(at, entry) for at, entry in record.lines() if isinstance(entry, Sent)]
        except HpcacceptError:
            continue
        for at, entry in reversed(sent):
            if entry.size_bytes >= _LEAST_BYTES and entry.seconds > 0:
                return entry.size_bytes * 8e-6 / entry.seconds, f"as {record.run} was sent on {at[:10]}"
    return _UPLOAD_MBIT_S, "not measured yet"


def content_lines(contents: Contents, link: tuple[float, str]) -> list[str]:
    """What would be sent: count, size, time by a link, and what git keeps elsewhere."""
    mbit_s, source = link
    seconds = contents.size_bytes / (mbit_s * 1e6 / 8)
    upload = f"sent to a rented machine in about {show_duration(seconds)} at {mbit_s:.3g} Mbit/s ({source})"
    lines = [f"{len(contents.files):,} files, {size(contents.size_bytes)}; {upload}"]
    largest = sorted(contents.files, key=lambda each: -each.size_bytes)[:3]
    lines.append(f"largest: {', '.join(f'{each.name} ({size(each.size_bytes)})' for each in largest)}")
    if contents.lfs:
        lines.append(f"{contents.lfs} files are kept by Git LFS; their contents are here and are sent")
    return lines


def next_lines(there: Sequence[Record], place: tzinfo, now: dt.datetime) -> list[str]:
    """What will happen when, the next first."""
    found: list[tuple[dt.datetime, str]] = []
    for record in there:
        try:
            standing, recipe = record.standing(), record.recipe()
        except HpcacceptError as fault:
            found.append((now, f"{record.run}: {fault.message}"))
            continue
        if not standing.final:
            found += [(at, f"{record.run}: {text}") for at, text in _to_come(standing, recipe, record.progress(), now)]
    return [f"{local(at, place)}  {text}" for at, text in sorted(found)]


def _to_come(standing: Standing, recipe: Recipe, progress: Progress, now: dt.datetime) -> list[tuple[dt.datetime, str]]:
    added, stop = standing.added, recipe.stop
    found = []
    at = dt.datetime.fromisoformat(added.at)
    if standing.state == "scheduled":
        found.append((max(at, now), f"starts on {added.place} ({added.commit[:12]} {added.subject})"))
        found.append((at + dt.timedelta(hours=recipe.latest_h), "counts as missed if it has not been started by then"))
    elif standing.state == "paused":
        found.append((now, f"waits for: hpcaccept schedule resume {added.run}"))
    else:
        found.append((now, f"{standing.state}{f': {standing.waiting}' if standing.waiting else ''}"))
    if stop.deadline:
        found.append((dt.datetime.fromisoformat(stop.deadline.replace("Z", "+00:00")), "deadline: is stopped"))
    if stop.max_hours is not None and standing.state == "running":
        rest = max(stop.max_hours * 3600 - progress.ran_s, 0.0)
        found.append((now + dt.timedelta(seconds=rest), f"max_hours {stop.max_hours:g}: is stopped"))
    if stop.max_usd is not None and standing.lease:
        rest_usd = max(stop.max_usd - _usd(standing, progress), 0.0)
        hours = rest_usd / standing.lease.usd_per_hour if standing.lease.usd_per_hour else 0.0
        found.append((now + dt.timedelta(hours=min(hours, 10_000)), f"max_usd {stop.max_usd:g}: is stopped"))
    return found
