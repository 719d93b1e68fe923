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
from typing import TYPE_CHECKING

from hpcaccept.errors import ToolError
from hpcaccept.model.check import Unavailable
from hpcaccept.transport.process import Done

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hpcaccept.model.check import CheckContext


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
def started(
    command: Sequence[str], *, env: Mapping[str, str | None] | None = None, remedy: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
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
        while True:
            try:
                out, err = process.communicate(timeout=1.0)
                break
            except subprocess.TimeoutExpired as still:
                spent_s = time.monotonic() - begin
                ctx.beat(f"{name}, {spent_s:.0f} s")
                if spent_s > timeout_s:
                    ctx.keep(f"{kept}.out", (still.stdout or b"").decode("utf-8", "replace"))
                    raise ToolError(
                        f"{name} did not end within {timeout_s:g} s", "Its output until then is in the run folder."
                    ) from None
        done = Done(process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))
    for kind, text in (("out", done.stdout), ("err", done.stderr)):
        if text:
            ctx.keep(f"{kept}.{kind}", text)
    return done


def _end(process: subprocess.Popen[bytes]) -> None:
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
