"""Speaks with a command while it runs: lines to it, lines from it with the time of their arrival."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

import psutil

from hpcaccept.errors import LaunchError
from hpcaccept.transport.process import end_group

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: What is kept of a command's standard error, in lines: its beginning and its end.
_KEPT = 400


class Talk:
    """A running command. Its standard error is kept, not spoken with."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._lines: queue.Queue[tuple[float, str]] = queue.Queue()
        self._first: list[str] = []
        self._last: deque[str] = deque(maxlen=_KEPT)
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read_out, self._read_err)]
        for reader in self._readers:
            reader.start()

    @property
    def ended(self) -> int | None:
        """Exit status, None while it runs."""
        return self._process.poll()

    @property
    def stderr(self) -> str:
        """What it has said of errors so far."""
        return "".join([*self._first, *self._last])

    def say(self, line: str) -> None:
        """To its standard input; a command that no longer listens is no error."""
        if self._process.stdin and not self._process.stdin.closed:
            with contextlib.suppress(OSError):
                self._process.stdin.write(f"{line}\n".encode())
                self._process.stdin.flush()

    def read_lines(self, timeout_s: float) -> list[tuple[float, str]]:
        """Lines that came since the last call, each with the time of its arrival; waits for the first one."""
        found = []
        with contextlib.suppress(queue.Empty):
            found.append(self._lines.get(timeout=timeout_s))
            while True:
                found.append(self._lines.get_nowait())
        return found

    def wait(self, timeout_s: float) -> None:
        """Until it has ended, or the time is over."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)

    def close(self) -> None:
        """No more lines to it. Its readers take what is still on its way, and close what they read."""
        if self._process.stdin:
            self._process.stdin.close()
        for reader in self._readers:
            reader.join(2.0)

    def _read_out(self) -> None:
        assert self._process.stdout  # a pipe, see talking
        with self._process.stdout as pipe:
            for raw in pipe:
                self._lines.put((time.time(), raw.decode("utf-8", "replace")))

    def _read_err(self) -> None:
        assert self._process.stderr
        with self._process.stderr as pipe:
            for raw in pipe:
                (self._first if len(self._first) < _KEPT else self._last).append(raw.decode("utf-8", "replace"))


def _children(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return list(psutil.Process(process.pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


@contextlib.contextmanager
def talking(command: Sequence[str], *, env: Mapping[str, str], grace_s: float = 10.0) -> Iterator[Talk]:
    """A command that runs while the block is open; it and all that it has started are ended with it.

    Raises:
        LaunchError: there is no such program.
    """
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            start_new_session=True,
        )
    except FileNotFoundError:
        raise LaunchError(f"There is no program {command[0]!r} on this machine.") from None
    talk = Talk(process)
    try:
        yield talk
    finally:
        children = _children(process)
        end_group(process, grace_s)
        # salloc gives what it runs a process group of its own.
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        with contextlib.suppress(OSError):
            talk.close()
