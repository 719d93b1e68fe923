"""Runs to remember, in one line each; their keys are those of real checks, so that directions are known."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.model.history import PASSED, PastRun, Place, RunToRemember

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
    units: Sequence[str] = ("GPU-a", "GPU-b"),
    places: Sequence[Place] | None = None,
    outcome: int | Mapping[tuple[str, str], int] = PASSED,
    standing: Sequence[int] | None = None,
    environment: str = "e1",
    revision: int = 1,
    name: str = "",
) -> RunToRemember:
    """A run of some night: metric key → value of each unit (NaN where absent)."""
    table = np.array(list(values.values()), np.float64).reshape(len(values), len(units))
    said = np.full(table.shape, outcome if isinstance(outcome, int) else PASSED, np.uint8)
    if not isinstance(outcome, int):
        for (key, unit), code in outcome.items():
            said[list(values).index(key), list(units).index(unit)] = code
    said[np.isnan(table)] = 0
    where = places or [Place(f"node{i}", "cuda:0", MODEL, SETTING, f"serial-{unit}") for i, unit in enumerate(units)]
    return RunToRemember(
        run=PastRun(name or f"run{night:03d}", at(night), environment, "full"),
        facts={"driver": environment},
        revisions={key.partition(".")[0]: revision for key in values},
        units=tuple(units),
        places=tuple(where),
        standing=np.array(standing if standing is not None else [PASSED] * len(units), np.uint8),
        keys=tuple(values),
        values=table,
        outcomes=said,
    )
