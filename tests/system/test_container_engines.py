"""A run in a container of Docker on a single machine, as far as a machine without Docker can tell: with a strict stand-in."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from support.engine_stand_in import DIGEST, docker_stand_in
from support.submission import Finished, noise, submit, suite_file

from hpcaccept.launch.job.this_machine import mpiexec

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.mpi


def _run(folder: Path, image: str, *words: str) -> Finished:
    place = docker_stand_in(folder)
    # Inside, mpiexec is the image's own.
    (place / "mpiexec").symlink_to(mpiexec())
    env = {"PATH": f"{place}:{os.environ['PATH']}", "HPCACCEPT_LAUNCHER": "local", "HPCACCEPT_PYTHON": sys.executable}
    inside = ["--container-runtime", "docker", "--container-image", image, *words]
    return submit(folder / "runs", suite_file(folder, noise(0.1)), "--nodes", "2", *inside, env=env).finish()


def test_all_ranks_run_in_one_container_that_is_removed_by_name(tmp_path: Path) -> None:
    done = _run(tmp_path, "team/hpcaccept:1", "--container-env", "NCCL_DEBUG=WARN")
    assert done.code == 0, done.out + done.err
    assert done.report["image"]["digest"] == f"sha256:{DIGEST}"
    identity = min(done.folder.glob("records/00/*.jsonl"))
    assert f'"image":"sha256:{DIGEST}"' in identity.read_text()
    asked = (tmp_path / "asked").read_text().splitlines()
    (started,) = [line for line in asked if line.startswith("run ")]
    assert "--env=NCCL_DEBUG " in started
    name = started.split("--name=")[1].split()[0]
    assert f"rm --force {name}" in asked


def test_an_image_that_is_not_there_is_no_nodes_fault(tmp_path: Path) -> None:
    done = _run(tmp_path, "team/nothing:1")
    assert done.code == 3, done.out + done.err
    assert not done.verdicts(outcome="FAIL")
    (ended,) = done.events("ended")
    assert "container: there is no such image" in ended["detail"]
    assert "make image" in ended["remedy"]
