"""Whether every expected file system is mounted, answers, and has room. One look for each place: a server that is gone hangs only its own.

Nothing is written: a read-only file system says so (``ST_RDONLY``), also after the kernel has made it so.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hpcaccept.app.node_check.look import Look
from hpcaccept.app.node_check.one_node import judged
from hpcaccept.measure.host import host
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import at_least, at_most

if TYPE_CHECKING:
    from hpcaccept.app.node_check.look import Asked
    from hpcaccept.model.node_check import ExpectedDisk, ExpectedMount, Item

_OURS = "what this node is expected to have"


def mount(asked: Asked, point: str, wanted: ExpectedMount) -> Look:
    """One file system that must be mounted."""
    part = f"mount {point}"
    text = host.kernel_text(asked.root / "proc/self/mountinfo")
    # Of two mounts on one point the later one hides the earlier one.
    found = next(
        (m for m in reversed(host.parse_mounts(text)) if m.point == point.rstrip("/") or m.point == point), None
    )
    limit = at_most(0, "mounts", _OURS)
    wrong = _wrong(found, wanted)
    items = [judged(part, "missing", FindingCode.MOUNT_MISSING, float(bool(wrong)), limit, wrong)]
    if not wrong:
        items += _room(part, f"{asked.root}/{point}".replace("//", "/"), writable=wanted.writable)
    return Look(items)


def _wrong(found: host.Mount | None, wanted: ExpectedMount) -> str:
    if found is None:
        return "nothing is mounted there"
    if wanted.kind and found.kind != wanted.kind:
        return f"it is {found.kind} of {found.source}, expected {wanted.kind}"
    return f"it is {found.source}, expected {wanted.source}" if wanted.source not in ("", found.source) else ""


def disk(asked: Asked, place: str, wanted: ExpectedDisk) -> Look:
    """One folder whose file system must have room."""
    return Look(_room(f"disk {place}", f"{asked.root}/{place}".replace("//", "/"), wanted))


def _room(part: str, place: str, wanted: ExpectedDisk | None = None, writable: bool = True) -> list[Item]:
    try:
        found = os.statvfs(place)
    except OSError as fault:
        limit = at_most(0, "errors", "it has to answer")
        return [judged(part, "no_answer", FindingCode.MOUNT_SILENT, 1, limit, fault.strerror or "")]
    limit = at_most(0, "errors", "it has to answer")
    items = [judged(part, "no_answer", FindingCode.MOUNT_SILENT, 0, limit)]
    if writable:
        read_only = float(bool(found.f_flag & os.ST_RDONLY))
        limit = at_most(0, "file systems", "jobs write here")
        items.append(judged(part, "read_only", FindingCode.DISK_FAILED, read_only, limit, "see the kernel's log"))
    if wanted is not None:
        limit = at_least(wanted.free_bytes, "B", _OURS)
        items.append(judged(part, "free_bytes", FindingCode.DISK_FULL, found.f_bavail * found.f_frsize, limit))
        if found.f_files:
            limit = at_least(wanted.free_inodes_share, "share", _OURS)
            items.append(
                judged(part, "free_inodes_share", FindingCode.DISK_FULL, found.f_favail / found.f_files, limit)
            )
    return items
