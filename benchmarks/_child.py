"""How is a whole process timed, as a user would have started it?

Byte code caches are what users have, so PYTHONDONTWRITEBYTECODE is unset. ``Popen.wait(timeout=…)`` polls with pauses
of up to 50 ms: here a timer ends a late process, and the wait itself is the kernel's.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._row import CannotRun

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[1]
_NOT_A_USERS = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONPATH", "PYTHONPROFILEIMPORTTIME")


def environment(**more: str) -> dict[str, str]:
    """Ours, less what a user does not have, and without any setting of hpcaccept or any job."""
    foreign = ("HPCACCEPT_", "SLURM_", "SBATCH_", "OMPI_", "PMIX_", "OMP_", "COVERAGE_")
    kept = {k: v for k, v in os.environ.items() if k not in _NOT_A_USERS and not k.startswith(foreign)}
    return {**kept, **more}


def seconds(command: Sequence[str], env: Mapping[str, str], *, cwd: Path = ROOT, timeout_s: float = 60.0) -> float:
    """Wall seconds from before the start of a command to its end.

    Raises:
        CannotRun: it failed, with its last words, or it took longer than the time-out.
    """
    begin = time.perf_counter()
    output(command, env, cwd=cwd, timeout_s=timeout_s)
    return time.perf_counter() - begin


def output(command: Sequence[str], env: Mapping[str, str], *, cwd: Path = ROOT, timeout_s: float = 60.0) -> str:
    """What a command prints. Raises CannotRun as ``seconds`` does."""
    try:
        child = subprocess.Popen(
            list(command), env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    except FileNotFoundError as fault:
        raise CannotRun(f"{shlex.join(command)}: {fault}") from None
    with ending(child, timeout_s):
        out, err = child.communicate()
    if child.returncode:
        last = " / ".join((err or out).strip().splitlines()[-3:])
        raise CannotRun(f"{shlex.join(command)}: exit status {child.returncode}: {last}")
    return out


class ending:  # noqa: N801 (a context manager, used like a function)
    """While open, a child that lives longer than its time is killed."""

    def __init__(self, child: subprocess.Popen[str], timeout_s: float) -> None:
        self._timer = threading.Timer(timeout_s, child.kill)

    def __enter__(self) -> None:
        """Start the clock."""
        self._timer.daemon = True
        self._timer.start()

    def __exit__(self, *fault: object) -> None:
        """Stop it."""
        self._timer.cancel()


def rounds(count: int, budget_s: float, least: int = 2) -> Iterator[int]:
    """0, 1, … ``count`` - 1; on a slow or busy machine fewer, but not fewer than ``least``, so that all of it ends."""
    begin = time.monotonic()
    for number in range(count):
        if number >= least and time.monotonic() - begin > budget_s:
            return
        yield number
