"""One run is one attempt of one job, on the cluster that was asked for, whatever the shell it was typed in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.submission import command, noise, submit, suite_file

if TYPE_CHECKING:
    from system.cluster import VirtualSlurm

pytestmark = pytest.mark.mpi
#: Of a shell inside an allocation with other ideas, and of a site that wraps sbatch.
STRANGE = {
    "SBATCH_ARRAY_INX": "0-1",
    "SBATCH_EXPORT": "NONE",
    "SBATCH_REQUEUE": "1",
    "SBATCH_TIMELIMIT": "1",
    "SLURM_JOB_ID": "4711",
    "SLURM_NTASKS_PER_NODE": "7",
    "SLURM_MEM_PER_CPU": "10",
    "SLURM_MEM_PER_NODE": "20",
    "SLURM_DISTRIBUTION": "cyclic",
}


def asked(slurm: VirtualSlurm, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, env={**os.environ, **slurm.env}, capture_output=True, text=True, check=False)


def test_a_job_takes_nothing_from_the_shell_it_was_typed_in(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    suite = suite_file(tmp_path, noise(0.1))
    done = submit(tmp_path / "runs", suite, "--nodes", "2", env={**plain_slurm.env, **STRANGE}).finish()
    assert done.code == 0, done.out + done.err
    assert len(list((tmp_path / "runs").glob("*/plan.json"))) == 1
    assert not done.events("started_again")


def test_no_module_of_the_folder_where_it_was_typed_is_imported(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    for name in ("queue", "signal", "resource", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')\n")
    words = ["submit", "--suite", str(suite_file(tmp_path, noise(0.1))), "--nodes", "1", "--gpus-per-node", "0"]
    for more in ([], ["--launcher", "local"]):
        done = subprocess.run(
            [str(Path(sys.executable).parent / "hpcaccept"), *words, *more],
            cwd=tmp_path, env={**os.environ, **plain_slurm.env}, capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_second_start_measures_nothing_and_changes_no_verdict(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    done = submit(tmp_path / "runs", suite_file(tmp_path, noise(0.1)), "--nodes", "2", env=plain_slurm.env).finish()
    assert done.code == 0, done.out
    job = json.loads((done.folder / "job.json").read_text())["id"]
    assert "Requeue=0" in asked(plain_slurm, "scontrol", "show", "job", job).stdout
    refused = asked(plain_slurm, "scontrol", "requeue", job)
    assert refused.returncode, "Slurm itself starts it no second time"
    # Where an administrator, or another scheduler, starts it all the same:
    again = subprocess.run(
        [sys.executable, "-m", "hpcaccept.launch.job.driver", str(done.folder)],
        env={**os.environ, **plain_slurm.env, "SLURM_JOB_ID": job, "SLURM_RESTART_COUNT": "1"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert again.returncode == 3
    report = command("report", str(done.folder), "--format", "json", "--runs-dir", str(tmp_path / "runs"))
    told = json.loads(report.stdout)
    assert (told["exit_code"], told["nodes"]) == (0, done.report["nodes"])
    (event,) = [e for e in told["events"] if e["kind"] == "started_again"]
    assert f"SLURM_JOB_ID={job} SLURM_RESTART_COUNT=1" in event["detail"]
    assert any("came back" in note for note in told["notes"])


@pytest.mark.parametrize("words", [[], ["--partition", "gpu", "--nodelist", "gpu[01-02]"]])
def test_where_slurm_does_not_answer_nothing_is_tested_in_its_place(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "slurm.conf").write_text("ClusterName=far\nSlurmctldHost=localhost\nSlurmctldPort=1\nNodeName=n\n")
    env = {"SLURM_CONF": str(tmp_path / "slurm.conf"), "HPCACCEPT_LAUNCHER": "auto"}
    suite = suite_file(tmp_path, noise(0.1))
    done = submit(tmp_path / "runs", suite, "--nodes", "2", *words, env=env).finish()
    assert done.code == 3, done.out + done.err
    assert "Nothing was tested" in done.err
    assert "--launcher local" in done.err
    assert not list((tmp_path / "runs").glob("*"))


def test_a_node_that_slurm_does_not_give_is_not_made_up(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    suite = suite_file(tmp_path, noise(0.1))
    done = submit(tmp_path / "runs", suite, "--nodes", "4", "--slurm", "nodes=1", env=plain_slurm.env).finish()
    assert done.code == 2
    assert "slurm option 'nodes'" in done.err
    assert "Say --nodes" in done.err
