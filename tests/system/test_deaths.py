"""A rank is killed under MPIs that end all others at once: it is named alone, and the rest is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from faults.deaths import DEATHS, Cell, result_of, run
from support.other_mpis import MPICH, OPEN_MPI_5, Mpi

if TYPE_CHECKING:
    from pathlib import Path

    from system.cluster import VirtualSlurm

IN_A_CHECK = next(death for death in DEATHS if death.name == "killed in a check")
pytestmark = pytest.mark.mpi


def _killed(mpi: Mpi, launcher: str, env: dict[str, str], folder: Path) -> None:
    cell = Cell(mpi, launcher, IN_A_CHECK)
    if cell.why_not:
        pytest.skip(cell.why_not)
    done = run(cell, 0, env, folder)
    result = result_of(IN_A_CHECK, done)
    assert (result.named, result.blamed, result.unmeasured) == (True, (), ()), done.out + done.err


def test_under_open_mpi_5_and_srun_survivors_that_end_first_are_not_blamed(
    tmp_path: Path, plain_slurm: VirtualSlurm
) -> None:
    _killed(OPEN_MPI_5, "slurm", plain_slurm.env, tmp_path)


def test_under_hydra_that_kills_everybody_at_once_the_others_are_not_blamed(tmp_path: Path) -> None:
    _killed(MPICH, "local", {}, tmp_path)
