"""How long until the first verdict on a machine without Slurm and GPU, once hpcaccept is installed?"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks._child import environment, rounds
from benchmarks._row import Row, Target
from benchmarks._submission import submit


def measure(quick: bool) -> list[Row]:
    """The cpu suite on four virtual nodes, from the command to the end of the report; every run counts."""
    env = environment(HPCACCEPT_GPUS_PER_NODE="0")
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            submit(Path(folder), "cpu", "--launcher", "local", "--nodes", "4", env=env, timeout_s=240)
            for _ in rounds(1 if quick else 2, budget_s=45, least=1)
        ]
    what = "submit --nodes 4, suite cpu, 4 virtual nodes: verdict"
    return [Row(what, "s", tuple(run.wall_s for run in runs), target=Target("value", upper=90.0))]
