"""A file is replaced whole or stays as it was, and one module does it."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

import hpcaccept
from hpcaccept.errors import RunError
from hpcaccept.store.replaced_files import OWNER_ONLY, replace_file, replace_files, replacing


def test_a_file_is_replaced_whole_and_readable_by_everyone(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    replace_file(file, "old")
    replace_file(file, "new ü")
    assert file.read_text() == "new ü"
    assert file.stat().st_mode & 0o777 == 0o644
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    replace_file(file, "old")
    with pytest.raises(UnicodeEncodeError):
        replace_file(file, "\ud800")
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


def test_on_a_full_disk_the_old_file_stays(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    replace_file(file, "old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            replace_file(file, b"x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_file_of_its_owner_alone_is_never_anybody_elses(tmp_path: Path, umask: int) -> None:
    file, seen = tmp_path / "secret", list[int]()
    file.write_text("old")
    file.chmod(0o666)
    before = os.umask(umask)
    try:
        with replacing(file, OWNER_ONLY) as beside:
            seen.append(beside.stat().st_mode & 0o777)
            beside.write_text("new")
            assert file.read_text() == "old"
    finally:
        os.umask(before)
    assert seen == [0o600]
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text() == "new"


def test_a_link_is_replaced_and_what_it_led_to_stays(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("other")
    (tmp_path / "link").symlink_to("other")
    replace_file(tmp_path / "link", "new")
    assert (tmp_path / "other").read_text() == "other"
    assert not (tmp_path / "link").is_symlink()


def test_files_of_a_folder_are_made_with_it(tmp_path: Path) -> None:
    replace_files({"a": b"1", "b": b"2"}, tmp_path / "new" / "folder", OWNER_ONLY)
    assert {file.name: file.read_bytes() for file in (tmp_path / "new" / "folder").iterdir()} == {"a": b"1", "b": b"2"}
    assert (tmp_path / "new" / "folder").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_written_into_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"Cannot write into .*/file/x: Not a directory"):
        replace_files({"a": b""}, tmp_path / "file" / "x")


def test_no_other_module_replaces_files() -> None:
    package = Path(hpcaccept.__file__).parent
    found = {
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        if "mkstemp" in file.read_text(encoding="utf-8")
    }
    assert found == {"store/new_file.py", "store/replaced_files.py"}
