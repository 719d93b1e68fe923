"""What has a run left behind: processes, jobs, sockets?"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from system.cluster import VirtualSlurm


def processes_of(folder: Path) -> dict[int, str]:
    """Process number → command line, of everything that has the run folder among its arguments: driver, launcher, ranks."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = entry.read_bytes().decode("utf-8", "replace").split("\0")
            if str(folder) in words:
                found[int(entry.parent.name)] = " ".join(words)
    return found


def processes_naming(folder: Path) -> list[int]:
    """Everything that has a path below a folder among its arguments: the command that was typed, too."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f"{folder}/" in entry.read_bytes().decode("utf-8", "replace"):
                found.append(int(entry.parent.name))
    return found


def jobs_of(slurm: VirtualSlurm, folder: Path) -> list[str]:
    """Jobs that wait or run and were told to start in a run folder."""
    words = ["squeue", "-h", "-t", "pending,running,completing,suspended", "-o", "%A|%Z"]
    said = subprocess.run(words, env={**os.environ, **slurm.env}, capture_output=True, text=True, check=False).stdout
    return [line.partition("|")[0] for line in said.splitlines() if line.endswith(f"|{folder}")]


def sockets_under(folder: Path) -> list[str]:
    """Sockets of the file system below a folder."""
    return [str(path) for path in folder.rglob("*") if path.is_socket()]
