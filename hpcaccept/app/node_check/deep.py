"""Measure this node while it is idle, and keep the verdict for the gate. A job that comes takes the node back at once.

A suite runs on this node alone, by the local launcher, and is judged as any run. Whether a job is here is seen by its ``slurmstepd`` (or
kubelet's pods by a process on a GPU: those the check ``health`` names); Slurm is not asked.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept import launch
from hpcaccept.app.node_check.state import write_deep
from hpcaccept.app.run.conclude import collect, judge_run, write_report
from hpcaccept.app.run.submit import plan_run, start
from hpcaccept.app.run.wait import wait_for
from hpcaccept.config.settings import load_settings
from hpcaccept.measure.host import host
from hpcaccept.model.node_check import Deep

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.app.run.wait import Progress
    from hpcaccept.model.node_check import Expected, Verdict

_VERDICTS: dict[int, Verdict] = {0: "FIT", 1: "NOT_FIT", 3: "UNKNOWN"}
#: The process that slurmd starts for each step of a job.
_STEP = "slurmstepd"


class JobCame(Exception):
    """A job is on this node: nothing is measured beside it."""


def measure_deep(
    expected: Expected,
    folder: Path,
    suite: str,
    runs_dir: Path,
    tell: Callable[[str], None],
    proc: Path = Path("/proc"),
) -> Deep:
    """Measure, judge, keep.

    Args:
        expected: of this node: its GPUs are asked for.
        folder: where the result is kept.
        suite: to run.
        runs_dir: where its run is kept.
        tell: is given where it is.
        proc: of this node.

    Raises:
        JobCame: before or while it measured; what was kept before stays, and grows old.
        OSError: the result cannot be kept.
    """
    if (step := step_of_a_job(proc)) is not None:
        raise JobCame(f"a job is running (slurmstepd, process {step})")
    options = {
        "launcher": "local", "nodes": 1, "gpus_per_node": str(expected.gpus or 0), "suite": suite, "runs_dir": str(runs_dir)
    }  # fmt: skip
    layered = load_settings({name: value for name, value in options.items() if value})
    plan, run = plan_run(layered.settings, layered.overrides)
    job = start(plan, run, layered.settings)

    def watch(progress: Progress) -> None:
        if (step := step_of_a_job(proc)) is not None:
            launch.load(job.launcher).cancel(job)
            raise JobCame(f"a job has come (slurmstepd, process {step}): {run.run_id} was ended")
        tell(progress.check or progress.state)

    status = wait_for(run, job, watch)
    judged = judge_run(collect(run, status), Path(layered.settings.baselines_dir).absolute(), None)
    write_report(run, judged)
    bad = [verdict for verdict in judged.judgement.verdicts if verdict.outcome.value == "FAIL"]
    codes = tuple(dict.fromkeys(str(verdict.code) for verdict in bad))
    first = bad or [verdict for verdict in judged.judgement.verdicts if verdict.required]
    reason = f"{first[0].check}: {first[0].reason}"[:300] if first and judged.judgement.exit_code else ""
    found = Deep(
        time.time(),
        host.boot_id(),
        _VERDICTS[judged.judgement.exit_code],
        str(run.path),
        plan.suite.name,
        codes,
        reason,
    )
    write_deep(folder, found)
    return found


def step_of_a_job(proc: Path) -> int | None:
    """The process of a step of a Slurm job on this node; None where there is none."""
    for entry in proc.glob("[0-9]*/comm"):
        if host.kernel_text(entry).strip() == _STEP:
            return int(entry.parent.name)
    return None
