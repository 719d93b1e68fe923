"""The commit is that of hpcaccept: of its own checkout, else as the build wrote it; never of a checkout around it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from hpcaccept.app import commit
from hpcaccept.app.commit import WRITTEN, commit_of

if TYPE_CHECKING:
    from pathlib import Path

FULL = "0123456789abcdef0123456789abcdef01234567"


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example"]
    done = subprocess.run(["git", "-C", folder, *who, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def package(folder: Path) -> Path:
    (folder / "hpcaccept").mkdir(parents=True)
    (folder / "hpcaccept/__init__.py").write_text("")
    return folder


def committed(folder: Path, *files: str) -> Path:
    git(folder, "init", "--quiet")
    git(folder, "add", *files)
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "one")
    return folder


def test_a_checkout_tells_its_commit_and_whether_it_was_changed(tmp_path: Path) -> None:
    root = committed(package(tmp_path), "hpcaccept")
    head = git(root, "rev-parse", "--short=12", "HEAD")
    assert commit_of(root) == head
    (root / "hpcaccept/__init__.py").write_text("changed = True\n")
    assert commit_of(root) == f"{head}-dirty"


def test_whether_git_tracks_the_package_is_read_and_only_asked_where_it_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = committed(package(tmp_path), "hpcaccept")
    asked: list[tuple[str, ...]] = []
    ask = commit.ask_git

    def noted(folder: Path, *words: str) -> str:
        asked.append(words)
        return ask(folder, *words)

    monkeypatch.setattr(commit, "ask_git", noted)
    assert commit.is_own_checkout(root)
    assert not asked
    git(root, "update-index", "--index-version", "4")
    assert commit.is_own_checkout(root)
    assert asked[0][0] == "ls-files"
    git(root, "worktree", "add", "--quiet", str(tmp_path / "tree"))
    assert commit.is_own_checkout(tmp_path / "tree")
    git(root, "rm", "--quiet", "--cached", "hpcaccept/__init__.py")
    assert not commit.is_own_checkout(root)


def test_a_shallow_clone_tells_its_commit(tmp_path: Path) -> None:
    root = committed(package(tmp_path / "whole"), "hpcaccept")
    git(root, "commit", "--quiet", "--allow-empty", "-m", "two")
    git(tmp_path, "clone", "--quiet", "--depth=1", root.as_uri(), "clone")
    assert commit_of(tmp_path / "clone") == git(root, "rev-parse", "--short=12", "HEAD")


def test_a_checkout_around_the_package_is_not_asked(tmp_path: Path) -> None:
    project = committed(tmp_path)
    inside = package(project / ".venv/lib/python3.11/site-packages")
    assert commit_of(inside) == ""
    # Where it lies at the top of another project without belonging to it (pip install --target .).
    assert commit_of(package(project)) == ""


def test_a_checkout_whose_git_is_broken_does_not_tell_the_commit_of_the_one_around_it(tmp_path: Path) -> None:
    inside = package(committed(tmp_path) / "copy")
    (inside / ".git").mkdir()
    git(tmp_path, "add", "copy/hpcaccept")
    git(tmp_path, "commit", "--quiet", "-m", "the package itself is tracked, further up")
    assert commit_of(inside) == ""


def test_what_the_build_wrote_is_told_outside_a_checkout(tmp_path: Path) -> None:
    inside = package(committed(tmp_path) / "site-packages")
    for written, told in ((f"{FULL}\n", FULL[:12]), (f"{FULL}-dirty", f"{FULL[:12]}-dirty"), ("v1.2\n", "v1.2")):
        (inside / WRITTEN).write_text(written)
        assert commit_of(inside) == told


def test_variables_of_another_repositorys_hook_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    other = committed(tmp_path / "other")
    root = committed(package(tmp_path / "ours"), "hpcaccept")
    head = git(root, "rev-parse", "--short=12", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert commit_of(root) == head


def test_without_git_nothing_is_told_and_nothing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = committed(package(tmp_path), "hpcaccept")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert commit_of(root) == ""


def test_a_checkout_of_another_owner_tells_its_commit_too(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("giving a folder to another user needs root")
    root = committed(package(tmp_path), "hpcaccept")
    head = git(root, "rev-parse", "--short=12", "HEAD")
    subprocess.run(["chown", "-R", "4711:4711", root], check=True)
    refused = subprocess.run(["git", "-C", root, "describe", "--always"], capture_output=True, text=True, check=False)
    if "dubious ownership" not in refused.stderr:
        pytest.skip(f"git does not mind here: {refused.stdout}{refused.stderr}")
    assert commit_of(root) == head


def test_asking_writes_nothing_into_the_checkout(tmp_path: Path) -> None:
    root = committed(package(tmp_path), "hpcaccept")
    # Same content, another time: git would note in its index that it looked.
    os.utime(root / "hpcaccept/__init__.py", (1, 1))
    before = (root / ".git/index").read_bytes()
    assert "-dirty" not in commit_of(root)
    assert (root / ".git/index").read_bytes() == before


@pytest.mark.parametrize(
    ("noted", "told"),
    [
        (f'{{"url": "https://example.com/x.git", "vcs_info": {{"vcs": "git", "commit_id": "{FULL}"}}}}', FULL[:12]),
        ('{"url": "file:///somewhere", "dir_info": {}}', ""),
        ('{"vcs_info": {"commit_id": "a word"}}', ""),
        ('{"vcs_info": ["no table"]}', ""),
        ("[1]", ""),
        ("no JSON", ""),
    ],
)
def test_an_installation_from_a_repository_tells_the_commit_that_pip_noted(
    tmp_path: Path, noted: str, told: str
) -> None:
    inside = package(tmp_path / "site-packages")
    info = inside / "hpcaccept-0.1.0.dist-info"
    info.mkdir()
    (info / "direct_url.json").write_text(noted)
    assert commit_of(inside) == told


def test_what_the_build_wrote_comes_before_what_pip_noted(tmp_path: Path) -> None:
    other = "f" * 40
    inside = package(tmp_path / "site-packages")
    info = inside / "hpcaccept-0.1.0.dist-info"
    info.mkdir()
    (info / "direct_url.json").write_text(f'{{"vcs_info": {{"commit_id": "{other}"}}}}')
    (inside / WRITTEN).write_text(FULL)
    assert commit_of(inside) == FULL[:12]
