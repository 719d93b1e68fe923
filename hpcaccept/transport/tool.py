"""A check runs somebody else's tool, which always ends, is seen to work, and never outlives the rank.

The tool stays in the rank's process group and cgroup, so what ends the step ends it; ``setpriv --pdeathsig`` (util-linux)
ends it even when the rank is killed alone. Trap: that signal comes when the *thread* that started the tool ends.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from hpcaccept.bounded import read_bytes
from hpcaccept.errors import ToolError
from hpcaccept.model.check import Unavailable
from hpcaccept.transport.process import Done

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hpcaccept.model.check import CheckContext


#: For a program to end by itself when it is of no use any more.
_GIVE_UP_S = 5.0
#: Of what one program says.
_MOST_OUTPUT = 64 * 1024 * 1024
#: A running tool, output in pipes.
Tool = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Finished(Done):
    """What a tool said until it ended, or until its time was over.

    Attributes:
        late: True when it still ran at its deadline: then ``returncode`` means nothing and ``stdout`` is what there was until then.
    """

    late: bool = False


def found(program: str, remedy: str = "") -> str:
    """Path of a program.

    Raises:
        Unavailable: it is not installed here, which the record says as NOT_RUN with the remedy.
    """
    path = shutil.which(program)
    if path is None:
        raise Unavailable(f"{program} is not installed where the ranks run", remedy or f"Add {program} to the image.")
    return path


@contextlib.contextmanager
def started(command: Sequence[str], *, env: Mapping[str, str | None] | None = None, remedy: str = "") -> Iterator[Tool]:
    """A tool that runs while the block is open, output in pipes; nothing of it is left afterwards.

    Raises:
        Unavailable: it is not installed here.
    """
    with _running(command, env, remedy, subprocess.PIPE, subprocess.PIPE) as process:
        yield process


@contextlib.contextmanager
def _running(
    command: Sequence[str],
    env: Mapping[str, str | None] | None,
    remedy: str,
    out: IO[bytes] | int,
    err: IO[bytes] | int,
) -> Iterator[Tool]:
    program = [found(command[0], remedy), *command[1:]]
    setpriv = shutil.which("setpriv")
    argv = [setpriv, "--pdeathsig", "KILL", "--", *program] if setpriv else program
    # No core's worth of threads is inherited: the tool has settings of its own. Messages are parsed: no translations.
    variables = {**os.environ, "LC_ALL": "C", **(env or {})}
    process = subprocess.Popen(
        argv,
        stdout=out,
        stderr=err,
        stdin=subprocess.DEVNULL,
        env={name: value for name, value in variables.items() if value is not None},
    )
    try:
        yield process
    finally:
        _end(process)


def run_tool(
    ctx: CheckContext,
    command: Sequence[str],
    *,
    timeout_s: float,
    env: Mapping[str, str | None] | None = None,
    remedy: str = "",
    keep_as: str = "",
) -> Done:
    """Run a tool to its end, say once a second that it is at work, and keep what it said (``ctx.keep``).

    Args:
        ctx: of the check that runs it.
        command: program and arguments.
        timeout_s: after which it and its children are killed.
        env: variables beside those of this process; None takes one away.
        remedy: what to do when it is not installed.
        keep_as: name of its outputs, where a check runs a tool more than once; the program's by default.

    Raises:
        Unavailable: it is not installed here.
        ToolError: it did not end in time; what it had said until then is kept.
    """
    name = os.path.basename(command[0])  # noqa: PTH119 (a name, no path)
    kept = keep_as or name
    begin = time.monotonic()
    with started(command, env=env, remedy=remedy) as process:
        done = finish(process, begin + timeout_s, lambda: ctx.beat(f"{name}, {time.monotonic() - begin:.0f} s"))
    if done.late:
        ctx.keep(f"{kept}.out", done.stdout)
        raise ToolError(f"{name} did not end within {timeout_s:g} s", "Its output until then is in the run folder.")
    for kind, text in (("out", done.stdout), ("err", done.stderr)):
        if text:
            ctx.keep(f"{kept}.{kind}", text)
    return done


def run_to_files(
    ctx: CheckContext,
    command: Sequence[str],
    *,
    timeout_s: float,
    env: Mapping[str, str | None] | None = None,
    remedy: str = "",
    give_up: Callable[[], bool] = lambda: False,
) -> Finished:
    """Like ``run_tool`` for a program that others may end together with this rank: what it says stands in the run folder as it says it.

    Args:
        ctx: of the check that runs it.
        command: program and arguments.
        timeout_s: after which it is killed.
        env: variables beside those of this process; None takes one away.
        remedy: what to do when it is not installed.
        give_up: asked about once a second; some seconds after it says yes the program is killed, and ``late`` says so.

    Raises:
        Unavailable, ToolError: as ``run_tool``.
    """
    name = os.path.basename(command[0])  # noqa: PTH119 (a name, no path)
    files = [ctx.folder / f"{name}.r{ctx.rank:06d}.{kind}" for kind in ("out", "err")]
    begin = time.monotonic()
    late, until = False, math.inf
    with files[0].open("wb") as out, files[1].open("wb") as err, _running(command, env, remedy, out, err) as process:
        while process.poll() is None and not late:
            ctx.beat(f"{name}, {time.monotonic() - begin:.0f} s")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1.0)
            now = time.monotonic()
            until = min(until, now + _GIVE_UP_S) if give_up() else until
            late = process.poll() is None and (now - begin > timeout_s or now > until)
    for file in files:
        if file.stat().st_size:
            ctx.fact(f"output[{file.name}]", f"{file.parent.parent.name}/{file.parent.name}/{file.name}")
    if late and until == math.inf:
        raise ToolError(f"{name} did not end within {timeout_s:g} s", "Its output until then is in the run folder.")
    said = [_text(read_bytes(file, most=_MOST_OUTPUT)) for file in files]
    return Finished(process.returncode, said[0], said[1], late=late)


def finish(process: Tool, until: float, beat: Callable[[], None]) -> Finished:
    """Wait for a started tool, at most until a time of ``time.monotonic``; ``beat`` is called about once a second."""
    while True:
        try:
            out, err = process.communicate(timeout=1.0)
        except subprocess.TimeoutExpired as still:
            beat()
            if time.monotonic() > until:
                return Finished(0, _text(still.stdout), _text(still.stderr), late=True)
        else:
            return Finished(process.returncode, _text(out), _text(err))


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "replace")


def _end(process: Tool) -> None:
    """Kill the tool and its children, and wait for it; a tool that has ended already costs nothing."""
    if process.poll() is None:
        import psutil

        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        process.kill()
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe:
            pipe.close()
