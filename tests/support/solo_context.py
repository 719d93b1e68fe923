"""A CheckContext for one process: as strict as the real one, with nobody else in it.

It refuses undeclared metrics, a metric of another unit's kind, numbers that are not finite, and a repeat that was
already emitted, so that a test of a check on it says something about the check on a cluster.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept.measure.ranks.process_group import process_group
from hpcaccept.model.check import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np


@dataclass
class SoloContext:
    """Rank 0 of a world of one.

    Attributes:
        check: whose metrics may be emitted.
        samples: (metric, variant) → values in the order of their repeats.
        facts: name → text.
        refused: variant → why it is unsupported.
        beats: phases, in order.
        kept: name → raw output of a tool.
    """

    check: Check
    device: str = "cpu"
    rank: int = 0
    size: int = 1
    local_rank: int = 0
    node: str = "solo"
    node_ranks: tuple[int, ...] = (0,)
    threads: int = 1
    cores: float = 1.0
    gpus_asked: int = 0
    slices_asked: bool = False
    in_turn: bool = False
    model: str = ""
    folder: Path = Path()
    begun: Any = None
    samples: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    beats: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """As the rank program does, so that a test does not compete with itself."""
        if "torch" in self.check.needs:
            import torch

            torch.set_num_threads(self.threads)

    def emit(self, metric: str, value: float, variant: str = "", repeat: int = 0) -> None:
        if self.check.metric(metric) is None:
            raise ValueError(f"check {self.check.name} does not declare metric {metric!r}")
        if not math.isfinite(value):
            raise ValueError(f"{metric}[{variant}] is {value}")
        values = self.samples.setdefault((metric, variant), [])
        if repeat != len(values):
            raise ValueError(f"{metric}[{variant}] repeat {repeat}, expected {len(values)}")
        values.append(float(value))

    def fact(self, name: str, text: str) -> None:
        if not text:
            raise ValueError(f"fact {name!r} is {text!r}, expected a text")
        self.facts[name] = text

    def unsupported(self, variant: str, why: str) -> None:
        if not why:
            raise ValueError(f"{variant} is unsupported for no reason")
        self.refused[variant] = why

    def keep(self, name: str, text: str) -> None:
        self.kept[name] = text

    def beat(self, phase: str) -> None:
        self.beats.append(phase)

    def barrier(self) -> None:
        return None

    def allgather(self, thing: Any) -> list[Any]:
        return [thing]

    def bcast(self, thing: Any) -> Any:
        return thing

    def reduce_sum(self, buffer: np.ndarray) -> None:
        """The sum over one rank is what it has."""

    @contextlib.contextmanager
    def process_group(self) -> Iterator[str]:
        with process_group("cpu", 0, 1, self.bcast, self.allgather, shared_kernel=True, timeout_s=30) as backend:
            yield backend

    def value(self, metric: str, variant: str = "") -> float:
        """The only value of a metric."""
        (found,) = self.samples[metric, variant]
        return found

    def variants(self, metric: str) -> set[str]:
        return {variant for name, variant in self.samples if name == metric}

    def run(self) -> SoloContext:
        """Measure and compare, as the rank program does."""
        self.begun = self.check.begin(self)
        self.check.compare(self, self.check.measure(self))
        missing = {m.name for m in self.check.metrics if m.required} - {name for name, _ in self.samples}
        if missing:
            raise ValueError(f"required metrics were not emitted: {sorted(missing)}")
        return self
