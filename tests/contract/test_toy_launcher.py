"""A new launcher is one new file: this one, which nothing else knows, is submitted to, asked, awaited, cancelled and examined."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from support.submission import command, noise, submit, suite_file, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.mpi

#: The whole launcher: virtual nodes by names of its own, on this machine.
TOY = """
from pathlib import Path

from hpcaccept.launch.job.defaults import (
    as_job, begun, behind_others, cluster_now, default_mpi, everywhere, find_job, missing_words, outside_environment,
    seconds_left, unreachable, withdraw,
)
from hpcaccept.launch.job.driver import driver_command
from hpcaccept.launch.job.this_machine import cancel, mpiexec, no_mpiexec, status, step_environment, submit
from hpcaccept.model.job import Rendered
from hpcaccept.model.launcher import LauncherTraits
from hpcaccept.serial import dumps

TRAITS = LauncherTraits(provides=frozenset({"mpiexec"}), summary="toys in a box", virtual=True)


def available():
    return "the box is closed." if (Path(__file__).parent / "closed").exists() else no_mpiexec()


def default_gpus(partition):
    return 0


def nodes(plan, environ):
    return tuple(f"toy{number}" for number in range(plan.request.nodes))


def step_command(plan, step, folder):
    rank = (plan.image.python, "-m", "hpcaccept.rank", str(folder.path), step.id)
    return (mpiexec(), "-n", str(step.ranks), *rank)


def render(plan, folder):
    return Rendered({str(folder.plan_file): dumps(plan)}, (("the driver", driver_command(folder)),))
"""
#: What an installed package will do for its launchers: make their folder one of ``hpcaccept.launch``.
AT_START = "import hpcaccept.launch\nhpcaccept.launch.__path__.append({box!r})\n"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """What makes every Python of a test know the toy."""
    box, start = tmp_path / "box", tmp_path / "start"
    box.mkdir()
    start.mkdir()
    (box / "toy.py").write_text(TOY)
    (start / "sitecustomize.py").write_text(AT_START.format(box=str(box)))
    return {"PYTHONPATH": str(start), "HPCACCEPT_LAUNCHER": "toy", "HPCACCEPT_GPUS_PER_NODE": "0"}


def test_a_run_goes_from_command_to_verdict(tmp_path: Path, env: dict[str, str]) -> None:
    done = submit(tmp_path / "runs", suite_file(tmp_path, noise(0.1)), "-N", "2", env=env).finish()
    assert done.code == 0, done.out + done.err
    assert done.report["nodes"] == {"toy0": "PASS", "toy1": "PASS"}
    assert done.report["launcher"] == "toy"
    assert json.loads((done.folder / "job.json").read_text())["launcher"] == "toy"


def test_a_run_can_be_left_asked_about_waited_for_and_shown_before(tmp_path: Path, env: dict[str, str]) -> None:
    suite, runs = suite_file(tmp_path, noise(3.0)), ("--runs-dir", str(tmp_path / "runs"))
    dry = command("submit", "--suite", str(suite), *runs, "--dry-run", env=env)
    assert "hpcaccept.launch.job.driver" in dry.stdout, dry.stderr
    left = submit(tmp_path / "runs", suite, "-N", "2", "--no-wait", env=env).finish(30)
    assert left.code == 0
    assert "running" in command("status", *runs, env=env).stdout
    back = command("wait", *runs, env=env)
    assert back.returncode == 0, back.stdout + back.stderr
    assert "ended" in command("status", *runs, env=env).stdout


def test_a_run_can_be_cancelled(tmp_path: Path, env: dict[str, str]) -> None:
    run = submit(tmp_path / "runs", suite_file(tmp_path, noise(60.0, deadline_s=400)), "-N", "2", env=env)
    run.pid(0)
    begin = time.monotonic()
    ended = command("cancel", "latest", "--runs-dir", str(tmp_path / "runs"), env=env)
    assert ended.returncode == 0, ended.stderr
    assert run.finish(30).code == 3
    assert time.monotonic() - begin < 25
    until(lambda: "running" not in command("status", "--runs-dir", str(tmp_path / "runs"), env=env).stdout, 20)


def test_the_doctor_looks_along_its_path(tmp_path: Path, env: dict[str, str]) -> None:
    words = ("doctor", "--json", "-N", "2", "--suite", str(suite_file(tmp_path, noise(0.1))))
    done = command(*words, "--runs-dir", str(tmp_path / "runs"), env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    marks = {finding["look"]: finding["mark"] for finding in json.loads(done.stdout)["findings"]}
    assert marks["mpiexec"] == marks["job"] == marks["MPI world"] == "ok"
    assert "Slurm" not in marks
    assert not (tmp_path / "runs").exists()


def test_the_doctor_says_why_it_cannot_be_used(tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "box" / "closed").touch()
    done = command("doctor", "--json", "--quick", "--runs-dir", str(tmp_path / "runs"), env=env)
    assert done.returncode == 3, done.stdout + done.stderr
    wrong = [finding for finding in json.loads(done.stdout)["findings"] if finding["mark"] == "wrong"]
    assert [(finding["look"], finding["found"]) for finding in wrong] == [("launcher", "the box is closed")]


def test_help_and_errors_name_it(tmp_path: Path, env: dict[str, str]) -> None:
    assert "toy (toys in a box)" in " ".join(command("submit", "--help", env=env).stdout.split())
    wrong = command("submit", "-l", "toyy", "--runs-dir", str(tmp_path / "runs"), env=env)
    assert wrong.returncode == 2
    assert "Did you mean 'toy'?" in wrong.stderr


def test_a_runtime_that_it_cannot_start_is_refused_by_what_it_lacks(tmp_path: Path, env: dict[str, str]) -> None:
    words = (
        "submit",
        "--container-image",
        "x:1",
        "--container-runtime",
        "docker",
        "--runs-dir",
        str(tmp_path / "runs"),
    )
    refused = command(*words, env=env)
    assert refused.returncode == 2
    assert "the launcher 'toy' cannot use; it needs local" in refused.stderr


def test_auto_never_chooses_what_has_no_priority(env: dict[str, str]) -> None:
    told = command("submit", "--dry-run", "-s", "cpu", env={**env, "HPCACCEPT_LAUNCHER": "auto", "PATH": "/nowhere"})
    assert "toy0" not in told.stdout
    assert "hpcaccept.rank" in told.stdout
