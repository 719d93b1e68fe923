"""What does hpcaccept itself cost on four Slurm nodes, for a check that costs nothing?

Counted is everything from the command to the end of the report, less the time that the job spent in Slurm's queue
(the controller's log: submitted → started), which is the same for whoever submits.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._child import rounds, seconds
from benchmarks._row import Row, Target
from benchmarks._slurm import slurm_environment, start_delay_s, virtual_slurm
from benchmarks._submission import epoch, submit

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks._submission import Submission

_CHECK = '[checks."os_noise:{label}"]\nduration_s = 0.001\nblocks = 1\n'
_ONE = _CHECK.format(label="a")
_EIGHT = "".join(_CHECK.format(label=label) for label in "abcdefgh")
#: The plainest way to start four tasks; ReFrame was measured against it too.
_RAW = ["srun", "-N4", "-n4", "echo", "42"]


def measure(quick: bool) -> list[Row]:
    """One check, eight checks, and a bare ``srun`` in turn."""
    one: list[Submission] = []
    eight: list[Submission] = []
    raw: list[float] = []
    with virtual_slurm() as slurm, tempfile.TemporaryDirectory() as folder:
        env = slurm_environment(slurm)
        for number in rounds(3 if quick else 9, budget_s=60):
            pair = [submit(Path(folder), suite, "--nodes", "4", env=env) for suite in (_ONE, _EIGHT)]
            srun = seconds(_RAW, env)
            if number > 0:
                one.append(pair[0])
                eight.append(pair[1])
                raw.append(srun)
        log = slurm.controller_log()
    ours, with_eight = (tuple(s.wall_s - start_delay_s(log, s.job) for s in runs) for runs in (one, eight))
    command = " ".join(_RAW)
    return [
        Row(
            "one trivial check on 4 nodes, less Slurm's start delay", "s", ours, command, tuple(raw),
            Target("value", upper=1.5), "ReFrame 3.6 s, 25 × srun",
        ),
        Row(
            "eight such checks", "s", with_eight, "one", ours,
            Target("difference", upper=0.3), "ReFrame 8 checks × 4 nodes +10 s",
        ),
        *_stages(one, log),
    ]  # fmt: skip


def _stages(runs: list[Submission], log: str) -> list[Row]:
    """Where the time of the one check goes; the parts add up to the whole."""
    parts: dict[str, Callable[[Submission], float]] = {
        "command → job accepted": lambda s: s.submitted - s.begin,
        "job started → driver's first word": lambda s: s.events["started"] - s.submitted - start_delay_s(log, s.job),
        "driver's first word → ranks ready to measure": lambda s: _ready(s) - s.events["started"],
        "ranks ready → step ended": lambda s: s.events["step_ended"] - _ready(s),
        "step ended → driver's last word": lambda s: s.events["ended"] - s.events["step_ended"],
        "driver's last word → end of the command": lambda s: s.end - s.events["ended"],
    }
    return [Row(f"of the one: {what}", "s", tuple(part(s) for s in runs)) for what, part in parts.items()]


def _ready(run: Submission) -> float:
    return min(epoch(record["started_at"]) for rank in run.ranks for record in rank.records)
