"""Whether runs can be kept in the runs folder, and for how long there is room."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.measure.host import host
from hpcaccept.model.doctor.finding import Finding
from hpcaccept.units import show

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.app.doctor.case import Case
    from hpcaccept.model.doctor.finding import Mark

PLACE = 60
NEEDS: set[str] = set()
#: A run of a few nodes takes megabytes, one of thousands a gigabyte.
_LEAST_BYTES = 1 << 30
_LEAST_FILES = 10_000
#: File systems that no other machine can see.
_IN_MEMORY = ("tmpfs", "ramfs", "devtmpfs")


@dataclass(frozen=True)
class Seen:
    """The file system of the runs, seen from here.

    Attributes:
        folder: of the runs; it may not be there yet.
        kind: of the file system.
        free_bytes: for this user.
        free_files: inodes; None where the file system does not count them.
        no_write: why nothing can be written there.
    """

    folder: str
    kind: str
    free_bytes: int
    free_files: int | None
    no_write: str = ""


def ask(case: Case) -> Seen:
    """Writes a page and takes it back; in the nearest folder that is there when that of the runs is not."""
    there = next(place for place in (case.runs_dir, *case.runs_dir.parents) if place.exists())
    mount = host.mount_of(there)
    room = os.statvfs(there)
    # Lustre, NFS and btrfs may count no inodes: they say 0 of 0.
    files = room.f_favail if room.f_files else None
    return Seen(str(case.runs_dir), mount.kind if mount else "", room.f_bavail * room.f_frsize, files, _writing(there))


def _writing(folder: Path) -> str:
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".hpcaccept-doctor-") as file:
            file.write(b"\1" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as fault:
        return fault.strerror or str(fault)
    return ""


def judge(case: Case, seen: Seen) -> list[Finding]:
    """Whether all nodes see it, only they can say."""
    elsewhere = "--runs-dir DIR (or HPCACCEPT_RUNS_DIR), a folder that all nodes share"
    if seen.no_write:
        return [Finding("runs folder", "wrong", f"{seen.folder}: {seen.no_write}", "writable", elsewhere, stops=True)]
    room = f"{show(float(seen.free_bytes), 'B')} free on {seen.kind or 'an unknown file system'}"
    text = f"{seen.folder}: {room}"
    if seen.free_bytes < _LEAST_BYTES:
        least = show(float(_LEAST_BYTES), "B")
        mark: Mark = "wrong" if seen.free_bytes < 1 << 24 else "warning"
        return [Finding("runs folder", mark, text, f"{least} or more", "Free some, or --runs-dir elsewhere")]
    if seen.free_files is not None and seen.free_files < _LEAST_FILES:
        found = f"{text}, room for {seen.free_files:,} files"
        return [Finding("runs folder", "warning", found, f"{_LEAST_FILES:,} or more", "Remove files (df -i)")]
    if case.quick and not case.traits.virtual and seen.kind in _IN_MEMORY:
        return [Finding("runs folder", "warning", f"{text}, in this machine's memory", "shared", elsewhere)]
    return [Finding("runs folder", "ok", text)]
