"""The start-up script, run by a real bash."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from hpcaccept.app.schedule import script, start_files
from hpcaccept.app.schedule.script import script_of
from hpcaccept.model.schedule.entry import Added
from hpcaccept.model.schedule.recipe import Recipe

if TYPE_CHECKING:
    from pathlib import Path

ADDED = Added("20261130t125356-85f0c23b", "", "here", "c" * 40, "s", "main", True, "d" * 64, 0, (), 0, 0, "", 1, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "a run"
    (found / "work").mkdir(parents=True)
    return found


def written(folder: Path, recipe: Recipe, **variables: str) -> list[str]:
    (folder / "start.sh").write_text(script_of(recipe, ADDED, variables))
    (folder / "command.sh").write_text(recipe.command + "\n")
    return ["bash", str(folder / "start.sh"), "1", "1"]


def run(folder: Path, recipe: Recipe, **variables: str) -> int:
    return subprocess.run(written(folder, recipe, **variables), check=False, timeout=60, capture_output=True).returncode


def test_the_command_runs_in_its_folder_and_knows_its_run_and_commit(folder: Path) -> None:
    shown = "echo $HPCACCEPT_RUN_ID $HPCACCEPT_COMMIT $HPCACCEPT_DIRTY $HPCACCEPT_ATTEMPT; pwd; echo \"it's\" 'quoted'"
    assert run(folder, Recipe(shown)) == 0
    log = (folder / "log").read_text()
    assert f"{ADDED.run} {'c' * 40} 1 1\n{folder}/work\nit's quoted\n" in log
    assert start_files.ended(folder, "1") == 0


@pytest.mark.parametrize("code", [1, 3, 77])
def test_its_exit_status_is_kept(folder: Path, code: int) -> None:
    assert run(folder, Recipe(f"exit {code}")) == code
    assert start_files.ended(folder, "1") == code


def test_of_many_starts_with_one_key_one_starts_the_command(folder: Path) -> None:
    words = written(folder, Recipe("echo started; sleep 0.2"))
    for each in [subprocess.Popen(words) for _ in range(8)]:
        each.wait(60)
    assert (folder / "log").read_text().count("started\n") == 1


def test_a_command_that_saves_itself_on_sigterm_is_waited_for(folder: Path) -> None:
    saving = (
        "bash -c 'trap \"sleep 0.3; echo saved; exit 0\" TERM; echo ready; while :; do sleep 0.05; done'; echo next"
    )
    process = subprocess.Popen(written(folder, Recipe(saving)), start_new_session=True)
    end = time.monotonic() + 30
    while "ready" not in ((folder / "log").read_text() if (folder / "log").exists() else ""):
        assert time.monotonic() < end
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(30) == 143
    log = (folder / "log").read_text()
    assert "saved\n" in log
    assert "next\n" not in log
    assert start_files.ended(folder, "1") == 143


def test_the_busiest_gpu_is_noted_now_and_then(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "_SAMPLE_S", 0.1)
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nprintf '3\\n97\\n0\\n'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    run(folder, Recipe("sleep 1"), PATH=f"{tmp_path}:{os.environ['PATH']}")
    lines = (folder / "gpu.log").read_text().splitlines()
    assert lines
    assert {line.split()[1] for line in lines} == {"97"}


@pytest.mark.parametrize(
    ("said", "wanted", "code"), [("12.8", "12.4", 0), ("12.4", "12.4", 0), ("11.8", "12.4", 3), ("9.2", "12.4", 3)]
)
def test_a_driver_that_is_too_old_ends_the_run_before_its_command(
    folder: Path, tmp_path: Path, said: str, wanted: str, code: int
) -> None:
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\necho '| Driver Version: 570.1   CUDA Version: {said}     |'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert run(folder, Recipe("echo ran", cuda=wanted), PATH=f"{tmp_path}:{os.environ['PATH']}") == code
    log = (folder / "log").read_text()
    assert ("ran\n" in log) is (code == 0)
    assert (f"supports CUDA {said}, expected at least {wanted}" in log) is (code == 3)


@pytest.mark.parametrize(
    ("version", "said", "wanted", "code"),
    [
        ("90100", "9.1", "9.1", 0),
        ("91002", "9.10", "9.9", 0),
        ("8902", "8.9", "9.0", 3),
        ("8600", "8.6", "8.6", 0),
        ("90000", "9.0", "9.1", 3),
        ("None", "(none)", "9.1", 3),
    ],
)
def test_a_cudnn_that_is_too_old_ends_the_run_before_its_command(
    folder: Path, tmp_path: Path, version: str, said: str, wanted: str, code: int
) -> None:
    """Versions as cudnn_version.h makes them; torch says None where it was built without."""
    (tmp_path / "there").mkdir()
    # Not every environment has both names.
    (tmp_path / "there" / ("python" if wanted == "9.1" else "python3")).symlink_to(sys.executable)
    for tool in ("bash", "sed", "sort", "head", "date", "hostname", "dirname", "sync", "mv", "cat"):
        (tmp_path / "there" / tool).symlink_to(str(shutil.which(tool)))
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text(
        f"class cudnn:\n    version = staticmethod(lambda: {version})\nclass backends:\n    cudnn = cudnn\n"
    )
    recipe = Recipe("echo ran", cudnn=wanted)
    assert run(folder, recipe, PATH=str(tmp_path / "there"), PYTHONPATH=str(tmp_path)) == code
    log = (folder / "log").read_text()
    assert ("ran\n" in log) is (code == 0)
    assert (f"torch has cuDNN {said}, expected at least {wanted}" in log) is (code == 3)


def test_requirements_that_cannot_be_had_end_the_run_before_its_command(folder: Path) -> None:
    (folder / "requirements.txt").write_text("torch\n")
    assert run(folder, Recipe("echo ran", python="/bin/false", requirements="requirements.txt")) == 3
    log = (folder / "log").read_text()
    assert "the environment could not be made" in log
    assert "ran\n" not in log


def test_what_slurm_requeues_is_another_attempt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(folder, Recipe("echo attempt $HPCACCEPT_ATTEMPT; exit 5"))
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    words = written(folder, Recipe("echo attempt $HPCACCEPT_ATTEMPT"))
    subprocess.run(words, check=True, timeout=60)
    log = (folder / "log").read_text()
    assert "attempt 1\n" in log
    assert "attempt 2\n" in log
    assert start_files.ended(folder, "1") == 0


def test_a_start_that_has_not_ended_has_no_status_of_the_one_before(folder: Path) -> None:
    for name, text in (("begun.1.0", "1 b 2"), ("ended.1.0", "143\n"), ("begun.1.1", "3 b 4")):
        (folder / name).write_text(text)
    assert start_files.ended(folder, "1") is None
