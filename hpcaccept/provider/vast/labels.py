"""The label by which a rental is known to be ours, and until when it may live.

``hpcaccept-vast.RUN.MACHINE.UNTIL``: an instance with any other label is somebody else's and never touched. A killed client leaves nothing else
behind by which its rentals could be found.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

PREFIX = "hpcaccept-vast"
#: As ``run_id`` makes them.
RUN = re.compile(r"[0-9]{8}t[0-9]{6}-[0-9a-f]{8}")
_LABEL = re.compile(rf"{PREFIX}\.({RUN.pattern})\.(\d{{1,16}})\.(\d{{8}}T\d{{6}}Z)", re.ASCII)
_TIME = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class Mark:
    """What a label says.

    Attributes:
        run: that rented it.
        machine: that was asked for.
        until: when it may be removed by anybody (UTC).
    """

    run: str
    machine: int
    until: dt.datetime

    def __str__(self) -> str:
        return f"{PREFIX}.{self.run}.{self.machine}.{self.until.strftime(_TIME)}"


def mark_of(label: object) -> Mark | None:
    """The mark of a label; None for any other label."""
    found = _LABEL.fullmatch(label) if isinstance(label, str) else None
    if not found:
        return None
    try:
        until = dt.datetime.strptime(found[3], _TIME).replace(tzinfo=dt.timezone.utc)
    except ValueError:
        return None
    return Mark(found[1], int(found[2]), until)


def run_id(now: dt.datetime, random: str) -> str:
    """A name for a run that no other has.

    Args:
        now: UTC.
        random: eight hexadecimal digits.
    """
    return f"{now.strftime('%Y%m%dt%H%M%S')}-{random}"
