"""Keeps a job behind everybody else's, and finds it again when the process that submitted it was killed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from hpcaccept.launch.job.driver import time_limit_s

if TYPE_CHECKING:
    from hpcaccept.model.plan import Plan


def behind_others(plan: Plan, word: str, nice: int, within_s: float | None) -> Plan:
    """The plan as the nightly run submits it; what the settings name for sbatch wins, and its comment is kept."""
    asked = plan.request.slurm
    options = {**_modest(asked, nice), **asked}
    # A word by which the job is found again when this process is killed before it has learned the job's number.
    options["comment"] = " ".join(part for part in (options.get("comment", ""), word) if part)
    if within_s is not None:
        # Relative, so that no change of clocks comes in between. Slurm starts the job only if its limit ends before.
        options.setdefault("deadline", f"now+{max(60, int(within_s))}seconds")
    # Slurm takes whole minutes.
    limit_s = math.ceil(time_limit_s(plan) / 60) * 60.0
    return replace(plan, request=replace(plan.request, slurm=options, time_s=limit_s))


def _modest(asked: dict[str, str], nice: int) -> dict[str, str]:
    modest: dict[str, str] = {}
    if nice and not {"nice", "priority", "qos"} & asked.keys():
        modest["nice"] = str(nice)
    return modest
