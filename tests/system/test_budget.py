"""A budget is the limit of the job: on a real Slurm by its --time, and where no scheduler ends a job by its driver."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from support.submission import command, noise, submit, suite_file, until

from hpcaccept.launch.job.driver import TIME_IS_UP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from system.cluster import VirtualSlurm

pytestmark = pytest.mark.mpi
#: A check that may take longer than the budget, as nobody knows better.
LATER = '[checks."os_noise:later"]\nduration_s = 0.1\ndeadline_s = 1000\n'


def asked(slurm: VirtualSlurm, *words: str) -> str:
    env = {**os.environ, **slurm.env}
    return subprocess.run(words, env=env, capture_output=True, text=True, check=True, timeout=60).stdout


@contextmanager
def drained(slurm: VirtualSlurm, node: str, reason: str) -> Iterator[None]:
    """A node out of service; afterwards it is idle again."""
    asked(slurm, "scontrol", "update", f"nodename={node}", "state=drain", f"reason={reason}")
    try:
        yield
    finally:
        asked(slurm, "scontrol", "update", f"nodename={node}", "state=resume")
        until(lambda: asked(slurm, "sinfo", "-h", "-N", "-n", node, "-o", "%T").split()[:1] == ["idle"], 90)


def test_all_nodes_within_a_budget_on_a_real_slurm(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    suite, runs = suite_file(tmp_path, noise(0.1) + LATER), tmp_path / "runs"
    budget = ("--all", "--budget", "3m")
    with drained(plain_slurm, "node3", "bad DIMM"):
        done = submit(runs, suite, *budget, env=plain_slurm.env).finish()
        env = {**plain_slurm.env, "HPCACCEPT_GPUS_PER_NODE": "0"}
        again = command("plan", "--suite", str(suite), "--runs-dir", str(runs), *budget, "--json", env=env)
    assert done.code == 0, done.out + done.err
    assert "node3: is drain (bad DIMM" in done.err
    assert "Not judged: os_noise:later" in " ".join(done.out.split())
    assert "os_noise:later" in done.report["left_out"]
    shown = asked(plain_slurm, "scontrol", "show", "job", json.loads((done.folder / "job.json").read_text())["id"])
    assert "TimeLimit=00:03:00" in shown
    assert "NodeList=node[0-2]" in shown
    kept = json.loads((done.folder / "budget.json").read_text())
    assert kept["budget_s"] == 180.0
    assert kept["planned_s"] <= 180.0
    assert [one["check"] for one in kept["left_out"]] == ["os_noise:later"]
    # The next plan knows what these checks take.
    told = json.loads(again.stdout)
    assert {one["check"]: one["source"] for one in told["checks"]}["os_noise"] == "1 run on 3 nodes"
    assert told["planned_s"] < kept["planned_s"]


def test_a_job_that_no_scheduler_ends_is_ended_by_its_driver(tmp_path: Path) -> None:
    suite = suite_file(tmp_path, noise(300.0, deadline_s=900.0))
    done = submit(tmp_path / "runs", suite, "--launcher", "local", "--nodes", "1", "--time", "0:25").finish()
    assert done.code == 3, done.out + done.err
    assert [event["detail"] for event in done.events("ended")] == [TIME_IS_UP]
