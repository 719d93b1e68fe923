"""Whether processors, memory and clock of the node are as expected and no disk of a RAID is missing. Files of the kernel, and adjtimex(2).

Sources: https://man7.org/linux/man-pages/man2/adjtimex.2.html; https://raid.wiki.kernel.org/index.php/Mdstat ("[UU_]": a disk is
missing); https://www.kernel.org/doc/Documentation/ABI/stable/sysfs-block and drivers/nvme/host/core.c (``state``: live, dead …).
"""

from __future__ import annotations

import ctypes
import re
from typing import TYPE_CHECKING

from hpcaccept.app.node_check.look import Look
from hpcaccept.app.node_check.one_node import broken, judged
from hpcaccept.measure.host import host, hyperv
from hpcaccept.model.check import Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import at_least, at_most

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.app.node_check.look import Asked
    from hpcaccept.model.node_check import Item

PART = "host"
_OURS = "what this node is expected to have"
#: Kernels of one machine differ by so much in what they keep for themselves.
_MEMORY_SHARE = 0.98
#: adjtimex(2), <sys/timex.h>.
_STA_UNSYNC = 0x0040
_TIME_ERROR = 5


class _Timex(ctypes.Structure):
    """``struct timex`` of 64-bit Linux."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", ctypes.c_long * 2),
        ("tick", ctypes.c_long),
        ("reserved", ctypes.c_char * 128),
    )


def look(asked: Asked) -> Look:
    """Processors, memory, RAID, NVMe, clock."""
    found = Look()
    found.facts |= {
        "kernel": host.kernel(),
        "os": host.os_release(asked.root),
        "boot_id": host.boot_id(asked.root),
        **({"physical_host": below} if (below := hyperv.physical_host(asked.root)) else {}),
        "cpu_model": host.cpu_model(asked.root),
    }
    found.items += [*_processors(asked), *_memory(asked), *_raid(asked.root), *_nvme(asked.root), *_clock(asked)]
    return found


def _processors(asked: Asked) -> list[Item]:
    if asked.expected.cores is None:
        return []
    online = len(host.parse_cpu_list(host.kernel_text(asked.root / "sys/devices/system/cpu/online")))
    limit = at_least(asked.expected.cores, "cores", _OURS)
    return [judged(PART, "cores", FindingCode.PEERS_FEWER, online, limit, "processors are off, or the board lost some")]


def _memory(asked: Asked) -> list[Item]:
    items, meminfo = [], host.kernel_text(asked.root / "proc/meminfo")
    total = host.parse_mem_total(meminfo)
    if asked.expected.memory_bytes is not None:
        limit = at_least(_MEMORY_SHARE * asked.expected.memory_bytes, "B", _OURS)
        items.append(
            judged(PART, "memory_bytes", FindingCode.PEERS_FEWER, total or 0, limit, "see dmidecode -t memory")
        )
    if asked.expected.memory_available_share is not None:
        match = re.search(r"^MemAvailable:\s+(\d+) kB$", meminfo, re.MULTILINE)
        if match is None or not total:
            return [
                *items,
                broken(PART, "memory_available_share", Unavailable("the kernel does not say what is available")),
            ]
        limit = at_least(asked.expected.memory_available_share, "share", _OURS)
        why = "what a job has left? See /dev/shm, and ps -e --sort=-rss"
        items.append(
            judged(PART, "memory_available_share", FindingCode.MEMORY_HELD, int(match[1]) * 1024 / total, limit, why)
        )
    return items


def _raid(root: Path) -> list[Item]:
    """Arrays of the kernel that run without one of their disks."""
    items = []
    text = host.kernel_text(root / "proc/mdstat")
    for name, state in re.findall(r"^(md\w+) : .*\n.*\[\d+/\d+\] \[([U_]+)\]", text, re.MULTILINE):
        limit = at_most(0, "disks", "a RAID without one of its disks loses data with the next one")
        items.append(
            judged(PART, f"raid_disks_missing[{name}]", FindingCode.DISK_FAILED, state.count("_"), limit, state)
        )
    return items


def _nvme(root: Path) -> list[Item]:
    items = []
    for folder in sorted((root / "sys/class/nvme").glob("nvme*")):
        state = host.kernel_text(folder / "state").strip()
        # A controller that resets itself at this moment is in none of the states that it stays in.
        bad = state in ("dead", "deleting", "deleting (no IO)")
        limit = at_most(0, "disks", "the kernel has given the controller up")
        items.append(judged(PART, f"nvme_dead[{folder.name}]", FindingCode.DISK_FAILED, float(bad), limit, state))
    return items


def _clock(asked: Asked) -> list[Item]:
    if not asked.expected.clock:
        return []
    try:
        state, status, error_s = clock_state()
    except OSError as fault:
        return [broken(PART, "clock", Unavailable(f"the kernel does not say whether its clock is right: {fault}"))]
    unsynchronised = state == _TIME_ERROR or bool(status & _STA_UNSYNC)
    why = "no time daemon holds it: see chronyc tracking, or timedatectl"
    limit = at_most(0, "clocks", "logs, tickets and file systems need one time")
    items = [judged(PART, "clock_unsynchronised", FindingCode.CLOCK_OFF, float(unsynchronised), limit, why)]
    if not unsynchronised:
        limit = at_most(asked.expected.clock_error_s, "s", "the largest error that the kernel states")
        items.append(judged(PART, "clock_error_s", FindingCode.CLOCK_OFF, error_s, limit, why))
    return items


def clock_state() -> tuple[int, int, float]:
    """What adjtimex(2) gives: state of the clock, its status bits, the largest error in seconds. Raises OSError."""
    libc, asked = ctypes.CDLL(None, use_errno=True), _Timex()
    state = libc.adjtimex(ctypes.byref(asked))
    if state < 0:
        number = ctypes.get_errno()
        raise OSError(number, "adjtimex refuses")
    return state, asked.status, asked.maxerror / 1e6
