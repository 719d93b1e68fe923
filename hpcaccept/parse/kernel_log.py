"""What does the kernel's log say of the hardware? Its text → lines → events.

Three sources, one meaning: ``/dev/kmsg`` (records with a sequence number, so that a gap is seen), ``dmesg`` and
``journalctl -k -o short-monotonic``. Times are seconds since the kernel started, by the clock of its log.

Traps:
    * Any root process may write into ``/dev/kmsg``: only records of the facility "kernel" (0) are the kernel's words.
    * One fault is many lines. Counted is the one line of each kind that names the fault and its place.
    * A floppy or an empty DVD drive of a virtual machine reports I/O errors all day: they are nobody's disk.

Sources: https://docs.kernel.org/admin-guide/abi-testing.html (dev-kmsg); Xid and SXid lines: https://docs.nvidia.com/deploy/xid-errors/
and the Fabric Manager user guide, appendix D; the others: the format strings of the Linux kernel 5.4 … 6.12 (drivers/edac,
drivers/pci/pcie/aer.c, drivers/acpi/apei/ghes.c, arch/x86/kernel/cpu/mce, block/blk-core.c, drivers/nvme/host, mm/oom_kill.c).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Grade = Literal["fault", "corrected", "noted", "xid", "cleared"]


@dataclass(frozen=True)
class Line:
    """One message of the kernel.

    Attributes:
        at_s: seconds since it started.
        text: without its prefix.
        number: sequence number, where the source has one.
    """

    at_s: float
    text: str
    number: int | None = None


@dataclass(frozen=True)
class Event:
    """Something that the kernel said of the hardware.

    Attributes:
        area: ``xid``, ``gpu``, ``nvswitch``, ``machine check``, ``memory``, ``pcie``, ``disk``, ``network``, ``kernel``, ``other``.
        grade: ``fault``; ``corrected``; ``noted`` (no fault of the hardware by itself); ``xid`` (its number decides); ``cleared``
            (what came before holds no longer for the GPUs: their driver was loaded anew).
        what: in a few words.
        where: PCI address, device, DIMM, processor; empty where the line does not say.
        at_s: seconds since the kernel started.
        text: the line.
        code: of an Xid or SXid, else 0.
        count: how many the line stands for.
        pid: of the process that an Xid names, None where it names none.
    """

    area: str
    grade: Grade
    what: str
    where: str
    at_s: float
    text: str
    code: int = 0
    count: int = 1
    pid: int | None = None


# --- text → lines -----------------------------------------------------------------------------------------------------

#: priority and facility, sequence number, microseconds, flags. https://docs.kernel.org/admin-guide/abi-testing.html
_KMSG = re.compile(r"^(?P<priority>\d+),(?P<number>\d+),(?P<us>\d+),[^;]*;(?P<text>.*)$")
_DMESG = re.compile(r"^\[\s*(?P<s>\d+\.\d+)\] (?P<text>.*)$")
_JOURNAL = re.compile(r"^\[\s*(?P<s>\d+\.\d+)\] \S+ kernel: (?P<text>.*)$")


def parse_kmsg(text: str) -> tuple[Line, ...]:
    """Records of ``/dev/kmsg``, one after another. Lines that begin with a blank belong to the record above: they are its keys."""
    found = []
    for raw in text.splitlines():
        match = _KMSG.match(raw)
        # The facility stands above the three bits of the priority; 0 is the kernel.
        if match and int(match["priority"]) >> 3 == 0:
            found.append(Line(int(match["us"]) / 1e6, match["text"], int(match["number"])))
    return tuple(found)


def kmsg_numbers(text: str) -> tuple[int, int] | None:
    """First and last sequence number, of all facilities: what is between them was not overwritten. None without records."""
    numbers = [int(match["number"]) for match in map(_KMSG.match, text.splitlines()) if match]
    return (min(numbers), max(numbers)) if numbers else None


def parse_dmesg(text: str) -> tuple[Line, ...]:
    """Lines of ``dmesg --kernel``."""
    return tuple(Line(float(m["s"]), m["text"]) for m in map(_DMESG.match, text.splitlines()) if m)


def parse_journal(text: str) -> tuple[Line, ...]:
    """Lines of ``journalctl -k -o short-monotonic``."""
    return tuple(Line(float(m["s"]), m["text"]) for m in map(_JOURNAL.match, text.splitlines()) if m)


# --- lines → events ---------------------------------------------------------------------------------------------------

_PCI = r"[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}(?:\.[0-7])?"


def _plain(area: str, grade: Grade, what: str) -> Callable[[re.Match[str], Line], Event]:
    """An event whose place is the group ``where``, if there is one."""

    def make(match: re.Match[str], line: Line) -> Event:
        return Event(area, grade, what, match.groupdict().get("where") or "", line.at_s, line.text)

    return make


def _xid(match: re.Match[str], line: Line) -> Event:
    pid = re.search(r"\bpid='?(\d+)", line.text)
    code = int(match["code"])
    named = int(pid[1]) if pid else None
    return Event("xid", "xid", f"Xid {code}", match["where"], line.at_s, line.text, code, pid=named)


def _sxid(match: re.Match[str], line: Line) -> Event:
    grade: Grade = "fault" if match["severity"] == "Fatal" else "noted"
    what = f"SXid {match['code']} ({match['severity'].lower()})"
    return Event("nvswitch", grade, what, match["where"], line.at_s, line.text, int(match["code"]))


def _edac(match: re.Match[str], line: Line) -> Event:
    corrected = match["kind"] == "CE"
    grade: Grade = "corrected" if corrected else "fault"
    what = f"{'corrected' if corrected else 'uncorrected'} error"
    dimm = re.search(r"\bon (\S+)", match["rest"])
    where = dimm[1] if dimm else match["where"]
    return Event("memory", grade, what, where, line.at_s, line.text, count=max(1, int(match["count"])))


def _aer(match: re.Match[str], line: Line) -> Event:
    corrected = match["severity"].startswith("Correct")
    grade: Grade = "corrected" if corrected else "fault"
    return Event("pcie", grade, f"{match['severity'].lower()} error", match["where"], line.at_s, line.text)


def _ghes(match: re.Match[str], line: Line) -> Event:
    corrected = match["severity"] in ("corrected", "info")
    grade: Grade = "corrected" if corrected else "fault"
    return Event("machine check", grade, f"{match['severity']} error (firmware)", "", line.at_s, line.text)


#: Pattern → event; the first that matches counts. Those of a disk leave out floppies, DVD drives and mounted image files.
_DISK = r"dev (?P<where>(?!fd\d|sr\d|loop\d)[\w!-]+)"
_PATTERNS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], Line], Event]], ...] = tuple(
    (re.compile(pattern), make)
    for pattern, make in (
        (rf"NVRM: (?:GPU at )?Xid \((?:PCI:)?(?P<where>{_PCI})\): (?P<code>\d+)", _xid),
        (rf"SXid \((?:PCI:)?(?P<where>{_PCI})\): (?P<code>\d+), (?P<severity>Fatal|Non-fatal)", _sxid),
        (rf"NVRM: .*?(?P<where>{_PCI}).*fallen off the bus", _plain("gpu", "fault", "fell off the bus")),
        (r"NVRM: .*fallen off the bus", _plain("gpu", "fault", "fell off the bus")),
        (rf"NVRM: GPU (?P<where>{_PCI}): RmInitAdapter failed", _plain("gpu", "fault", "cannot be initialised")),
        (r"NVRM: loading NVIDIA UNIX", _plain("gpu", "cleared", "driver loaded")),
        (r"EDAC (?P<where>MC\d+): (?P<count>\d+) (?P<kind>CE|UE)\b(?P<rest>.*)", _edac),
        (rf"(?P<where>{_PCI}): PCIe Bus Error: severity=(?P<severity>[A-Za-z]+(?: \([A-Za-z-]+\))?)", _aer),
        (rf"AER: (?:Multiple )?(?P<severity>Uncorrect(?:ed|able) \([A-Za-z-]+\)) error.*? (?P<where>{_PCI})", _aer),
        (rf"(?P<where>{_PCI}).*DPC: containment event", _plain("pcie", "fault", "link contained (DPC)")),
        (rf"(?P<where>{_PCI}).*pciehp: Slot\(.*\): Link Down", _plain("pcie", "fault", "link down")),
        (r"\[Hardware Error\]: event severity: (?P<severity>\w+)", _ghes),
        (r"CPU (?P<where>\d+): Machine Check Exception", _plain("machine check", "fault", "machine check exception")),
        (r"Fatal machine check|Processor context corrupt", _plain("machine check", "fault", "fatal machine check")),
        (r"\[Hardware Error\]: Uncorrected", _plain("machine check", "fault", "uncorrected error")),
        (r"Uncorrected hardware memory error", _plain("memory", "fault", "uncorrected error")),
        (r"Memory failure: (?P<where>0x[0-9a-f]+):.*(?:recovery action|Killing)", _plain("memory", "fault", "page lost")),
        (r"\[Hardware Error\]: Corrected error", _plain("machine check", "corrected", "corrected error")),
        (r"Machine check events logged", _plain("machine check", "corrected", "logged")),
        (r"CPU (?P<where>\d+): Machine Check: ", _plain("machine check", "corrected", "corrected error")),
        (rf"(?:I/O|critical \w+) error, {_DISK}", _plain("disk", "fault", "I/O error")),
        (rf"Buffer I/O error on {_DISK}", _plain("disk", "fault", "I/O error")),
        (r"nvme (?P<where>nvme\d+): .*(?:timeout, (?:aborting|reset|disable)|controller is down)", _plain("disk", "fault", "no answer")),
        (r"nvme (?P<where>nvme\d+): (?:Removing after probe failure|Device not ready)", _plain("disk", "fault", "no answer")),
        (r"(?:EXT4-fs error \(device |XFS \()(?P<where>[\w-]+)\).*(?:error|[Cc]orruption)", _plain("disk", "fault", "file system error")),
        (r"Killed process \d+ \((?P<where>[^)]*)\)", _plain("other", "noted", "killed for memory")),
        (r"CPU#?(?P<where>\d+) stuck for", _plain("kernel", "fault", "soft lockup")),
        (r"hard LOCKUP on cpu (?P<where>\d+)", _plain("kernel", "fault", "hard lockup")),
        (r"Kernel panic - not syncing|BUG: unable to handle|\bOops: ", _plain("kernel", "fault", "crash")),
        (r"task (?P<where>[^:]+):\d+ blocked for more than", _plain("other", "noted", "blocked task")),
        (r"(?P<where>CPU\d+): (?:Core|Package) temperature (?:is )?above threshold", _plain("other", "noted", "too hot")),
        (rf"mlx5_core (?P<where>{_PCI}).*(?:health compromised|timeout\. Will cause a leak)", _plain("network", "fault", "adapter failed")),
        (r"nfs: server (?P<where>[\w.:-]+) not responding", _plain("other", "noted", "file server silent")),
        (r"NETDEV WATCHDOG: (?:CPU: \d+: )?(?P<where>[\w.-]+)", _plain("network", "fault", "transmit queue timed out")),
    )
)  # fmt: skip
AREAS = ("xid", "gpu", "nvswitch", "machine check", "memory", "pcie", "disk", "network", "kernel")


def events(lines: Iterable[Line]) -> tuple[Event, ...]:
    """What the lines say of the hardware, in their order; lines that say nothing of it are left out."""
    found = []
    for line in lines:
        for pattern, make in _PATTERNS:
            if match := pattern.search(line.text):
                found.append(make(match, line))
                break
    return tuple(found)
