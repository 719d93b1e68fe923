"""What is a baseline? Accepted numbers of one device model with their provenance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

#: ``draft``: learned, nobody has vouched for it. ``approved``: somebody has. ``expired``: it may not judge any more.
#: ``shipped``: published figures that come with hpcaccept; what a site has learned itself goes before them.
State = Literal["draft", "approved", "expired", "shipped"]


@dataclass(frozen=True)
class BaselineEntry:
    """What a healthy unit of the model reaches in one metric.

    Attributes:
        key: metric key (``matmul.rate_flops[fp32]``).
        revision: of the check's method.
        unit: SI unit.
        direction: ``higher`` or ``lower`` is better.
        center: median over units, in ``unit``.
        spread: robust standard deviation over units (1.4826 × MAD), in ``unit``.
        lower: failing limit, or None.
        upper: failing limit, or None.
        units: how many units it was learned from.
        source: how the limits follow from centre and spread.
    """

    key: str
    revision: int
    unit: str
    direction: str
    center: float
    spread: float
    lower: float | None
    upper: float | None
    units: int
    source: str


@dataclass(frozen=True)
class Provenance:
    """Where a baseline comes from. One without it cannot judge.

    Attributes:
        learned_at: UTC, ISO 8601.
        runs: names of the runs.
        nodes: names of the nodes.
        device_ids: GPU UUIDs, where there are any.
        setting: what must be alike for a comparison (threads, in turn or not).
        facts: what would change the numbers (driver, CUDA, torch, kernel …).
        version: of hpcaccept.
        commit: git commit of hpcaccept.
        left_out: units that were suspect and not learned from, with the reason.
    """

    learned_at: str
    runs: tuple[str, ...]
    nodes: tuple[str, ...]
    device_ids: tuple[str, ...]
    setting: str
    facts: dict[str, str] = field(default_factory=dict)
    version: str = ""
    commit: str = ""
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Baseline:
    """One file ``<device-model>.h5``.

    Attributes:
        model: NVML name of the GPU, or model name of the CPU.
        provenance: where it comes from.
        entries: by metric key.
    """

    model: str
    provenance: Provenance
    entries: dict[str, BaselineEntry]
    state: State = "approved"
    #: Asked in this order where this one does not fit: other power limits of the model, then what hpcaccept ships.
    alternatives: tuple[Baseline, ...] = ()
