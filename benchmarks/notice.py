"""How late is the end of a job noticed, when it ends well and when it is killed?

From the driver's last word (its time stamp in driver.jsonl) to the first line of the report and to the end of the
command: judging and printing are counted. A killed job has no last word: counted from the kill of the batch script's
Python, on a Slurm without accounting.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path

from benchmarks._child import rounds
from benchmarks._row import CannotRun, Row, Target
from benchmarks._slurm import slurm_environment, virtual_slurm
from benchmarks._submission import Running, Submission, submit

_SUITE = "[checks.os_noise]\nduration_s = {duration_s}\n"
#: Seconds of a job → what others add.
_LENGTHS = {5: "", 20: "ReFrame 1.3 s", 40: "ReFrame 5.0 s after 60 s, 9.8 s after 100 s"}
#: Modules that a batch script starts.
_DRIVERS = {"submitit.core._submit", "hpcaccept.launch.job.driver"}


def measure(quick: bool) -> list[Row]:
    """Jobs of three lengths and killed ones, in turn, one node each."""
    ended: dict[int, list[Submission]] = {length: [] for length in _LENGTHS}
    killed: list[float] = []
    with virtual_slurm(1) as slurm, tempfile.TemporaryDirectory() as folder:
        env = slurm_environment(slurm)
        submit(Path(folder), _SUITE.format(duration_s=0.1), env=env)
        for number in rounds(1 if quick else 3, budget_s=120, least=1):
            killed.append(_killed(Path(folder), env))
            for length, runs in ended.items():
                if length == min(_LENGTHS) or not (quick or (number == 2 and length == max(_LENGTHS))):
                    runs.append(submit(Path(folder), _SUITE.format(duration_s=float(length)), env=env))
    rows = []
    for length, runs in ended.items():
        if runs:
            exits = tuple(run.end - run.events["ended"] for run in runs)
            lines = tuple(run.first_line - run.events["ended"] for run in runs)
            what = f"a job of {length} s: its end → "
            rows.append(
                Row(f"{what}end of the command", "s", exits, target=Target("value", upper=1.0), cited=_LENGTHS[length])
            )
            rows.append(Row(f"{what}first line of the report", "s", lines))
    limit = Target("value", upper=5.0)
    cited = "submitit never (75 s)"
    rows.append(
        Row("a killed job, no accounting: kill → end of the command", "s", tuple(killed), target=limit, cited=cited)
    )
    return rows


def _killed(place: Path, env: dict[str, str]) -> float:
    run = Running(place, _SUITE.format(duration_s=60.0), env=env)
    folder = run.folder()
    until = time.monotonic() + 30
    while '"kind":"check_started"' not in "".join(file.read_text() for file in folder.glob("records/*/*.jsonl")):
        if time.monotonic() > until:
            run.finish(timeout_s=0.0)
        time.sleep(0.05)
    os.kill(_driver(folder, env["SLURM_CONF"]), signal.SIGKILL)
    begin = time.time()
    return run.finish(timeout_s=60).end - begin


def _driver(folder: Path, slurm_conf: str) -> int:
    """The process number of the job's driver: it names the run folder and belongs to our own cluster."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_text().split("\0")
                ours = f"SLURM_CONF={slurm_conf}" in (entry / "environ").read_text(errors="replace").split("\0")
            except OSError:
                continue
            if ours and _DRIVERS & set(words) and any(str(folder) in word for word in words):
                return int(entry.name)
    raise CannotRun(f"the driver of {folder.name} cannot be found")
