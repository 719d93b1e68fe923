"""Which Xids does the kernel's log tell of, of which GPU, and when?

The form of ``/dev/kmsg``: ``3,1234,5678901,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=…``: priority and facility, sequence number,
microseconds since boot. https://docs.kernel.org/admin-guide/abi-testing.html (dev-kmsg); the driver's part:
https://docs.nvidia.com/deploy/xid-errors/. Drivers before 2014 wrote no ``PCI:``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hpcaccept.errors import NotUnderstood

_XID = re.compile(r"NVRM: Xid \((?:PCI:)?(?P<bus>[0-9a-fA-F:.]+)\): (?P<code>\d+)\b")
_HEAD = re.compile(r"\d+,\d+,(?P<microseconds>\d+),[^;]*;(?P<text>.*)")


@dataclass(frozen=True)
class LoggedXid:
    """One Xid in the kernel's log.

    Attributes:
        code: the number.
        bus: domain, bus and device of the GPU, comparable with ``bus_of``.
        at_s: seconds since boot.
        text: the whole message.
    """

    code: int
    bus: tuple[int, ...]
    at_s: float
    text: str


def bus_of(text: str) -> tuple[int, ...]:
    """``(0, 0x3b, 0)`` from ``0000:3b:00`` and from NVML's ``00000000:3B:00.0``.

    Raises:
        ValueError: the text is no PCI address.
    """
    return tuple(int(part, 16) for part in text.partition(".")[0].split(":"))


def parse_xids(text: str) -> tuple[LoggedXid, ...]:
    """All Xids, oldest first; everything else in the log is passed over.

    Raises:
        NotUnderstood: a line that speaks of an Xid has another form.
    """
    found = []
    for line in text.splitlines():
        if "NVRM: Xid" not in line:
            continue
        head, xid = _HEAD.match(line), _XID.search(line)
        if not head or not xid:
            raise NotUnderstood(
                f"found the line {line[:200]!r} in the kernel's log, expected 'NVRM: Xid (PCI:…): NUMBER'"
            )
        found.append(
            LoggedXid(int(xid["code"]), bus_of(xid["bus"]), int(head["microseconds"]) / 1e6, head["text"].strip())
        )
    return tuple(found)
