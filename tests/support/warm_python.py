"""Processes of one function, forked from an interpreter that has imported it: for tests that start the same program fifty times.

Each is a process of its own, with its own environment, folder, streams and end; it can be killed like any other. What a test asks of the start
of Python itself needs a real start. What the dynamic linker reads (``LD_LIBRARY_PATH``) is that of the interpreter: see ``warm_python``.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_READY = "ready\n"
_MOST_BYTES = 1 << 20


def _readable(link: socket.socket, timeout_s: float) -> bool:
    """Whether something has come, or comes in time. A process with many open files may have numbers that ``select`` does not take."""
    waiting = select.poll()
    waiting.register(link, select.POLLIN)
    return bool(waiting.poll(timeout_s * 1000))


@dataclass
class WarmProcess:
    """One of them. Its standard output and error are one stream unless they were asked for apart."""

    pid: int
    _link: socket.socket
    _files: tuple[Path, ...]
    returncode: int | None = field(default=None, init=False)

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        if self.returncode is None and _readable(self._link, 0):
            self._end()
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Its exit code; that of a signal is negative, as ``subprocess`` says it."""
        if self.returncode is None:
            if not _readable(self._link, timeout):
                raise subprocess.TimeoutExpired(str(self.pid), timeout, self._text())
            self._end()
        assert self.returncode is not None
        return self.returncode

    def _end(self) -> None:
        with self._link:
            self.returncode = _received(self._link)["code"]

    def communicate(self, timeout: float) -> tuple[str, str]:
        """What it has said until its end."""
        self.wait(timeout)
        texts = [file.read_text("utf-8") for file in self._files]
        return texts[0], texts[1] if len(texts) > 1 else ""

    def send_signal(self, number: int) -> None:
        """To it alone."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _text(self) -> str:
        return "".join(file.read_text("utf-8", "replace") for file in self._files)


@dataclass(frozen=True)
class WarmPython:
    """The interpreter that they are forked from."""

    _socket: Path

    def start(
        self,
        *words: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        apart: bool = False,
    ) -> WarmProcess:
        """A process that calls the function.

        Args:
            words: ``sys.argv`` after the name.
            env: the whole environment; else that of this process.
            cwd: its folder.
            apart: keep standard output and error apart.
        """
        link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        link.connect(str(self._socket))
        handles = [tempfile.mkstemp(dir=self._socket.parent) for _ in range(1 + apart)]
        request = {"words": words, "env": dict(os.environ if env is None else env), "cwd": str(cwd or Path.cwd())}
        numbers = array.array("i", [number for number, _ in handles])
        link.sendmsg([json.dumps(request).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)])
        for number, _ in handles:
            os.close(number)
        return WarmProcess(_received(link)["pid"], link, tuple(Path(name) for _, name in handles))

    def run(
        self, *words: str, env: Mapping[str, str] | None = None, cwd: Path | None = None, timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """The same to its end."""
        process = self.start(*words, env=env, cwd=cwd, apart=True)
        out, err = process.communicate(timeout_s)
        assert process.returncode is not None
        return subprocess.CompletedProcess(words, process.returncode, out, err)


@contextlib.contextmanager
def warm_python(function: str, env: Mapping[str, str] | None = None) -> Iterator[WarmPython]:
    """An interpreter that has imported ``module:function``.

    Args:
        function: without arguments; what it gives is the exit code, as ``sys.exit`` takes it.
        env: more than this process has. What is read at the start of a process, for its libraries, belongs here.
    """
    root = Path(__file__).parents[2]
    paths = {"PYTHONPATH": os.pathsep.join((str(root / "tests"), str(root)))}
    with tempfile.TemporaryDirectory(prefix="warm-") as name:
        place = Path(name, "socket")
        command = [sys.executable, "-m", "support.warm_python", function, str(place)]
        with subprocess.Popen(
            command, env={**os.environ, **paths, **(env or {})}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server:  # fmt: skip
            assert server.stdin
            assert server.stdout
            assert server.stdout.readline() == _READY
            yield WarmPython(place)
            # Its end is the end of the interpreter; processes that still run are their tests' own.
            server.stdin.close()
            server.wait(30)


def _received(link: socket.socket) -> dict[str, Any]:
    answer = link.recv(_MOST_BYTES)
    assert answer, "the interpreter has ended"
    found: dict[str, Any] = json.loads(answer)
    return found


# --- the interpreter --------------------------------------------------------------------------------------------------


def _serve(function: str, place: str) -> int | str | None:
    """Until standard input ends; in a forked process the function's exit code comes back instead."""
    module, _, name = function.partition(":")
    called = getattr(importlib.import_module(module), name)
    # Nobody waits for those who wait for the processes.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(place)
        listener.listen(64)
        sys.stdout.write(_READY)
        sys.stdout.flush()
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                return 0
            link, _ = listener.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                return _forked(link, called)
            link.close()


def _forked(link: socket.socket, called: Callable[[], Any]) -> int | str | None:
    """Fork the process and tell who it is and how it ended."""
    text, ancillary, _, _ = link.recvmsg(_MOST_BYTES, 1024)
    numbers = array.array("i")
    for _, _, given in ancillary:
        numbers.frombytes(given)
    pid = os.fork()
    if pid == 0:
        link.close()
        return _become(json.loads(text), list(numbers), called)
    link.send(json.dumps({"pid": pid}).encode())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(OSError):
        link.send(json.dumps({"code": code}).encode())
    os._exit(0)


def _become(request: dict[str, Any], streams: Sequence[int], called: Callable[[], Any]) -> int | str | None:
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(streams[0], 1)
    os.dup2(streams[-1], 2)
    for number in streams:
        os.close(number)
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    os.chdir(request["cwd"])
    sys.argv[1:] = request["words"]
    code: int | str | None = called()
    return code


def told() -> None:
    """Does what it is told: its first word is Python. For the tests of this file."""
    exec(compile(sys.argv[1], "<word>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    sys.exit(_serve(*sys.argv[1:]))
