"""How does a check run somebody else's tool, so that it always ends, is seen to work, and never outlives the rank?

The tool stays in the rank's process group and cgroup, so what ends the step ends it; ``setpriv --pdeathsig`` (util-linux)
ends it even when the rank is killed alone. Trap: that signal comes when the *thread* that started the tool ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.errors import ToolError
from hpcaccept.model.check import Unavailable
from hpcaccept.transport.process import Done

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hpcaccept.model.check import CheckContext


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
    program = [found(command[0], remedy), *command[1:]]
    setpriv = shutil.which("setpriv")
    argv = [setpriv, "--pdeathsig", "KILL", "--", *program] if setpriv else program
    # No core's worth of threads is inherited: the tool has settings of its own. Messages are parsed: no translations.
    variables = {**os.environ, "LC_ALL": "C", **(env or {})}
    process = subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
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
