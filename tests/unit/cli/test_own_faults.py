"""Exit code 1 is a verdict on a node. Whatever breaks in hpcaccept itself is 3, a sentence, and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import hpcaccept
from hpcaccept.cli import main

PACKAGE = Path(hpcaccept.__file__).parent


@pytest.mark.parametrize("fault", [TypeError("unexpected"), ValueError("\x1b[31mred"), RecursionError(), MemoryError()])
def test_an_exception_that_nobody_expected_is_no_verdict(
    fault: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_folder: object) -> None:
        raise fault

    monkeypatch.setattr("hpcaccept.cli.run_list.all_runs", broken)
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


@pytest.mark.parametrize("does", ["raise RuntimeError('half installed')", "import sys; sys.exit(1)"])
@pytest.mark.parametrize("library", ["numpy", "click", "hpcaccept/cli"])
def test_a_broken_library_on_the_path_is_no_nodes_fault(tmp_path: Path, library: str, does: str) -> None:
    (tmp_path / library).mkdir(parents=True)
    if library.startswith("hpcaccept"):
        for name in ("__init__", "__main__"):
            (tmp_path / f"hpcaccept/{name}.py").write_bytes((PACKAGE / f"{name}.py").read_bytes())
    (tmp_path / library / "__init__.py").write_text(f"{does}\n")
    done = typed(tmp_path, "report", "--runs-dir", str(tmp_path), PYTHONPATH=str(tmp_path))
    assert done.returncode == 3, done.stdout + done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stderr.startswith(b"Error: ")


def test_ctrl_c_while_it_loads_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    done = typed(tmp_path, "report", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (130, b"")


@pytest.mark.parametrize(
    ("typed_in_a_shell", "code"),
    [
        ("checks | true", 141),
        ("submit --nodes 4 --dry-run --launcher local | true", 141),
        ("--nosuch 2>/dev/full", 2),
        ("report nosuch 2>/dev/full", 2),
        ("--version | true", 141),
        ("checks >/dev/full 2>&1", 3),
        ("checks <&- >&- 2>&-", 0),
        ("--version >/dev/full 2>&1", 3),
        ("--version <&- >&- 2>&-", 0),
    ],
)
def test_where_nobody_reads_what_is_said_that_is_no_verdict(tmp_path: Path, typed_in_a_shell: str, code: int) -> None:
    # More than a pipe holds is not needed: who reads nothing has gone before it is written.
    script = f'set -o pipefail; hpcaccept() {{ sleep 0.1; {sys.executable} -m hpcaccept "$@"; }}; hpcaccept {typed_in_a_shell}'
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Error" not in done.stderr or code != 141


@pytest.mark.parametrize("limit", ["-v 100000", "-n 12"])
def test_a_login_node_that_gives_little_is_no_verdict(tmp_path: Path, limit: str) -> None:
    script = f'ulimit {limit}; "{sys.executable}" -m hpcaccept report --runs-dir .'
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert done.returncode == 3, done.stderr


def test_what_is_printed_to_a_closed_stream_lands_in_no_file(tmp_path: Path) -> None:
    written = tmp_path / "kept"
    program = f"from hpcaccept.cli import main; main(['nosuch']); open({str(written)!r}, 'w').write('mine')"
    subprocess.run(["bash", "-c", f'"{sys.executable}" -c "$1" >&- 2>&-', "-", program], check=True, timeout=60)
    assert written.read_text() == "mine"


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
