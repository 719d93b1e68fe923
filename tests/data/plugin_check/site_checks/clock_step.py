"""Measures the smallest step of the clock that every other check measures with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar

from hpcaccept.model.check import Check, CheckContext
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.parameter import param


@dataclass(frozen=True)
class ClockStep(Check):
    """Reads the clock until it has moved, again and again, and keeps the smallest step.

    What it does not mean: a fine clock may still run fast or slow.

    Parameters:
        steps: how many steps are looked at.
    """

    name: ClassVar = "clock_step"
    revision: ClassVar = 1
    about: ClassVar = "Smallest step of the clock that everything is measured with."
    on_device: ClassVar = False
    metrics: ClassVar = (
        Metric(
            "step_s", "s", "lower", "Smallest step of the monotonic clock.", formula="min of differences above 0",
            statistic="worst", limit=at_most(1e-3, "s", "the shortest figure that hpcaccept keeps is longer than 1 ms"),
        ),
    )  # fmt: skip

    steps: int = param(100, at_least=1, at_most=100_000)

    def measure(self, ctx: CheckContext) -> None:
        """Look at ``steps`` steps."""
        ctx.emit("step_s", min(_step() for _ in range(self.steps)))


def _step() -> float:
    begin = now = time.perf_counter()
    while now == begin:
        now = time.perf_counter()
    return now - begin
