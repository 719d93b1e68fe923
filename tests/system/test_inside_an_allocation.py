"""The suite inside an allocation that somebody already holds: by ``salloc``, and in a shell of ``srun`` with a task on each node."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.submission import ROOT, noise, suite_file

if TYPE_CHECKING:
    from pathlib import Path

    from system.cluster import VirtualSlurm

pytestmark = pytest.mark.mpi

SCRIPT = ROOT / "sbatch" / "multi_node_ddp.sbatch"


@pytest.mark.parametrize("holder", ["salloc -N2 --exclusive", "srun -N2 --exclusive"])
def test_the_script_runs_its_suite_once_on_the_nodes_that_are_held(
    plain_slurm: VirtualSlurm, tmp_path: Path, holder: str
) -> None:
    runs, suite = tmp_path / "runs", suite_file(tmp_path, noise(0.1))
    settings = {
        "RUNS_DIR": str(runs),
        "SUITE": str(suite),
        "PYTHON": sys.executable,
        "HPCACCEPT_GPUS_PER_NODE": "0",
        "HPCACCEPT_HISTORY": str(tmp_path / "past"),
    }
    done = subprocess.run(
        [*shlex.split(holder), "bash", str(SCRIPT)],
        env={**os.environ, **plain_slurm.env, **settings},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    (folder,) = (path for path in runs.iterdir() if path.is_dir())
    report = json.loads((folder / "report.json").read_text("utf-8"))
    assert {verdict["node"] for verdict in report["verdicts"] if verdict["check"] == "os_noise"} == {"node0", "node1"}
    assert said.count("ACCEPTED: 2 of 2 nodes passed") == 1
