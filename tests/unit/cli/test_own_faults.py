"""Exit code 1 is a verdict on a node. Whatever breaks in hpcaccept itself is 3, a sentence, and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hpcaccept.cli import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("fault", [TypeError("unexpected"), ValueError("\x1b[31mred"), RecursionError(), MemoryError()])
def test_an_exception_that_nobody_expected_is_no_verdict(
    fault: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_folder: object) -> None:
        raise fault

    monkeypatch.setattr("hpcaccept.cli.runs.all_runs", broken)
    assert main(["runs"]) == 3
    said = capsys.readouterr().err
    assert said.startswith(f"Error: {type(fault).__name__}")
    assert "says nothing about a node" in said
    assert "Traceback" not in said
    assert "\x1b" not in said
    with pytest.raises(type(fault)):
        main(["--debug", "runs"])


def typed(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "hpcaccept", *words],
        cwd=folder, env={**os.environ, **env}, capture_output=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "koi8-r"])
@pytest.mark.parametrize(
    "words", [["--help"], ["checks", "explain", "burn"], ["submit", "--nodes", "4", "--dry-run", "--launcher", "local"]]
)
def test_no_locale_loses_what_is_said(tmp_path: Path, encoding: str, words: list[str]) -> None:
    done = typed(tmp_path, *words, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stdout


def test_a_broken_library_on_the_path_is_no_nodes_fault(tmp_path: Path) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("raise RuntimeError('half installed')\n")
    done = typed(tmp_path, "report", "--runs-dir", str(tmp_path), PYTHONPATH=str(tmp_path))
    assert done.returncode == 3, done.stdout + done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["submit", "--nodes", "9" * 400, "--dry-run", "--launcher", "local"],
        ["submit", "--nodes", "99999999999", "--dry-run", "--launcher", "local"],
        ["submit", "--nodes", "2", "--nodelist", "node[0-99999999999]", "--launcher", "local", "--dry-run"],
        ["submit", "--suite", "s" * 5000, "--launcher", "local", "--dry-run"],
        ["submit", "--runs-dir", "r" * 5000, "--launcher", "local"],
        ["report", "x" * 5000],
        ["submit", "--set", "matmul.blocks=" + "9" * 5000, "--launcher", "local", "--dry-run"],
        ["submit", "--set", "burn.duration_s=nan", "--launcher", "local", "--dry-run"],
        ["submit", "--set", "burn.duration_s=inf", "--launcher", "local", "--dry-run"],
    ],
)
def test_what_cannot_be_is_refused_at_once(tmp_path: Path, words: list[str]) -> None:
    done = typed(tmp_path, *words, HPCACCEPT_NODES="1")
    assert done.returncode in (2, 3), done.stdout[-300:] + done.stderr[-300:]
    assert b"Traceback" not in done.stderr
    assert len(done.stderr) < 2000
    assert not list(tmp_path.glob("r*"))
