"""When does install.sh install, and when does it refuse? apt-get is never run here: a file that fails stands for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("install.sh")


def installed(folder: Path, state: str, user: int | None = None) -> subprocess.CompletedProcess[str]:
    """What install.sh does where dpkg-query calls every package `state` ("" for: there is no dpkg-query)."""
    commands = {"apt-get": "echo apt-get was called; exit 1"}
    if state:
        commands["dpkg-query"] = f"printf {state}"
    for name, body in commands.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    bash = shutil.which("bash")
    assert bash is not None
    script = SCRIPT.read_text()  # by standard input: another user may not be able to open this checkout
    return subprocess.run(
        [bash, "-s"], input=script, env={"PATH": str(folder)}, capture_output=True, text=True, check=False, user=user
    )


def test_nothing_happens_where_everything_is_there(tmp_path: Path) -> None:
    answer = installed(tmp_path, "installed")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_another_system_is_refused_with_a_sentence(tmp_path: Path) -> None:
    answer = installed(tmp_path, "")
    assert answer.returncode == 77
    assert "neither Debian nor Ubuntu" in answer.stderr


def test_who_is_not_root_is_told_what_is_missing(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        for folder in (tmp_path, *tmp_path.parents):  # pytest keeps its folders from other users
            if not folder.stat().st_mode & 0o001:
                folder.chmod(0o755)
    answer = installed(tmp_path, "not-installed", user=65534 if os.geteuid() == 0 else None)
    assert answer.returncode == 77
    assert "missing: slurmctld" in answer.stderr
    assert "apt-get was called" not in answer.stdout


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
def test_shellcheck_has_nothing_to_say() -> None:
    subprocess.run(["shellcheck", SCRIPT], check=True)
