"""What an ordinary user is shown and told by a real Slurm: hidden partitions, drained nodes, refusals, each with what to type."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.submission import noise, submit, suite_file, until

from hpcaccept.app.doctor.login import partition
from hpcaccept.launch import slurm
from hpcaccept.model.job import JobRef

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from system.cluster import VirtualSlurm

pytestmark = [pytest.mark.slurm, pytest.mark.mpi]
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def ask(slurm: VirtualSlurm, *words: str) -> str:
    done = subprocess.run(words, env={**os.environ, **slurm.env}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def users_path(tmp_path: Path) -> str:
    """A PATH on which whoever asks Slurm is nobody; Python itself lies where only root may read."""
    folder = tmp_path / "nobody"
    folder.mkdir()
    for name in ("scontrol", "sinfo", "squeue", "sacct"):
        (folder / name).write_text(f'#!/bin/sh\nexec {" ".join(NOBODY)} {shutil.which(name)} "$@"\n')
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.fixture
def hidden(plain_slurm: VirtualSlurm) -> Iterator[VirtualSlurm]:
    """With a partition that ordinary users are not shown."""
    ask(plain_slurm, "scontrol", "create", "partitionname=secret", "nodes=node0,node1", "hidden=yes", "state=up")
    yield plain_slurm
    ask(plain_slurm, "scancel", "--partition=secret")  # what a test that has failed has left
    until(lambda: not ask(plain_slurm, "squeue", "-a", "-h", "-p", "secret"), 30)
    ask(plain_slurm, "scontrol", "delete", "partitionname=secret")


def test_a_user_may_test_a_partition_that_is_hidden(
    tmp_path: Path, hidden: VirtualSlurm, users_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {**hidden.env, "PATH": users_path, "SQUEUE_STATES": "PD", "SINFO_PARTITION": "small"}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert slurm.default_gpus("secret") == slurm.default_gpus("") == 8
    now = slurm.cluster_now("secret")
    assert [node.name for node in now.nodes if "secret" in node.partitions] == ["node0", "node1"]
    assert "secret" in [found.name for found in partition.ask(None).partitions]  # type: ignore[arg-type]
    job = ask(
        hidden,
        *NOBODY,
        "sbatch",
        "--parsable",
        "-p",
        "secret",
        "-t",
        "5",
        "-o",
        "/dev/null",
        "--comment=word-7",
        "--wrap=sleep 60",
    )
    until(lambda: slurm.status(JobRef("slurm", job)).state == "running", 30)
    found = slurm.find_job("word-7")
    assert found
    assert found.id == job
    assert 200 < (slurm.seconds_left({"SLURM_JOB_ID": job}) or 0) <= 300
    ask(hidden, "scancel", job)
    done = submit(
        tmp_path / "runs", suite_file(tmp_path, noise(0.1)), "--nodes", "2", "--partition", "secret", env=env
    ).finish()
    assert done.code == 0, done.out + done.err


@pytest.fixture
def drained(plain_slurm: VirtualSlurm) -> Iterator[VirtualSlurm]:
    """With one node that an administrator has taken out."""
    update = ("scontrol", "update", "nodename=node3")
    ask(plain_slurm, *update, "state=drain", "reason=bad DIMM in slot 3, ticket #42")
    yield plain_slurm
    ask(plain_slurm, *update, "state=resume")


def test_a_drained_node_is_told_before_the_queue_with_what_fits(tmp_path: Path, drained: VirtualSlurm) -> None:
    suite, before = suite_file(tmp_path, noise(0.1)), ask(drained, "squeue", "-h", "-o", "%i")
    done = submit(tmp_path / "runs", suite, "--nodes", "4", env=drained.env).finish()
    assert done.code == 3, done.out + done.err
    assert "3 of 4 nodes can be used" in done.err
    assert "node3 drain: bad DIMM in slot 3, ticket #42 (root, " in done.err
    assert "--nodes 3" in done.err
    assert not list((tmp_path / "runs").glob("*"))
    assert set(ask(drained, "squeue", "-h", "-o", "%i").split()) <= set(before.split())


def test_what_was_typed_wins_over_the_shell_and_a_wrong_partition_is_told_with_the_right_ones(
    tmp_path: Path, plain_slurm: VirtualSlurm
) -> None:
    suite, env = suite_file(tmp_path, noise(0.1)), {**plain_slurm.env, "SBATCH_PARTITION": "small"}
    wrong = submit(tmp_path / "runs", suite, "--nodes", "1", "--partition", "gpus", env=env).finish()
    assert wrong.code == 3
    assert "there is no 'gpus', expected one of gpu, small, down" in " ".join(wrong.err.split())
    done = submit(tmp_path / "runs", suite, "--nodes", "1", "--partition", "gpu", env=env).finish()
    assert done.code == 0, done.out + done.err
    job = json.loads((done.folder / "job.json").read_text())["id"]
    assert "Partition=gpu" in ask(plain_slurm, "scontrol", "show", "job", job)
