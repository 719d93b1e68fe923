"""The losses that a person has accepted. ``history/accepted.json``: what failed since some run is normal for that subject from now on.

Nothing else makes what failed normal: a loss for good is told every night until it is repaired or accepted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.bounded import read_text
from hpcaccept.errors import StoreError
from hpcaccept.serial import from_plain, loads, to_plain
from hpcaccept.store.one_writer import locked
from hpcaccept.store.replaced_files import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True)
class Acceptance:
    """What a person said of one subject.

    Attributes:
        subject: its id.
        since: when the first run was planned that is normal for it (UTC, ISO 8601); what came before is no longer compared with.
        at: when it was said; what failed later is a new failure.
    """

    subject: str
    since: str
    at: str


def read_accepted(folder: Path) -> dict[str, Acceptance]:
    """Subject id → the last acceptance; none where nobody accepted anything.

    Raises:
        StoreError: the file is damaged.
    """
    file = folder / "accepted.json"
    try:
        found = from_plain(loads(read_text(file)), list[Acceptance])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as fault:
        raise StoreError(
            f"{file} cannot be read: {fault}; expected what 'hpcaccept history accept' wrote.",
            "Move it away, and accept again what is to be normal.",
        ) from None
    return {one.subject: one for one in found}


def accept(folder: Path, new: Iterable[Acceptance]) -> None:
    """Add acceptances; one of a subject replaces its former one.

    Raises:
        RunError: another process writes, and did not end in half a minute.
        StoreError: what is there cannot be read.
        OSError: no space or no permission.
    """
    with locked(folder / ".lock", "accepting a loss"):
        all_ = read_accepted(folder) | {one.subject: one for one in new}
        write_accepted(folder, list(all_.values()))


def write_accepted(folder: Path, all_: list[Acceptance]) -> None:
    """Write all that was accepted, whole. Raises OSError."""
    replace_file(folder / "accepted.json", json.dumps(to_plain(all_), indent=1) + "\n")
