"""This machine as a cluster: virtual nodes, mpiexec, a driver that is a process."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from support.builders import plan, step

from hpcaccept import launch
from hpcaccept.errors import UsageError
from hpcaccept.launch import local, slurm
from hpcaccept.launch.job import this_machine
from hpcaccept.model.job import JobRef
from hpcaccept.store.folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("nodelist", "count", "names"),
    [("", 3, ("node0", "node1", "node2")), ("gpu[01-02],big7", 3, ("big7", "gpu01", "gpu02"))],
)
def test_virtual_nodes_have_the_names_that_were_asked_for(nodelist: str, count: int, names: tuple[str, ...]) -> None:
    assert tuple(sorted(local.nodes(plan(nodes=count, nodelist=nodelist), {}))) == names


def test_a_step_is_one_mpiexec_of_all_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "mpiexec", lambda: "/usr/bin/mpiexec")
    command = local.step_command(plan(), step(("identity",), 4, 2, id="03"), RunFolder(tmp_path))
    assert command == ("/usr/bin/mpiexec", "-n", "8", "python3", "-m", "hpcaccept.rank", str(tmp_path), "03")


def test_mpiexec_beside_this_python_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("python", "mpiexec"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert this_machine.mpiexec() == str(tmp_path / "mpiexec")


def test_without_mpiexec_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "pip install '.[mpi]'" in local.available()


def test_ranks_do_not_believe_that_they_run_under_a_scheduler() -> None:
    environ = {"SLURM_JOB_ID": "7", "PMIX_RANK": "0", "OMPI_COMM_WORLD_RANK": "3", "PMI_FD": "5", "HOME": "/root"}
    found = local.step_environment(environ)
    assert not any(key.startswith(("SLURM_", "PMIX_", "PMI_", "OMPI_COMM_")) for key in found)
    assert found["HOME"] == "/root"
    assert found["OMPI_ALLOW_RUN_AS_ROOT"] == "1"


@pytest.mark.parametrize("name", ["I_MPI_PIN", "MV2_ENABLE_AFFINITY", "MVP_ENABLE_AFFINITY"])
def test_no_mpi_pins_ranks_unless_the_user_wants_it(name: str) -> None:
    for launcher in (local, slurm):
        assert launcher.step_environment({})[name] == "0"
        assert launcher.step_environment({name: "1"})[name] == "1"


def test_what_the_user_set_for_open_mpi_wins() -> None:
    found = local.step_environment({"OMPI_MCA_mpi_yield_when_idle": "0"})
    assert found["OMPI_MCA_mpi_yield_when_idle"] == "0"


def test_under_slurm_the_steps_do_not_inherit_what_sbatch_was_asked() -> None:
    found = slurm.step_environment({"SLURM_CPUS_PER_TASK": "8", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_ID": "7"})
    assert "SLURM_CPUS_PER_TASK" not in found
    assert "SLURM_NTASKS_PER_NODE" not in found
    assert found["SLURM_JOB_ID"] == "7"


def test_a_driver_on_another_machine_is_not_judged_from_here() -> None:
    status = local.status(JobRef("local", "1", host="elsewhere"))
    assert status.state == "lost"
    assert "ssh elsewhere" in status.remedy


def test_a_later_process_with_the_same_number_is_not_the_driver() -> None:
    mine = JobRef("local", str(os.getpid()), started=1.0, host=os.uname().nodename)
    assert local.status(mine).state == "lost"
    local.cancel(mine)  # must not touch this process


def test_the_drivers_process_is_running() -> None:
    import psutil

    started = psutil.Process(os.getpid()).create_time()
    status = local.status(JobRef("local", str(os.getpid()), started=started, host=os.uname().nodename))
    assert status.state == "running"


# --- which launcher ---------------------------------------------------------------------------------------------------


def test_launchers_are_found_by_their_files() -> None:
    assert {"local", "slurm"} <= set(launch.names())
    assert not {"job", "driver", "events", "retest"} & set(launch.names())


def test_an_unknown_launcher_is_told_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"'slrum'(?s:.*)Did you mean 'slurm'\?"):
        launch.choose("slrum")


@pytest.mark.parametrize(("slurm_says", "chosen"), [("", "slurm"), ("there is no sbatch on the PATH.", "local")])
def test_auto_is_slurm_where_one_answers(monkeypatch: pytest.MonkeyPatch, slurm_says: str, chosen: str) -> None:
    monkeypatch.setattr(slurm, "available", lambda: slurm_says)
    assert launch.choose("auto") == chosen


def test_a_launcher_that_was_named_and_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "available", lambda: "no Slurm controller answers")
    with pytest.raises(UsageError, match="cannot be used here: no Slurm controller answers"):
        launch.choose("slurm")


@pytest.mark.parametrize("name", launch.names())
def test_a_launcher_has_all_that_the_protocol_asks(name: str) -> None:
    wanted = [key for key, value in vars(launch.Launcher).items() if callable(value) and not key.startswith("_")]
    assert wanted
    for key in wanted:
        assert callable(getattr(launch.load(name), key)), key
