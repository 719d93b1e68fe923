"""A budget as it is typed: ``30m`` of time, or ``40gpu-h`` for all GPUs together."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hpcaccept.config.durations import seconds_in
from hpcaccept.errors import UsageError

OPTION = "--budget"
_GPU_HOURS = re.compile(r"(\d+(?:\.\d+)?)\s*gpu-?h", re.IGNORECASE)
#: Of GPU-hours: 65,533 nodes with 64 GPUs for 30 days.
_MOST = 65_533 * 64 * 24 * 30
#: Schedulers count whole minutes, and round up.
MINUTE_S = 60.0


@dataclass(frozen=True)
class Budget:
    """What a run may take.

    Attributes:
        text: as it was typed.
        time_s: seconds from the start of its job to its end; 0: the budget is one of GPU-hours.
        gpu_hours: GPUs of the job × hours; 0: the budget is one of time.
    """

    text: str
    time_s: float = 0.0
    gpu_hours: float = 0.0

    def seconds(self, gpus: int) -> float:
        """The time of the job in whole minutes, rounded down: a scheduler would round it up.

        Args:
            gpus: of all its nodes together.

        Raises:
            UsageError: GPU-hours are no measure without GPUs, or it is less than a minute.
        """
        if self.gpu_hours and not gpus:
            raise UsageError(f"{OPTION} is {self.text}, and no GPUs were asked for.", "Give a time, for example 30m.")
        seconds = self.gpu_hours * 3600 / gpus if self.gpu_hours else self.time_s
        whole = seconds // MINUTE_S * MINUTE_S
        if not whole:
            on = f" of {gpus:,} GPUs" if self.gpu_hours else ""
            raise UsageError(
                f"{OPTION} {self.text} is {seconds:.0f} s{on}, expected at least a minute.",
                "Give more, or take fewer nodes." if self.gpu_hours else "For example 30m.",
            )
        return whole


def parse_budget(text: str) -> Budget:
    """``90s``, ``30m``, ``2h``, ``40gpu-h``.

    Raises:
        UsageError: it is none of these.
    """
    found = _GPU_HOURS.fullmatch(text.strip())
    if found:
        hours = float(found[1])
        if not 0 < hours <= _MOST:
            raise UsageError(f"{OPTION} is {text[:40]!r}, expected more than 0 GPU-hours, at most {_MOST:,}.")
        return Budget(text.strip(), gpu_hours=hours)
    if "gpu" in text.lower():
        raise UsageError(f"{OPTION} is {text[:40]!r}, expected GPU-hours like 40gpu-h.", "Or a time: 30m, 2h.")
    return Budget(text.strip(), time_s=seconds_in(text, OPTION))
