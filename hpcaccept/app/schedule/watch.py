"""What is new in the files of a run since the last look: its metric, its GPUs. Each byte is read once."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from hpcaccept.app.schedule import records
from hpcaccept.app.schedule.rules import passed_s, with_gpu_use, with_readings
from hpcaccept.bounded import open_regular
from hpcaccept.parse import gpu_use, metric_log

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.app.schedule.job import Job
    from hpcaccept.model.schedule.progress import Progress, Readings
    from hpcaccept.model.schedule.recipe import MetricRule

#: Bytes that one look reads of one file; the rest comes with the next.
_MOST_BYTES = 16 * 1024 * 1024


def look_at_clock(job: Job, *, running: bool, silent: bool = False) -> None:
    """Add the time since the last look to what has run, to what is paid for, and to the silence of a machine that does not answer."""
    looked, known = job.clock.look(), job.progress
    seconds = passed_s(known.looked, looked)
    if known.attempt != job.standing.attempt:
        known = replace(known, attempt=job.standing.attempt, usd=0.0, idle_s=0.0)
    job.keep(
        replace(
            known,
            looked=looked,
            ran_s=known.ran_s + (seconds if running else 0.0),
            usd=known.usd + job.place.cost(job, seconds) if job.standing.lease else 0.0,
            silent_s=known.silent_s + seconds if silent else known.silent_s if not running else 0.0,
        )
    )


def look_at_files(job: Job) -> None:
    """Read on where the last look has ended."""
    known = job.progress
    if rule := job.recipe.stop.metric:
        known = replace(known, metric=_metric(job.record.folder, known.metric, rule))
    if job.recipe.stop.idle_gpu_minutes is not None:
        known = _gpus(job.record.file(records.GPU_LOG), known)
    job.keep(known)


def _metric(folder: Path, known: Readings, rule: MetricRule) -> Readings:
    file = folder / records.LOG if rule.file == "log" else folder / records.WORK / rule.file
    offset, lines = _new_lines(file, known.offset)
    header = ""
    if rule.format == "csv":
        header = next(iter(_new_lines(file, 0, 65_536)[1]), "")
        lines = lines[1:] if known.offset == 0 or offset < known.offset else lines
    return replace(with_readings(known, metric_log.readings(lines, rule, header), rule), offset=offset)


def _gpus(file: Path, known: Progress) -> Progress:
    offset, lines = _new_lines(file, known.gpu_offset)
    return replace(with_gpu_use(known, gpu_use.samples(lines)), gpu_offset=offset)


def _new_lines(file: Path, offset: int, most: int = _MOST_BYTES) -> tuple[int, list[str]]:
    """Whole lines from a place on, and the place behind them. A file that became shorter is read from its beginning."""
    try:
        handle = open_regular(file)
    except OSError:
        return offset, []
    with os.fdopen(handle, "rb") as stream:
        size = os.fstat(handle).st_size
        begin = offset if offset <= size else 0
        stream.seek(begin)
        piece = stream.read(most)
    end = piece.rfind(b"\n") + 1
    if not end and len(piece) == most:
        end = most  # one line without an end that fills all of it
    return begin + end, piece[:end].decode("utf-8", "replace").splitlines()
