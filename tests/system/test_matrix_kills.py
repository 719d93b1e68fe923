"""A client or a cell that is killed at any step: the next one goes on, no cell runs twice, and nothing is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support.matrix_files import counted, counting_script, hpcaccept, outcomes, report
from support.matrix_killed import DEEDS, LINES, ON_MACHINE, killed_at

pytestmark = pytest.mark.slow
TESTS = Path(__file__).parents[1]
FILE = """
name = "m"
reruns = 0
parallel = {parallel}
{images}
[machines.this]
[tests.count]
script = "count.py"
limit_s = 60
"""


def write(folder: Path, *images: str, parallel: int = 1) -> None:
    tables = "".join(f'[images.{name}]\npython = "/usr/bin/python3"\n' for name in images)
    (folder / "m.toml").write_text(FILE.format(images=tables, parallel=parallel))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    counting_script(tmp_path)
    return tmp_path


def left(folder: Path) -> list[list[str]]:
    """Processes that belong to the matrix in a folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if any(str(folder) in word for word in words) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(words)
    return found


def none_left(folder: Path) -> None:
    end = time.monotonic() + 10
    while there := left(folder):
        assert time.monotonic() < end, there
        time.sleep(0.1)


#: Before a cell counts, for a minute at most.
WAITING = """
import pathlib, time
for _ in range(600):
    if not pathlib.Path({folder!r}, "wait").exists():
        break
    time.sleep(0.1)
"""
#: One client after the other is killed here, all in one run of three cells.
POINTS = (
    *("before-begun", "after-begun", "before-prepare", "after-prepare", "before-starting", "after-starting"),
    # The first cell is started, and found again by its word.
    *("before-start", "after-start", "before-attempt", "after-attempt"),
    # The second is, and nobody has written its job down: twice while it is started, then while it is found.
    *("before-submitted", "before-submitted", "after-submitted", "before-adopt", "after-adopt", "after-attempt"),
    *("after-submitted", "after-attempt", "before-ended", "after-ended"),
)


def test_the_points_are_all_there_are() -> None:
    named = {f"{when}-{name}" for name in (*DEEDS, *LINES) for when in ("before", "after")}
    assert set(POINTS) == named


def test_clients_killed_at_every_step_one_after_the_other_run_each_cell_once(folder: Path) -> None:
    write(folder, "one", "two", "three")
    (folder / "count.py").write_text(WAITING.format(folder=str(folder)) + (folder / "count.py").read_text())
    for point in POINTS:
        # While its job is looked for, a cell runs.
        (folder / "wait").touch() if point.endswith(("submitted", "adopt")) else (folder / "wait").unlink(
            missing_ok=True
        )
        killed_at(folder, point, "matrix", "run", "m.toml")
    done = hpcaccept(folder, "matrix", "run", "m.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    cells = ["one@this", "three@this", "two@this"]
    assert outcomes(report(folder)) == dict.fromkeys(cells, "PASS")
    assert counted(folder) == cells
    none_left(folder)


def test_a_cell_killed_at_any_step_is_an_error_and_is_not_run_again_unasked(folder: Path) -> None:
    write(folder, *ON_MACHINE, parallel=len(ON_MACHINE))
    paths = (TESTS / "support" / "killed_cells", TESTS, TESTS.parent)
    env = {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = hpcaccept(folder, "matrix", "run", "m.toml", env=env)
    assert done.returncode == 3, done.stdout + done.stderr
    # What was said before the end counts.
    said = {f"{name}@this": "PASS" if name == "over" else "ERROR" for name in ON_MACHINE}
    assert outcomes(report(folder)) == said
    ran = ["leave@this", "over@this", "run@this"]
    assert counted(folder) == ran
    assert hpcaccept(folder, "matrix", "run", "m.toml").returncode == 3
    assert counted(folder) == ran
    none_left(folder)


def test_what_a_cell_has_started_ends_with_it(folder: Path) -> None:
    write(folder, "one")
    (folder / "count.py").write_text(f"import time, sys\n# {folder}\ntime.sleep(120)\n")
    words = [sys.executable, "-m", "hpcaccept", "matrix", "run", "m.toml", "--image", "one"]
    client = subprocess.Popen(words, cwd=folder, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 30
    while not any("count.py" in word for each in left(folder) for word in each):
        assert time.monotonic() < end
        time.sleep(0.1)
    cells = [p for p in psutil.process_iter(["cmdline"]) if "cell" in (p.info["cmdline"] or []) and str(folder) in str(p.info["cmdline"])]  # fmt: skip
    for process in cells:
        process.send_signal(signal.SIGKILL)
    assert client.wait(30) == 3
    none_left(folder)
    assert "the job is gone without a last word" in report(folder)["cells"][0]["reason"]
