from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from hpcaccept.app.tester import sent_files
from hpcaccept.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def branch(tmp_path: Path) -> Path:
    folder = tmp_path / "branch"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.py").write_text("print(1)\n")
    (folder / "deep/run.sh").write_text("#!/bin/sh\n")
    (folder / "deep/run.sh").chmod(0o755)
    (folder / "deep/also.py").symlink_to("../a.py")
    return folder


def test_what_is_packed_is_unpacked_with_links_as_files(branch: Path, tmp_path: Path) -> None:
    assert sent_files.pack(branch, tmp_path / "f") == (tmp_path / "f").stat().st_size
    sent_files.unpack(tmp_path / "f", tmp_path / "there")
    found = {str(each.relative_to(tmp_path / "there")) for each in (tmp_path / "there").rglob("*") if each.is_file()}
    assert found == {"a.py", "deep/run.sh", "deep/also.py"}
    assert (tmp_path / "there/deep/also.py").read_text() == "print(1)\n"
    assert not (tmp_path / "there/deep/also.py").is_symlink()
    assert (tmp_path / "there/deep/run.sh").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("name", "to"), [("out", "/etc/passwd"), ("up", "../outside"), ("gone", "nothing"), ("d", "deep")]
)
def test_links_that_lead_elsewhere_are_refused(branch: Path, tmp_path: Path, name: str, to: str) -> None:
    (tmp_path / "outside").write_text("secret")
    (branch / name).symlink_to(to)
    with pytest.raises(UsageError, match="rented machines"):
        sent_files.pack(branch, tmp_path / "f")


def test_too_much_is_refused_before_it_is_packed(branch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent_files, "MOST_FILES", 2)
    with pytest.raises(UsageError, match="all that is sent to a rented machine"):
        sent_files.pack(branch, tmp_path / "f")


def archive(*members: tuple[str, bytes, str]) -> bytes:
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w:gz") as tar:
        for name, kind, link in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, 3 if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"abc") if info.size else None)
    return found.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        archive(("../up", tarfile.REGTYPE, "")),
        archive(("/etc/x", tarfile.REGTYPE, "")),
        archive(("link", tarfile.SYMTYPE, "/etc"), ("link/x", tarfile.REGTYPE, "")),
        archive(("hard", tarfile.LNKTYPE, "/etc/passwd")),
        archive(("pipe", tarfile.FIFOTYPE, "")),
        archive(("good", tarfile.REGTYPE, ""))[:-20],
        b"no archive",
        b"",
    ],
)
def test_an_archive_that_was_not_packed_here_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        sent_files.unpack(tmp_path / "f", tmp_path / "there")
    assert [each.name for each in tmp_path.iterdir()] == ["f"]
