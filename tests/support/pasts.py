"""Runs to remember, in one line each; their keys are those of real checks, so that directions are known."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.model.history import PASSED, PastRun, PastSubject, RunToRemember

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FP32 = "matmul.rate_flops[fp32]"
TRIAD = "memory_bandwidth.rate_bytes[triad]"
MODEL, SETTING = "NVIDIA H100 80GB HBM3", "8 threads, all at once"
FIRST = datetime(2026, 1, 1, 2, tzinfo=timezone.utc)


def at(night: int) -> str:
    return (FIRST + timedelta(days=night)).isoformat()


def past_run(
    night: int,
    values: Mapping[str, Sequence[float]],
    *,
    subjects: Sequence[str] = ("GPU-a", "GPU-b"),
    places: Sequence[PastSubject] | None = None,
    outcome: int | Mapping[tuple[str, str], int] = PASSED,
    standing: Sequence[int] | None = None,
    environment: str = "e1",
    revision: int = 1,
    name: str = "",
) -> RunToRemember:
    """A run of some night: metric key → value of each unit (NaN where absent)."""
    table = np.array(list(values.values()), np.float64).reshape(len(values), len(subjects))
    said = np.full(table.shape, outcome if isinstance(outcome, int) else PASSED, np.uint8)
    if not isinstance(outcome, int):
        for (key, subject), code in outcome.items():
            said[list(values).index(key), list(subjects).index(subject)] = code
    said[np.isnan(table)] = 0
    where = places or [
        PastSubject(f"node{i}", "cuda:0", MODEL, SETTING, f"serial-{subject}") for i, subject in enumerate(subjects)
    ]
    return RunToRemember(
        run=PastRun(name or f"run{night:03d}", at(night), environment, "full"),
        facts={"driver": environment},
        revisions={key.partition(".")[0]: revision for key in values},
        subjects=tuple(subjects),
        places=tuple(where),
        standing=np.array(standing if standing is not None else [PASSED] * len(subjects), np.uint8),
        keys=tuple(values),
        values=table,
        outcomes=said,
    )
