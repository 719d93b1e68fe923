"""A process that gets only a share of one core from now on: a real quota of the kernel (cgroup v1)."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CPU = Path("/sys/fs/cgroup/cpu")


def why_not() -> str:
    """Why there can be no quota here; empty when there can."""
    writable = os.geteuid() == 0 and ((_CPU / "cpu.cfs_quota_us").exists() or (_CPU / "tasks").exists())
    return "" if writable else "a CPU quota needs root and a writable cgroup v1"


@contextmanager
def quota(pid: int, share: float) -> Iterator[None]:
    """The process, and what it starts from now on, get this share of one core while open."""
    group = _CPU / f"hpcaccept-test-{os.getpid()}"
    home = _CPU / _cgroup(pid)
    group.mkdir()
    try:
        (group / "cpu.cfs_period_us").write_text("100000")
        (group / "cpu.cfs_quota_us").write_text(str(int(100000 * share)))
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        for member in (group / "cgroup.procs").read_text().split():
            (home / "cgroup.procs").write_text(member)
        group.rmdir()


def _cgroup(pid: int) -> str:
    lines = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    return next(path for _, controllers, path in lines if "cpu" in controllers.split(",")).lstrip("/")
