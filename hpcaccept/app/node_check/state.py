"""What a node remembers between two looks: small files in one folder of its own, with snapshots, the result of ``--deep``, why a job was refused.

A file that is damaged, foreign or of another boot is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcaccept.bounded import read_text
from hpcaccept.errors import HpcacceptError
from hpcaccept.model.node_check import Deep
from hpcaccept.serial import dumps, from_plain, loads
from hpcaccept.store.replaced_files import OWNER_ONLY, SHARED, replace_file

FOLDER = Path("/var/lib/hpcaccept/node-check")
_DEEP = "deep.json"
#: Of jobs that never came to their epilog (the node went down): older snapshots are removed.
_OLDEST_S = 30 * 86400.0
_TORN_S = 3600.0


@dataclass(frozen=True)
class Snapshot:
    """What the parts of a look kept.

    Attributes:
        at: seconds since 1970.
        up_s: seconds since boot: differences are of the kernel's clock, which nobody sets.
        boot_id: of the kernel.
        kept: part → what it kept.
    """

    at: float
    up_s: float
    boot_id: str
    kept: dict[str, Any] = field(default_factory=dict)


def name_of(phase: str, job: str) -> str:
    """The file of a snapshot: one for each job, one for all health checks."""
    return f"job-{re.sub(r'[^0-9A-Za-z_.-]', '_', job or 'none')}.json" if phase != "health" else "health.json"


def read_snapshot(folder: Path, name: str, boot_id: str) -> Snapshot | None:
    """A snapshot of this boot; None where there is none."""
    try:
        found = from_plain(loads(read_text(folder / name)), Snapshot)
    except (OSError, ValueError):
        return None
    return found if found.boot_id == boot_id else None


def write_snapshot(folder: Path, name: str, snapshot: Snapshot) -> str:
    """Keep a snapshot; gives why that cannot be, or nothing."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        replace_file(folder / name, dumps(snapshot), OWNER_ONLY)
        _forget_old(folder, snapshot.at)
    except (OSError, HpcacceptError) as fault:
        return f"the snapshot cannot be kept in {folder}: {getattr(fault, 'strerror', None) or fault}"
    return ""


def forget_snapshot(folder: Path, name: str) -> None:
    """Remove a snapshot that was used."""
    (folder / name).unlink(missing_ok=True)


def _forget_old(folder: Path, now: float) -> None:
    # Names that begin with a dot are of writers that were ended at their deadline.
    for pattern, oldest_s in (("job-*.json", _OLDEST_S), (".*.json.*", _TORN_S)):
        for file in folder.glob(pattern):
            if now - file.stat().st_mtime > oldest_s:
                file.unlink(missing_ok=True)


def read_deep(folder: Path) -> Deep | None:
    """The last deep result; None where there is none. Raises ValueError where it is damaged, OSError where it cannot be read."""
    try:
        return from_plain(loads(read_text(folder / _DEEP)), Deep)
    except FileNotFoundError:
        return None


def write_deep(folder: Path, deep: Deep) -> None:
    """Keep a deep result. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    replace_file(folder / _DEEP, dumps(deep), SHARED)
