"""Runs a command that always ends, and whose output is kept."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.errors import LaunchError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Done:
    """A command that has ended.

    Attributes:
        returncode: exit status; negative: ended by that signal.
        stdout: text, undecodable bytes replaced.
        stderr: the same.
    """

    returncode: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """True for exit status 0."""
        return self.returncode == 0


@dataclass(frozen=True)
class RawDone:
    """A command that has ended, its output byte for byte.

    Attributes:
        returncode: exit status; negative: ended by that signal.
        stdout: as it came.
        stderr: as it came.
    """

    returncode: int
    stdout: bytes
    stderr: bytes


def ask(command: Sequence[str], *, timeout_s: float = 20.0, env: Mapping[str, str] | None = None) -> Done:
    """Run a short command and give its output.

    Raises:
        LaunchError: as ``ask_raw``.
    """
    done = ask_raw(command, timeout_s=timeout_s, env=env)
    return Done(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


def ask_raw(command: Sequence[str], *, timeout_s: float = 20.0, env: Mapping[str, str] | None = None) -> RawDone:
    """Run a short command and give its output undecoded: for what is written back as it was.

    Raises:
        LaunchError: there is no such program, or it did not answer in time.
    """
    try:
        done = subprocess.run(
            list(command), capture_output=True, timeout=timeout_s, env=env, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        raise LaunchError(f"There is no program {command[0]!r} on this machine.") from None
    except subprocess.TimeoutExpired:
        raise LaunchError(f"{command[0]} did not answer within {timeout_s:g} s.", "Is the scheduler up?") from None
    return RawDone(done.returncode, done.stdout, done.stderr)


def run_until(
    command: Sequence[str],
    *,
    out: Path,
    err: Path,
    deadline_s: float,
    env: Mapping[str, str],
    should_stop: Callable[[], bool] = lambda: False,
    grace_s: float = 10.0,
) -> tuple[int, bool]:
    """Run a command with its output in files until it ends, its deadline passes, or ``should_stop`` says so.

    The command is the leader of a process group of its own; what is left of the group is ended with it.

    Returns:
        Exit status (negative: ended by that signal), and whether the deadline passed.

    Raises:
        LaunchError: there is no such program.
    """
    with sink(out) as stdout, sink(err) as stderr:
        try:
            process = subprocess.Popen(
                list(command),
                stdout=stdout,
                stderr=stderr,
                stdin=subprocess.DEVNULL,
                env=dict(env),
                start_new_session=True,
            )
        except FileNotFoundError:
            raise LaunchError(f"There is no program {command[0]!r} on this machine.") from None
        until = time.monotonic() + deadline_s
        late = False
        try:
            while process.poll() is None and not should_stop():
                if time.monotonic() > until:
                    late = True
                    break
                # subprocess wakes on SIGCHLD nowhere: a short timeout costs nothing next to a step.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=0.05)
        finally:
            end_group(process, grace_s)
    return process.returncode, late


def sink(file: Path) -> contextlib.AbstractContextManager[int]:
    """An open file for the output of a command; where none can be made its words are lost, and nothing else."""

    @contextlib.contextmanager
    def opened():  # type: ignore[no-untyped-def]
        try:
            # A link would empty another file, and a pipe wait for ever.
            handle = os.open(
                file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644
            )
            os.set_blocking(handle, True)
        except OSError:
            # No inode left for a log is no reason not to measure: the journals decide.
            handle = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            yield handle
        finally:
            os.close(handle)

    context: contextlib.AbstractContextManager[int] = opened()
    return context


def end_group(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """End a process and its group: SIGCONT and SIGTERM, then SIGKILL after a grace. Returns when the leader is reaped."""
    if process.poll() is None:
        # Twice: launchers (mpiexec, srun) take the first one as a request and the second as an order.
        for _ in range(2):
            for number in (signal.SIGTERM, signal.SIGCONT):
                _signal_group(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=grace_s / 2)
                break
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def spawn_detached(command: Sequence[str], *, log: Path, env: Mapping[str, str], cwd: Path) -> int:
    """Start a process that outlives this one, in a session of its own; gives its number."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            list(command),
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    return process.pid


class Heir:
    """A process that outlives this one and learns of its end, because the pipe that it reads then ends without a farewell."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def dismiss(self, farewell: bytes = b"done\n") -> None:
        """Tell it that nothing is left to do, and wait until it has ended."""
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.write(farewell)
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)


def spawn_heir(command: Sequence[str], first: bytes, *, log: Path, env: Mapping[str, str], cwd: Path) -> Heir:
    """Start a process in a session of its own that reads a pipe of this one.

    Args:
        command: to run.
        first: what it reads first: a secret travels here, and neither in its arguments nor in its environment.
        log: file for its output, readable by its owner alone.
        env: of it.
        cwd: where it runs.

    Raises:
        LaunchError: it does not start.
    """
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=handle,
            stderr=handle,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
        assert process.stdin is not None
        process.stdin.write(first)
        process.stdin.flush()
    except OSError as fault:
        raise LaunchError(f"{command[0]} does not start: {fault.strerror}.") from None
    finally:
        os.close(handle)
    return Heir(process)
