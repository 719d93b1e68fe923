"""The ten-minute tutorial, typed as it stands: each command ends as the page says, and prints what it shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.submission import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from system.cluster import VirtualSlurm

pytestmark = pytest.mark.mpi

PAGE = (ROOT / "docs/tutorial/find-a-fault.md").read_text("utf-8")
#: A reservation that is only proposed has an id of its own each time.
_ID = re.compile(r"(?<=ecc-uncorrected_)[0-9a-f]+")


def typed() -> list[str]:
    """The commands of the page, but for those that start and end its Slurm."""
    lines = [line.strip() for line in PAGE.splitlines() if line.startswith("    ")]
    return [line for line in lines if not line.startswith(("make ", "source /run/"))]


def expected(command: str) -> int:
    """The exit code that the page states beside a command."""
    stated = re.search(r"# .*exit code (\d)", command)
    return int(stated[1]) if stated else 0


def test_each_command_ends_and_prints_as_the_page_says(plain_slurm: VirtualSlurm, tmp_path: Path) -> None:
    commands = typed()
    assert sum("-m hpcaccept" in command for command in commands) == 7
    script = "\n".join(f'{command}\necho "@ $?"' for command in commands)
    script = script.replace(".venv/bin/python", sys.executable).replace("/tmp/gpus", str(tmp_path / "gpus"))
    env = {
        "HPCACCEPT_RUNS_DIR": str(tmp_path / "runs"),
        "HPCACCEPT_BASELINES_DIR": str(tmp_path / "b"),
        "COLUMNS": "80",
    }
    done = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, **plain_slurm.env, **env},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    codes = [int(code) for code in re.findall(r"^@ (\d+)$", done.stdout, re.M)]
    assert codes == [expected(command) for command in commands], done.stdout + done.stderr
    printed = [_ID.sub("ID", line.rstrip()) for line in done.stdout.splitlines()]
    at = 0
    for line in [line for block in re.findall(r"```text\n(.*?)```", PAGE, re.S) for line in block.splitlines()]:
        wanted = _ID.sub("ID", line.rstrip())
        assert wanted in printed[at:], f"{line!r} is not printed:\n{done.stdout}"
        at += printed[at:].index(wanted) + 1
    # What is measured again is the node that failed.
    again = max(path for path in (tmp_path / "runs").iterdir() if (path / "plan.json").exists())
    assert json.loads((again / "report.json").read_text("utf-8"))["nodes"].keys() == {"node2"}
