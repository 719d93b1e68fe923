"""Containers that ended runs have left on a node: which are removed, run by a shell with stand-ins for enroot and squeue."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from hpcaccept import container
from hpcaccept.model.plan import Image

IMAGE = Image("pyxis", "/shared/x.sqsh", name="hpcaccept-NOW")
LEFT = ("pyxis_hpcaccept-20261129-1", "pyxis_41_hpcaccept-20261128-2")
OTHERS = (
    "pyxis_41.0",
    "pyxis_torch",
    "hpcaccept-of-mine",
    "pyxis_my_hpcaccept-x",
    "pyxis_hpcaccept-NOW",
    "pyxis_77_hpcaccept-NOW",
)


@dataclass
class Node:
    folder: Path

    def sweep(self, squeue: str = "echo 77") -> list[str]:
        """What the sweep prints on this node."""
        for name, text in {
            "enroot": f'case $1 in list) cat {self.folder}/there ;; remove) echo "$3" >>{self.folder}/removed ;; *) exit 9 ;; esac',
            "squeue": f'[ "${{SQUEUE_FORMAT-unset}}" = unset ] || exit 9\n{squeue}',
        }.items():
            (self.folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (self.folder / name).chmod(0o755)
        env = {
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "SLURMD_NODENAME": "node3",
            "SLURM_JOB_ID": "77",
            "SQUEUE_FORMAT": "%i",
        }
        command = container.load("pyxis").before_job(IMAGE)
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.splitlines()

    def removed(self) -> set[str]:
        file = self.folder / "removed"
        return set(file.read_text().splitlines()) if file.exists() else set()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    (tmp_path / "there").write_text("".join(f"{name}\n" for name in (*LEFT, *OTHERS)))
    return Node(tmp_path)


def test_what_bears_our_name_and_is_not_this_runs_is_removed_and_told(node: Node) -> None:
    assert node.sweep() == [f"node3 {name}" for name in LEFT]
    assert node.removed() == set(LEFT)


@pytest.mark.parametrize("squeue", ["echo 77; echo 78", "echo 76", "exit 1"])
def test_while_another_job_of_the_user_may_be_on_the_node_nothing_is_removed(node: Node, squeue: str) -> None:
    assert node.sweep(squeue) == []
    assert node.removed() == set()


def test_without_a_name_of_its_own_a_run_removes_nothing() -> None:
    assert container.load("pyxis").before_job(Image("pyxis", "/shared/x.sqsh")) == ()
