"""A rank that finds itself in another MPI world than was asked for measures nothing, and says what does not fit."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.builders import nodes, plan, suite

from hpcaccept.model.record import Record
from hpcaccept.model.suite import CheckSpec
from hpcaccept.rank import EXIT_CANNOT_START
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.journal import read

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.mpi
def test_a_rank_that_no_launcher_has_started_is_alone_and_says_so(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create()
    the_plan = plan(suite(CheckSpec("identity"), CheckSpec("matmul")), gpus_per_node=0)
    folder.write_plan(the_plan)
    step = the_plan.first_step(nodes(2))
    folder.write_step(step)
    foreign = ("SLURM_", "PMI_", "PMIX_", "OMPI_COMM_")
    env = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    command = [sys.executable, "-m", "hpcaccept.rank", str(folder.path), step.id]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == EXIT_CANNOT_START, done.stderr
    (journal,) = folder.records(step.id).glob("*.jsonl")
    records = [word for word in read(journal) if isinstance(word, Record)]
    assert [record.check for record in records] == ["identity", "matmul"]
    for record in records:
        assert record.outcome == "error"
        assert "MPI cannot join: this rank found itself alone, in an MPI world of 1, expected 2" in record.cause
        assert record.interruption == "stray"
        assert "srun --mpi=list" in record.remedy


def test_a_rank_whose_program_brings_mpi_must_be_told_its_number(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create()
    the_plan = plan(suite(CheckSpec("nccl_tests_world")), gpus_per_node=8)
    folder.write_plan(the_plan)
    step = the_plan.first_step(nodes(2))
    folder.write_step(step)
    foreign = ("SLURM_", "PMI_", "PMIX_", "OMPI_COMM_")
    env = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    command = [sys.executable, "-m", "hpcaccept.rank", str(folder.path), step.id]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == EXIT_CANNOT_START, done.stderr
    (journal,) = folder.records(step.id).glob("*.jsonl")
    (record,) = [word for word in read(journal) if isinstance(word, Record)]
    assert (record.outcome, record.cause) == ("error", "the launcher does not say which rank this process is")
