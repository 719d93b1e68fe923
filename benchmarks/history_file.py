"""How long does it take to remember a night, to look at one GPU's year, and to read what a fleet did in its last runs?"""

from __future__ import annotations

import tempfile
import time
import uuid
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks._row import Row, Target
from hpcaccept.model.history import PASSED, PastRun, PastSubject, RunToRemember
from hpcaccept.store.history_file import append, read_past, read_track

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MODEL, _SETTING, _METRICS, _GPUS = "NVIDIA H100 80GB HBM3", "8 threads, all at once", 30, 8


def measure(quick: bool) -> list[Row]:
    """A year of nights of 1,024 nodes × 8 GPUs × 30 metrics; twenty runs of 4,096 nodes. Every night has other numbers."""
    nights = 40 if quick else 365
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = _nights(1024, nights + 5)
        append(folder, (next(runs) for _ in range(nights)))
        nightly = tuple(_seconds(append, folder, [run]) for run in runs)
        size = sum(file.stat().st_size for file in folder.glob("*.h5"))
        one = next(_nights(1024, 1)).subjects
        years = tuple(_seconds(read_track, folder, subject) for subject in one[7::1021])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = _nights(4096, 20)
        last = next(runs)
        append(folder, [last, *runs])
        pasts = tuple(_seconds(_past, folder, last) for _ in range(3))
    fleet = f"1,024 nodes × {_GPUS} GPUs × {_METRICS} metrics"
    return [
        Row(f"remember a night of {fleet}, after {nights}", "s", nightly, target=Target("value", upper=2.0)),
        Row(f"one GPU's {nights + 5} nights", "s", years, target=Target("value", upper=0.2)),
        Row(f"size of {nights + 5} nights of {fleet}", "B", (float(size),)),
        Row(
            f"the last 20 runs of 4,096 nodes × {_GPUS} GPUs × {_METRICS} metrics",
            "s",
            pasts,
            target=Target("value", upper=5.0),
        ),
    ]


def _past(folder: Path, run: RunToRemember) -> object:
    kinds = {subject: place.kind for subject, place in zip(run.subjects, run.places, strict=True)}
    return read_past(folder, run.subjects, run.keys, 20, kinds=kinds, revisions=run.revisions)


def _nights(nodes: int, count: int) -> Iterator[RunToRemember]:
    rng = np.random.default_rng(nodes)
    subjects = tuple(f"GPU-{uuid.UUID(bytes=rng.bytes(16))}" for _ in range(nodes * _GPUS))
    places = tuple(
        PastSubject(f"node{i // _GPUS:05d}", f"cuda:{i % _GPUS}", _MODEL, _SETTING, f"16{i:010d}")
        for i in range(len(subjects))
    )
    level = 1e14 * (1 + 0.01 * rng.standard_normal((_METRICS, len(subjects))))
    good = np.full(level.shape, PASSED, np.uint8)
    run = RunToRemember(
        PastRun("", "", "0123456789ab", "full"), {"driver": "580.95.05"}, {f"check{i}": 1 for i in range(10)}, subjects, places,
        good[0], tuple(f"check{i // 3}.rate_flops[{i}]" for i in range(_METRICS)), level, good,
    )  # fmt: skip
    begin = datetime(2026, 1, 1, 2, tzinfo=timezone.utc)
    for night in range(count):
        past = PastRun(f"night{night:04d}", (begin + timedelta(days=night)).isoformat(), "0123456789ab", "full")
        yield replace(run, run=past, values=level * (1 + 0.003 * rng.standard_normal(level.shape)))


def _seconds(call: Callable[..., object], *arguments: object) -> float:
    begin = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - begin
