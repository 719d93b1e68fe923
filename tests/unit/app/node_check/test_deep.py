from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hpcaccept.app.node_check.deep import JobCame, measure_deep, step_of_a_job
from hpcaccept.app.node_check.state import read_deep, write_deep
from hpcaccept.model.node_check import Deep, Expected

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    for number, name in ((1, "systemd"), (77, "slurmd")):
        (tmp_path / "proc" / str(number)).mkdir(parents=True)
        (tmp_path / "proc" / str(number) / "comm").write_text(f"{name}\n")
    return tmp_path / "proc"


def test_a_job_is_seen_by_its_step_and_slurmd_alone_is_none(proc: Path) -> None:
    assert step_of_a_job(proc) is None
    (proc / "78").mkdir()
    (proc / "78/comm").write_text("slurmstepd\n")
    assert step_of_a_job(proc) == 78


def test_nothing_is_measured_beside_a_job_and_what_was_kept_stays(proc: Path, tmp_path: Path) -> None:
    (proc / "77/comm").write_text("slurmstepd\n")
    kept = Deep(1.0, "boot", "FIT", "/runs/1", "quick")
    write_deep(tmp_path, kept)
    with pytest.raises(JobCame, match="a job is running"):
        measure_deep(Expected(), tmp_path, "quick", tmp_path / "runs", lambda _at: None, proc)
    assert read_deep(tmp_path) == kept
    assert not (tmp_path / "runs").exists()
