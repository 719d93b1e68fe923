"""One run is one attempt of one job, on the cluster that was asked for, whatever the shell it was typed in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.left_over import processes_of
from support.submission import command, noise, submit, suite_file

if TYPE_CHECKING:
    from support.submission import Submission
    from system.cluster import VirtualSlurm

pytestmark = pytest.mark.mpi
#: Of a shell inside an allocation with other ideas.
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
    # As salloc sets them for --ntasks-per-gpu, --gpus-per-task, --cpus-per-gpu and for a heterogeneous job.
    "SLURM_NTASKS_PER_GPU": "2",
    "SLURM_GPUS": "2",
    "SLURM_GPUS_PER_TASK": "1",
    "SLURM_GPU_BIND": "single:1",
    "SLURM_CPUS_PER_GPU": "1",
    "SLURM_CPUS_PER_TASK": "2",
    "SLURM_TRES_PER_TASK": "cpu:2",
    "SLURM_HET_SIZE": "2",
    "SLURM_PACK_SIZE": "2",
    "SLURM_JOB_ID_HET_GROUP_0": "4711",
    "SLURM_JOB_ID_HET_GROUP_1": "4712",
    "SLURM_NTASKS_HET_GROUP_1": "7",
}


def asked(slurm: VirtualSlurm, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, env={**os.environ, **slurm.env}, capture_output=True, text=True, check=False)


#: Of a shell in which somebody works; the last one is needed inside, and named.
TOKENS = {
    "HF_TOKEN": "hf_planted", "WANDB_API_KEY": "planted", "AWS_SECRET_ACCESS_KEY": "planted", "AZURE_CLIENT_SECRET": "planted",
    "GITHUB_TOKEN": "planted", "SMTP_PASSWORD": "planted", "PIP_INDEX_URL": "https://me:planted@packages.example/simple",
    "NGC_API_KEY": "kept", "HPCACCEPT_KEEP_VARIABLES": "NGC_API_KEY",
}  # fmt: skip


def environment_of(pid: int) -> dict[str, str]:
    raw = Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace")
    return dict(part.split("=", 1) for part in raw.split("\0") if "=" in part)


def no_secret_is_seen(run: Submission) -> None:
    """In none of the processes of a run while it measures."""
    rank = run.pid(1, check="os_noise")
    there = processes_of(run.folder())
    assert rank in there
    assert any("hpcaccept.launch.job.driver" in words for words in there.values())
    for pid, words in there.items():
        seen = environment_of(pid)
        assert "planted" not in " ".join(seen.values()), words
        assert seen["NGC_API_KEY"] == "kept", words


def test_no_secret_of_the_shell_is_seen_in_driver_launcher_or_ranks(tmp_path: Path) -> None:
    run = submit(tmp_path / "runs", suite_file(tmp_path, noise(1.0)), "--nodes", "2", "--launcher", "local", env=TOKENS)
    no_secret_is_seen(run)
    assert run.finish().code == 0


def test_a_job_takes_nothing_from_the_shell_it_was_typed_in(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    suite = suite_file(tmp_path, noise(1.0))
    run = submit(tmp_path / "runs", suite, "--nodes", "2", env={**plain_slurm.env, **STRANGE, **TOKENS})
    no_secret_is_seen(run)
    done = run.finish()
    assert done.code == 0, done.out + done.err
    assert len(list((tmp_path / "runs").glob("*/plan.json"))) == 1
    assert not done.events("started_again")


def test_a_shell_inside_another_job_is_a_shell_like_any_other(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    suite, runs = suite_file(tmp_path, noise(0.1)), tmp_path / "runs"
    allocation = ("salloc", "-N1", "--ntasks-per-gpu=2", "--gpus=2", "--mem-per-cpu=100", ":", "-N1", "-n1")
    typed = ("submit", "--launcher", "slurm", "--suite", str(suite), "--runs-dir", str(runs), "--nodes", "2")
    done = subprocess.run(
        [*allocation, sys.executable, "-m", "hpcaccept", *typed],
        env={**os.environ, **plain_slurm.env, "HPCACCEPT_GPUS_PER_NODE": "0"},
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = runs.glob("*/job.json")
    shown = asked(plain_slurm, "scontrol", "show", "job", json.loads(folder.read_text())["id"]).stdout
    assert "NumNodes=2" in shown
    assert "HetJob" not in shown


@pytest.mark.parametrize("name", ["50%x of %j, Ümlaut", "back\\slash %j", 'it\'s \\\\ "50%%"'])
def test_a_run_folder_may_have_any_name(tmp_path: Path, plain_slurm: VirtualSlurm, name: str) -> None:
    runs = tmp_path / name
    suite = suite_file(tmp_path, noise(0.1))
    done = submit(runs, suite, "--nodes", "2", "--slurm", r"comment=a\b", env=plain_slurm.env).finish()
    assert done.code == 0, done.out + done.err
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_dir()] == [name]
    assert len(list(done.folder.glob("logs/*_0_log.out"))) == 1
    job = json.loads((done.folder / "job.json").read_text())["id"]
    shown = asked(plain_slurm, "scontrol", "show", "job", job).stdout
    assert f"WorkDir={done.folder}\n" in shown
    assert r"Comment=a\b" in shown


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


def test_the_numbers_of_a_sites_banners_are_no_jobs(tmp_path: Path, plain_slurm: VirtualSlurm) -> None:
    """Sites wrap sbatch to tell of quotas and maintenance; what they print may look like the answer of --parsable."""
    wrapper = tmp_path / "bin" / "sbatch"
    wrapper.parent.mkdir()
    wrapper.write_text(
        f"#!/bin/sh\necho 'Welcome to cluster 7: 20 of 100 TB are used.'\necho 1024\n{shutil.which('sbatch')} \"$@\"\ncode=$?\n"
        "echo 4711\necho '42 jobs are waiting.'\necho 20261129\nexit $code\n"
    )
    wrapper.chmod(0o755)
    env = {**plain_slurm.env, "PATH": f"{wrapper.parent}:{os.environ['PATH']}"}
    done = submit(tmp_path / "runs", suite_file(tmp_path, noise(0.1)), "--nodes", "1", env=env).finish()
    assert done.code == 0, done.out + done.err
    job = json.loads((done.folder / "job.json").read_text())["id"]
    assert f"WorkDir={done.folder}" in asked(plain_slurm, "scontrol", "show", "job", job).stdout


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
