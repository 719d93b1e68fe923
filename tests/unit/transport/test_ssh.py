"""A command on another host always ends, and its output fits into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hpcaccept.app.azure import gather as gathering
from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.transport.ssh import run_there

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ssh that runs the command here: its last word."""
    program = tmp_path / "bin/ssh"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


@pytest.mark.usefixtures("ssh")
def test_output_error_and_status_come_back() -> None:
    done = run_there(None, "n", "cat; echo e >&2; exit 7", deadline_s=10, most_bytes=100, given=b"given")
    assert (done.returncode, done.stdout, done.stderr, done.late, done.cut) == (7, b"given", "e\n", False, False)


@pytest.mark.usefixtures("ssh")
def test_what_prints_for_ever_is_cut_off() -> None:
    done = run_there(None, "n", "yes", deadline_s=30, most_bytes=1000)
    assert done.cut
    assert len(done.stdout) == 1000


@pytest.mark.usefixtures("ssh")
def test_as_much_as_is_allowed_is_not_too_much() -> None:
    done = run_there(None, "n", "printf 12345", deadline_s=10, most_bytes=5)
    assert (done.cut, done.stdout) == (False, b"12345")


@pytest.mark.usefixtures("ssh")
def test_what_does_not_end_is_ended() -> None:
    done = run_there(None, "n", "echo begun; sleep 60", deadline_s=0.5, most_bytes=100)
    assert done.late
    assert done.stdout == b"begun\n"


@pytest.mark.usefixtures("ssh")
def test_a_command_that_does_not_read_what_it_is_given_ends_all_the_same() -> None:
    assert run_there(None, "n", "true", deadline_s=10, most_bytes=10, given=b"x" * 1_000_000).returncode == 0


def test_without_ssh_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LaunchError, match="There is no ssh on this machine"):
        run_there(None, "n", "true", deadline_s=1, most_bytes=1)


def test_a_host_file_may_have_slots_and_comments(tmp_path: Path) -> None:
    file = tmp_path / "hostfile"
    file.write_text("# two\nvm-0 slots=8\n\nvm-1  # second\nvm-0\n")
    assert gathering.read_hostfile(file) == ("vm-0", "vm-1")


@pytest.mark.parametrize("text", ["", "# none\n", "-oProxyCommand=touch\n", "a;b\n"])
def test_what_is_no_host_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "hostfile"
    file.write_text(text)
    with pytest.raises(UsageError):
        gathering.read_hostfile(file)


def test_a_path_is_one_word_for_the_shell_there() -> None:
    assert gathering.command_for_file("a b; rm x") == "cat -- 'a b; rm x'"
    assert gathering.command_for_file("/x", sudo=True) == "sudo -n cat -- /x"
