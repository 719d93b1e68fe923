"""A key is whole or not there: on a full disk, on a file system without links, and where there is one already."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.store.new_file import write_new
from hpcaccept.store.signing import make_key, read_private_key
from hpcaccept.transport.sshd import sshd

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def at_most(size_bytes: int) -> Iterator[None]:
    """No file grows beyond this size; Python ignores SIGXFSZ, so that a write fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_written_is_there_whole_with_its_mode(tmp_path: Path) -> None:
    write_new(tmp_path / "key", b"secret\n", 0o600)
    assert (tmp_path / "key").read_bytes() == b"secret\n"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("there", ["file", "link to a file", "link to nowhere", "folder"])
def test_what_is_there_stays_as_it_was(tmp_path: Path, there: str) -> None:
    file, other = tmp_path / "key", tmp_path / "other"
    if there == "folder":
        file.mkdir()
    elif there == "file":
        file.write_bytes(b"old")
    else:
        file.symlink_to(other)
        if there == "link to a file":
            other.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        write_new(file, b"new", 0o600)
    assert not other.exists() or other.read_bytes() == b"old"
    assert {f.name for f in tmp_path.iterdir()} <= {"key", "other"}


def test_where_there_are_no_hard_links_nothing_is_overwritten_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", refused)
    write_new(tmp_path / "key", b"first", 0o600)
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "key", b"second", 0o600)
    assert (tmp_path / "key").read_bytes() == b"first"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("size_bytes", [0, 50, 115])
def test_a_pair_of_keys_is_there_whole_or_not_at_all(tmp_path: Path, size_bytes: int) -> None:
    """A public key has 113 bytes, a private one 119: with 115 the first of them finds its place."""
    with at_most(size_bytes), pytest.raises(UsageError, match="Nothing of the key was kept"):
        make_key(tmp_path / "key")
    assert not list(tmp_path.iterdir())
    make_key(tmp_path / "key")
    read_private_key(tmp_path / "key")


def test_a_private_key_that_exists_leaves_no_public_one_of_another(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"old")
    with pytest.raises(UsageError, match="never overwritten"):
        make_key(tmp_path / "key")
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_full_disk_keeps_no_half_of_a_key(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if (done := subprocess.run(mount, capture_output=True, text=True, check=False)).returncode:
        pytest.skip(f"mount is not allowed here: {done.stderr.strip()}")
    try:
        with contextlib.suppress(OSError), (tmp_path / "filler").open("wb", buffering=0) as filler:
            while filler.write(b"\0" * 4096):
                pass
        with pytest.raises(UsageError, match="No space left"):
            make_key(tmp_path / "key")
        assert [file.name for file in tmp_path.iterdir()] == ["filler"]
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_the_copy_of_the_pods_key_is_whole_or_not_there(tmp_path: Path) -> None:
    key, place = tmp_path / "key", tmp_path / "place"
    place.mkdir(0o700)
    key.write_bytes(b"k" * 400)
    with at_most(100), pytest.raises(LaunchError, match="Cannot write"), sshd(place, key, 1, {}):
        pass
    assert not list(place.iterdir())
