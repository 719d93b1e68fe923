"""What is recorded of a working tree: real git, real files."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.scheduled_tree import git, tree_with

from hpcaccept.app.schedule import add, records, snapshot
from hpcaccept.app.schedule.git import top_of
from hpcaccept.errors import UsageError
from hpcaccept.model.schedule.recipe import Recipe

if TYPE_CHECKING:
    from pathlib import Path

NOW = dt.datetime(2026, 12, 1, 12, 0, tzinfo=dt.timezone.utc)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return tree_with(tmp_path / "tree", {"train.py": "print(1)\n", ".gitignore": "*.log\ndata/\n", "sub/a.txt": "a"})


def recorded(tree: Path, recipe: Recipe | None = None) -> records.Record:
    there = records.Records(tree / ".hpcaccept" / "runs")
    return add.add(add.Request(tree, recipe or Recipe("true"), "here", NOW), there, NOW, lambda _: None)


def files_of(record: records.Record) -> set[str]:
    work = record.file(records.WORK)
    return {each.relative_to(work).as_posix() for each in work.rglob("*") if not each.is_dir()}


def test_a_clean_tree_is_its_commit(tree: Path) -> None:
    added = recorded(tree).standing().added
    assert len(added.commit) == 40
    assert (added.subject, added.branch, added.dirty, added.diff_sha256, added.untracked) == (
        "The first commit",
        "main",
        False,
        "",
        0,
    )


def test_changes_are_saved_with_their_hash_and_can_be_applied_again(tree: Path, tmp_path: Path) -> None:
    (tree / "train.py").write_text("print(2)\n")
    (tree / "sub/a.txt").unlink()
    (tree / "new.bin").write_bytes(bytes(range(256)))
    git(tree, "add", "new.bin")
    record = recorded(tree)
    added, diff = record.standing().added, record.file(records.DIFF).read_bytes()
    assert added.dirty
    assert added.diff_sha256 == hashlib.sha256(diff).hexdigest()
    again = tmp_path / "again"
    subprocess.run(["git", "clone", "-q", str(tree), str(again)], check=True)
    subprocess.run(["git", "-C", str(again), "apply", str(record.file(records.DIFF))], check=True)
    assert (again / "train.py").read_text() == "print(2)\n"
    assert not (again / "sub/a.txt").exists()
    assert (again / "new.bin").read_bytes() == bytes(range(256))
    assert files_of(record) == {"train.py", ".gitignore", "new.bin"}


def test_untracked_files_are_listed_and_sent_and_ignored_ones_are_not(tree: Path) -> None:
    (tree / "notes.txt").write_text("n")
    (tree / "a.log").write_text("l")
    (tree / "data").mkdir()
    (tree / "data/big").write_text("b")
    record = recorded(tree)
    assert record.file(records.UNTRACKED).read_text() == "notes.txt\n"
    assert files_of(record) == {"train.py", ".gitignore", "sub/a.txt", "notes.txt"}


def test_what_is_edited_afterwards_changes_nothing(tree: Path) -> None:
    record = recorded(tree)
    (tree / "train.py").write_text("print(3)\n")
    assert (record.file(records.WORK) / "train.py").read_text() == "print(1)\n"
    line = next(each for each in record.file(records.MANIFEST).read_text().splitlines() if each.endswith("train.py"))
    assert line.split() == [hashlib.sha256(b"print(1)\n").hexdigest(), "9", "train.py"]


def test_a_tree_that_changes_while_it_is_copied_is_not_recorded(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = snapshot.copy

    def slow(*words: object) -> tuple[str, int]:
        (tree / "train.py").write_text("print(4)\n")
        return real(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(snapshot, "copy", slow)
    with pytest.raises(UsageError, match="was changed while it was copied"):
        recorded(tree)
    assert records.Records(tree / ".hpcaccept" / "runs").all() == []
    assert [each.name for each in (tree / ".hpcaccept/runs").iterdir()] == ["lock"]


def test_other_folders_are_sent_under_their_own_name(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus/part").mkdir(parents=True)
    (tmp_path / "corpus/part/1.txt").write_text("1")
    record = recorded(tree, Recipe("true", send=(".", "../corpus"), exclude=("sub",)))
    assert files_of(record) == {"train.py", ".gitignore", "corpus/part/1.txt"}


def test_a_folder_that_is_not_there_is_named(tree: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no \.\./nowhere"):
        recorded(tree, Recipe("true", send=(".", "../nowhere")))


def test_a_secret_is_refused_with_its_place_and_may_be_allowed(tree: Path) -> None:
    (tree / "server.key").write_text("k")
    (tree / "train.py").write_text("x = 1\nt = 'ghp_0123456789abcdefghijABCDEFGHIJ'\n")
    with pytest.raises(UsageError) as refused:
        recorded(tree)
    assert "2 of the files to be sent may hold a secret" in refused.value.message
    assert "server.key: named like *.key" in refused.value.message
    assert "train.py:2: a token that begins with ghp_" in refused.value.message
    recorded(tree, Recipe("true", allow_secrets=("server.key", "train.py")))


def test_submodules_are_recorded_and_sent(tree: Path, tmp_path: Path) -> None:
    other = tree_with(tmp_path / "library", {"lib.py": "L = 1\n"})
    git(tree, "submodule", "add", "-q", str(other), "library")
    git(tree, "commit", "-q", "-m", "with a library")
    record = recorded(tree)
    (line,) = record.standing().added.submodules
    assert line.split()[1] == "library"
    assert "library/lib.py" in files_of(record)


def test_a_pointer_of_lfs_without_its_content_is_refused(tree: Path) -> None:
    (tree / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    (tree / "weights.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    git(tree, "-c", "filter.lfs.process=", "-c", "filter.lfs.clean=cat", "-c", "filter.lfs.required=false", "add", "-A")
    git(tree, "-c", "filter.lfs.process=", "-c", "filter.lfs.clean=cat", "commit", "-q", "-m", "weights")
    with pytest.raises(UsageError, match=r"1 files of Git LFS are only pointers here, the first weights\.bin"):
        recorded(tree)


def test_a_folder_without_a_commit_has_nothing_to_be_bound_to(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no git working tree with a commit"):
        top_of(tmp_path)
    git(tmp_path, "init", "-q")
    with pytest.raises(UsageError, match="no git working tree with a commit"):
        top_of(tmp_path)


def test_runs_of_git_variables_of_a_hook_lead_nowhere_else(
    tree: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert top_of(tree) == tree


def test_records_are_not_part_of_what_is_sent(tree: Path) -> None:
    recorded(tree)
    assert not any(each.startswith(".hpcaccept") for each in files_of(recorded(tree)))


def test_a_name_with_a_line_break_is_refused(tree: Path) -> None:
    (tree / "a\nb").write_text("x")
    with pytest.raises(UsageError, match="line break"):
        recorded(tree)


def test_links_are_copied_as_links(tree: Path) -> None:
    (tree / "latest").symlink_to("sub/a.txt")
    assert os.readlink(recorded(tree).file(records.WORK) / "latest") == "sub/a.txt"  # noqa: PTH115
