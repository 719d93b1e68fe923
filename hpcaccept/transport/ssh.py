"""Runs a command on another host: it always ends, and its output fits into memory.

OpenSSH does it: keys, ports and host keys are those of a configuration file. Nobody is there to type a password.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from hpcaccept.errors import LaunchError
from hpcaccept.transport.process import end_group

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

CONNECT_S = 10
#: Of standard error: enough to say why.
_MOST_ERROR_BYTES = 64 * 1024


@dataclass(frozen=True)
class SshDone:
    """A command that has ended there, or was given up.

    Attributes:
        returncode: exit status there; 255: ssh itself failed.
        stdout: at most as many bytes as were allowed.
        stderr: its beginning.
        late: True when it was given up at its deadline.
        cut: True when there was more output than was allowed.
    """

    returncode: int
    stdout: bytes
    stderr: str
    late: bool = False
    cut: bool = False


def run_there(
    config: Path | None, host: str, command: str, *, deadline_s: float, most_bytes: int, given: bytes = b""
) -> SshDone:
    """Run a shell command on a host.

    Args:
        config: of ssh; None: the user's own.
        host: as the configuration names it.
        command: for the shell there.
        deadline_s: for all of it, connecting included.
        most_bytes: of its output.
        given: its standard input.

    Raises:
        LaunchError: there is no ssh here.
    """
    words = ["ssh", *(("-F", str(config)) if config else ())]
    words += [
        "-o",
        "BatchMode=yes",
        "-o",
        f"ConnectTimeout={CONNECT_S}",
        "-o",
        "ForwardAgent=no",
        "-T",
        "--",
        host,
        command,
    ]
    process = _started(words)
    out, err = _Bounded(process.stdout, most_bytes), _Bounded(process.stderr, _MOST_ERROR_BYTES)
    writer = threading.Thread(target=_give, args=(process, given), daemon=True)
    writer.start()
    until, late = time.monotonic() + deadline_s, False
    try:
        while process.poll() is None:
            if out.full.is_set() or time.monotonic() > until:
                late = not out.full.is_set()
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(min(0.05, max(0.0, until - time.monotonic())))
    finally:
        end_group(process, 1.0)
    # Only what ssh itself started could still hold the pipes; it has been ended.
    for reader in (out, err):
        reader.thread.join(5)
    return SshDone(process.returncode, out.found, err.found.decode("utf-8", "replace"), late, out.full.is_set())


def _started(words: Sequence[str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise LaunchError("There is no ssh on this machine.", "apt-get install openssh-client") from None


def _give(process: subprocess.Popen[bytes], given: bytes) -> None:
    assert process.stdin
    with contextlib.suppress(OSError), process.stdin:
        process.stdin.write(given)


class _Bounded:
    """Reads a pipe into memory, up to a size; the rest is read and dropped until the process is ended."""

    def __init__(self, pipe: IO[bytes] | None, most: int) -> None:
        assert pipe
        self._pipe = pipe
        self._most = most
        self._kept = bytearray()
        self.full = threading.Event()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._pipe:
            while piece := os.read(self._pipe.fileno(), 65536):
                room = self._most - len(self._kept)
                self._kept += piece[:room]
                if len(piece) > room:
                    self.full.set()

    @property
    def found(self) -> bytes:
        """What was kept."""
        return bytes(self._kept)


def follow_there(config: Path, host: str, command: str, each_line: Callable[[str], None]) -> int:
    """Run a shell command on a host and hand on each line that it prints, standard error among them; gives its exit status.

    It lasts as long as the command: the keep-alive of the configuration ends a connection that is dead. Ctrl-C ends the connection.

    Args:
        config: of ssh.
        host: as the configuration names it.
        command: for the shell there.
        each_line: called with at most 64 KiB of a line, undecodable bytes replaced.

    Raises:
        LaunchError: there is no ssh here.
    """
    words = [
        "ssh",
        "-F",
        str(config),
        "-o",
        "BatchMode=yes",
        "-o",
        f"ConnectTimeout={CONNECT_S}",
        "-T",
        "--",
        host,
        command,
    ]
    try:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except FileNotFoundError:
        raise LaunchError("There is no ssh on this machine.", "apt-get install openssh-client") from None
    assert process.stdout
    try:
        with process.stdout as lines:
            while line := lines.readline(65536):
                each_line(line.decode("utf-8", "replace").rstrip("\r\n"))
    finally:
        if process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
        process.wait()
    return process.returncode
