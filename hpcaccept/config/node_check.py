"""What the site expects of a node: ``/etc/hpcaccept/node-check.toml``, read strictly."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from hpcaccept.config.toml import read_toml
from hpcaccept.errors import UsageError, nearest
from hpcaccept.model.node_check import Expected
from hpcaccept.serial import from_plain

FILE = Path("/etc/hpcaccept/node-check.toml")
#: Bounds of what people type: name → (least, most).
_BOUNDS = {
    "gpus": (0, 1024),
    "nvlinks": (0, 1024),
    "cores": (1, 1 << 20),
    "memory_bytes": (1, 1 << 60),
    "memory_available_share": (0, 1),
    "rate_gbit": (0, 1e6),
    "clock_error_s": (0, 3600),
    "deep_max_age_s": (1, 366 * 86400),
}


def read_expected(file: Path) -> Expected:
    """What is expected, by a file of the site.

    Raises:
        UsageError: it is not there, or holds something that cannot be; the message names file and key.
    """
    return expected_of(read_toml(file), str(file))


def expected_of(tables: dict[str, Any], place: str) -> Expected:
    """What is expected, by the tables of such a file. Raises UsageError as ``read_expected``."""
    known = [field.name for field in dataclasses.fields(Expected)]
    for key in tables:
        if key not in known:
            raise UsageError(f"{place}: unknown key {key!r}.", nearest(key, known))
    try:
        found = from_plain(tables, Expected)
    except ValueError as fault:
        raise UsageError(f"{place}: {fault}.", "docs/how-to/fleet.md has an example of the file.") from None
    for name, (least, most) in _BOUNDS.items():
        value = getattr(found, name)
        if value is not None and not least <= value <= most:
            raise UsageError(f"{place}: {name} is {value}, expected {least} to {most:g}.")
    for point in (*found.mounts, *found.disks):
        if not point.startswith("/"):
            raise UsageError(f"{place}: {point!r} is not an absolute path.", 'For example [mounts."/home"].')
    return found
