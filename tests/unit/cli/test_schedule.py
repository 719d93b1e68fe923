"""``hpcaccept schedule`` as it is typed, on this machine."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from support.scheduled_tree import tree_with

from hpcaccept.cli import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tree_with(tmp_path / "tree", {"train.py": "print(1)\n"})
    monkeypatch.chdir(found)
    return found


def typed(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    found = main(["schedule", *words])
    said = capsys.readouterr()
    assert found == code, said
    return said.out + said.err


# What a timer starts outlives it: nobody waits for it in the process that started it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_from_init_to_the_end(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = typed(capsys, "init", "--command", "echo epoch 1; pwd", "--yes")
    assert 'command = "echo epoch 1; pwd"' in shown
    assert "# ---- start.sh" in shown
    (tree / "train.py").write_text("print(2)\n")
    assert "if a timer looks then" in typed(capsys, "add", "--at", "+1h", "--yes")
    assert "starts on here" in typed(capsys, "next")
    assert "stopped: asked for, before it began" in typed(capsys, "stop")
    typed(capsys, "create", "--yes")
    end = time.monotonic() + 30
    while json.loads(typed(capsys, "status", "", "--json"))[0]["state"] != "done":
        assert time.monotonic() < end
        typed(capsys, "run-once")
    lines = typed(capsys, "status").splitlines()
    assert "The first commit; DIRTY, changes" in lines[0]
    assert sum("The first commit" in line for line in lines) == 1, "runs of one commit are grouped"
    assert "epoch 1" in typed(capsys, "logs")
    assert "+print(2)" in typed(capsys, "status", "--diff", "")
    run = json.loads(typed(capsys, "status", "", "--json"))[0]["run"]
    assert "would remove" in typed(capsys, "rm", run)
    typed(capsys, "rm", run, "--yes")
    assert "No run" in typed(capsys, "logs", run, code=2)


def test_a_dry_run_records_nothing(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed(capsys, "init", "--command", "true", "--yes")
    (tree / "notes.txt").write_text("n")
    shown = typed(capsys, "add", "--at", "+1h", "--dry-run")
    assert "1 untracked files" in shown
    assert "runs as a process of this machine" in shown
    assert "Nothing was recorded" in shown
    assert not (tree / ".hpcaccept/runs").exists()
    typed(capsys, "init", "--command", "false", "--yes", "--dry-run")
    assert 'command = "true"' in (tree / ".hpcaccept/run.toml").read_text()


def test_without_a_terminal_and_a_command_init_says_what_to_type(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "hpcaccept schedule init --command" in typed(capsys, "init", code=2)
    assert "hpcaccept schedule init --command" in typed(capsys, "add", "--at", "+1h", code=2)


def test_what_has_changed_since_is_named(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a").write_text("a")
    typed(capsys, "init", "--command", "true", "--send", ".", "--send", "../corpus", "--yes")
    (tmp_path / "corpus").rename(tmp_path / "moved")
    assert "changed: send: there is no ../corpus" in typed(capsys, "init", "--yes", code=2)


def test_a_secret_is_refused_when_it_is_added(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / ".env").write_text("A=1")
    typed(capsys, "init", "--command", "true", "--yes", code=2)
    assert ".env: named like .env" in typed(capsys, "add", "--at", "+1h", "--yes", code=2)


@pytest.mark.parametrize("words", [["pause"], ["resume"], ["stop"], ["logs"], ["status", "--diff", ""]])
def test_without_a_run_there_is_nothing_to_do(tree: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert "No run is recorded" in typed(capsys, *words, code=2)


def test_to_rent_needs_caps_and_a_yes(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed(capsys, "init", "--command", "true", "--yes")
    said = typed(capsys, "create", "--on", "rented", "--yes", code=2)
    assert "--max-price" in said
    assert "--max-usd" in said


def test_install_shows_before_it_writes(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Nothing is written" in typed(capsys, "install")
    assert "OnUnitInactiveSec" in typed(capsys, "install", "--systemd")
    assert not (tree / ".hpcaccept").exists()
