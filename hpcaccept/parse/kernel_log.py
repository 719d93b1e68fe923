"""What the kernel's log says of the hardware: its text → lines → events.

Three sources, one meaning: ``/dev/kmsg`` (records with a sequence number, so that a gap is seen), ``dmesg`` and
``journalctl -k -o short-monotonic``. Times are seconds since the kernel started, by the clock of its log.

Traps:
    * Any root process may write into ``/dev/kmsg``: only records of the facility "kernel" (0) are the kernel's words.
    * One fault is many lines. Counted is the one line of each kind that names the fault and its place.
    * One record can be several lines. ``/dev/kmsg`` writes the line feed as ``\\x0a``, ``dmesg`` and ``journalctl`` indent what follows, and
      older kernels give every line a prefix of its own: here it is one text with line feeds, but for the last form.
    * With ``CONFIG_PRINTK_CALLER`` the thread or processor stands behind the time.
    * "Machine Check Exception" was written for corrected errors too; what counts is bit 61 (UC) of the status register beside it.
    * An Xid's number is not all of it: those of NVLink 5 say Fatal or Nonfatal, and 154 says what is to be done.

Sources: https://docs.kernel.org/admin-guide/abi-testing.html (dev-kmsg); Xid and SXid lines: NVIDIA/open-gpu-kernel-modules 595.45,
kernel_rc.c and common_nvswitch.h, https://docs.nvidia.com/deploy/xid-errors/ and the Fabric Manager user guide, appendix D; every other
message: ``kernel_messages``, by class.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcaccept.parse.kernel_messages import PCI, TABLES, Grade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(frozen=True)
class Line:
    """One message of the kernel.

    Attributes:
        at_s: seconds since it started.
        text: without its prefix; of several lines where the record has them.
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
        grade: ``fault``; ``corrected``; ``noted`` (no fault of the hardware by itself); ``xid`` (its number decides, where the line does
            not say it itself); ``cleared`` (what came before holds no longer for the GPUs: their driver was loaded anew).
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
#: What the kernel writes of a byte that cannot be printed, and of a backslash.
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")
#: CONFIG_PRINTK_CALLER: T of a thread, C of a processor (kernel/printk/printk.c, print_caller).
_DMESG = re.compile(r"^\[\s*(?P<s>\d+\.\d+)\](?:\[\s*[TC]\d+\])? (?P<text>.*)$")
_JOURNAL = re.compile(r"^\[\s*(?P<s>\d+\.\d+)\] \S+ kernel: (?P<text>.*)$")


def parse_kmsg(text: str) -> tuple[Line, ...]:
    """Records of ``/dev/kmsg``, one after another. Lines that begin with a blank belong to the record above: they are its keys."""
    found = []
    for raw in text.splitlines():
        match = _KMSG.match(raw)
        # The facility stands above the three bits of the priority; 0 is the kernel.
        if match and int(match["priority"]) >> 3 == 0:
            found.append(Line(int(match["us"]) / 1e6, _unescaped(match["text"]), int(match["number"])))
    return tuple(found)


def kmsg_numbers(text: str) -> tuple[int, int] | None:
    """First and last sequence number, of all facilities: what is between them was not overwritten. None without records."""
    numbers = [int(match["number"]) for match in map(_KMSG.match, text.splitlines()) if match]
    return (min(numbers), max(numbers)) if numbers else None


def parse_dmesg(text: str) -> tuple[Line, ...]:
    """Lines of ``dmesg --kernel``."""
    return _lines(_DMESG, text)


def parse_journal(text: str) -> tuple[Line, ...]:
    """Lines of ``journalctl -k -o short-monotonic``."""
    return _lines(_JOURNAL, text)


def _lines(prefix: re.Pattern[str], text: str) -> tuple[Line, ...]:
    """What begins with a prefix, with the indented lines that follow it. Indented lines before the first belong to nothing that is left."""
    found: list[tuple[float, list[str]]] = []
    kept = False
    for raw in text.splitlines():
        if match := prefix.match(raw):
            found.append((float(match["s"]), [match["text"]]))
            kept = True
        elif raw[:1].isspace() and raw.strip():
            if kept:
                found[-1][1].append(raw.strip())
        else:
            kept = False  # of another program, or torn: what is indented below it is not the kernel's
    return tuple(Line(at_s, "\n".join(texts)) for at_s, texts in found)


def _unescaped(text: str) -> str:
    """Line feeds and backslashes as they were; other control characters stay as the kernel wrote them."""
    return _ESCAPED.sub(lambda m: {"0a": "\n", "5c": "\\"}.get(m[1], m[0]), text)


# --- lines → events ---------------------------------------------------------------------------------------------------

#: Recovery actions of Xid 154, by NVML's number. https://docs.nvidia.com/deploy/xid-errors/
_RECOVERED = 0
_RECOVERY = re.compile(
    r"GPU recovery action changed from 0x[0-9a-f]+ \([^)]*\) to 0x(?P<code>[0-9a-f]+) \((?P<name>[^)]*)\)"
)
#: Unit, severity, cross-containment, injected, link, registers: the form of Xids 144 to 150.
_NVLINK5 = range(144, 151)
_SEVERITY = re.compile(r", (?P<unit>[A-Z][\w/]*)\s+(?P<severity>Fatal|Nonfatal)\s+XC ?\d")
_REGISTER = re.compile(r"[(\[]0x(?P<info>[0-9a-f]{8})")
#: Ways in which a link went down that the catalog says to ignore: by its user, by its host. Bits 20 to 25 of the first register.
_WANTED_LINK_DOWN = frozenset({38, 40})
#: Uncorrected, in the status of a bank. Intel SDM volume 3B, IA32_MCi_STATUS; AMD APM volume 2, MCi_STATUS.
_UNCORRECTED_BIT = 61


def _plain(area: str, grade: Grade, what: str) -> Callable[[re.Match[str], Line], Event]:
    """An event whose place is the group ``where``, if there is one."""

    def make(match: re.Match[str], line: Line) -> Event:
        return Event(area, grade, what, match.groupdict().get("where") or "", line.at_s, line.text)

    return make


def _xid(match: re.Match[str], line: Line) -> Event:
    pid = re.search(r"\bpid='?(\d+)", line.text)
    code = int(match["code"])
    named = int(pid[1]) if pid else None
    grade, said = _of_text(code, line.text)
    return Event("xid", grade, f"Xid {code}{said}", match["where"], line.at_s, line.text, code, pid=named)


def _of_text(code: int, text: str) -> tuple[Grade, str]:
    """What the line of an Xid says itself beside its number: grade, words."""
    if code == 154 and (action := _RECOVERY.search(text)):
        grade: Grade = "noted" if int(action["code"], 16) == _RECOVERED else "fault"
        return grade, f" ({action['name']})"
    if code in _NVLINK5 and (told := _SEVERITY.search(text)):
        fatal = told["severity"] == "Fatal" and not (told["unit"].startswith("NETIR_LINK") and _wanted(text))
        return ("fault" if fatal else "noted"), f" ({told['severity'].lower()})"
    return "xid", ""


def _wanted(text: str) -> bool:
    """True when the register says that a link was taken down on purpose."""
    info = _REGISTER.search(text)
    return info is not None and int(info["info"], 16) >> 20 & 63 in _WANTED_LINK_DOWN


def _sxid(match: re.Match[str], line: Line) -> Event:
    grades: dict[str, Grade] = {"Fatal": "fault", "Correctable": "corrected"}
    grade = grades.get(match["severity"], "noted")
    what = f"SXid {match['code']} ({match['severity'].lower()})"
    return Event("nvswitch", grade, what, match["where"], line.at_s, line.text, int(match["code"]))


def _edac(match: re.Match[str], line: Line) -> Event:
    corrected = match["kind"] == "CE"
    grade: Grade = "corrected" if corrected else "fault"
    what = f"{'corrected' if corrected else 'uncorrected'} error"
    dimm = re.search(r"\bon (\S+)", match["rest"])
    # "unknown memory" and "any memory" name no module.
    where = dimm[1] if dimm and dimm[1] not in ("unknown", "any") else match["where"]
    return Event("memory", grade, what, where, line.at_s, line.text, count=max(1, int(match["count"])))


def _aer(match: re.Match[str], line: Line) -> Event:
    corrected = match["severity"].startswith("Correct")
    grade: Grade = "corrected" if corrected else "fault"
    return Event("pcie", grade, f"{match['severity'].lower()} error", match["where"], line.at_s, line.text)


def _ghes(match: re.Match[str], line: Line) -> Event:
    corrected = match["severity"] in ("corrected", "info")
    grade: Grade = "corrected" if corrected else "fault"
    return Event("machine check", grade, f"{match['severity']} error (firmware)", "", line.at_s, line.text)


def _bank(match: re.Match[str], line: Line) -> Event:
    """A machine check with the status of its bank: whether it was corrected stands there and nowhere else."""
    uncorrected = bool(int(match["status"], 16) >> _UNCORRECTED_BIT & 1)
    what = "machine check, uncorrected" if uncorrected else "machine check, corrected"
    where = f"CPU {match['where']} bank {int(match['bank'])}"
    return Event("machine check", "fault" if uncorrected else "corrected", what, where, line.at_s, line.text)


#: Literal that the line must hold, pattern, event; the first that matches counts. These need more than a name and a place.
_READ: tuple[tuple[str, str, Callable[[re.Match[str], Line], Event]], ...] = (
    ("Xid", rf"NVRM: (?:GPU at )?Xid \((?:PCI:)?(?P<where>{PCI}(?: GPU-I:\d+)?(?: GPU-CI:\d+)?)\): (?P<code>\d+)", _xid),
    ("SXid", rf"SXid \((?:PCI:)?(?P<where>{PCI})\): (?P<code>\d+), (?P<severity>Fatal|Non-fatal|Correctable)", _sxid),
    ("EDAC", r"EDAC (?P<where>MC\d+): (?P<count>\d+) (?P<kind>CE|UE)\b(?P<rest>.*)", _edac),
    ("EDAC", r"EDAC (?P<where>DEVICE\d+): (?P<kind>CE|UE): (?P<rest>.*?count: (?P<count>\d+).*)", _edac),
    ("PCIe Bus Error", rf"(?P<where>{PCI}): (?:AER: )?PCIe Bus Error: severity=(?P<severity>[A-Za-z]+(?: \([A-Za-z-]+\))?)", _aer),
    ("AER: ", rf"AER: (?:Multiple )?(?P<severity>Uncorrect(?:ed|able) \([A-Za-z-]+\)) error.*? (?P<where>{PCI})", _aer),
    ("event severity", r"\[Hardware Error\]: event severity: (?P<severity>\w+)", _ghes),
    ("Machine Check", r"CPU (?P<where>\d+): Machine Check(?: Exception| Event)?: +[0-9a-f]+ Bank (?P<bank>\d+): (?P<status>[0-9a-f]{16})", _bank),
)  # fmt: skip
_PATTERNS: tuple[tuple[str, re.Pattern[str], Callable[[re.Match[str], Line], Event]], ...] = (
    *((hint, re.compile(pattern), make) for hint, pattern, make in _READ),
    *(
        (hint, re.compile(pattern), _plain("other" if grade == "noted" else area, grade, what))
        for area, rows in TABLES
        for hint, pattern, grade, what in rows
    ),
)
AREAS = ("xid", "gpu", "nvswitch", "machine check", "memory", "pcie", "disk", "network", "kernel")
#: The first of three lines that tell of a lost GPU, where each has a prefix of its own, and the last.
_NAMED_GPU = re.compile(rf"^NVRM: The NVIDIA GPU (?P<where>{PCI})")
_LOST_GPU = re.compile(r"^NVRM: (?:\(PCI ID: [0-9a-f:]+\) installed in this system has )?fallen off the bus")


def events(lines: Iterable[Line]) -> tuple[Event, ...]:
    """What the lines say of the hardware, in their order; lines that say nothing of it are left out."""
    found = []
    gpu = ""
    for line in lines:
        if named := _NAMED_GPU.match(line.text):
            gpu = named["where"]
        if event := _event(line):
            lost = event.area == "gpu" and not event.where and _LOST_GPU.match(line.text)
            found.append(replace(event, where=gpu) if lost else event)
    return tuple(found)


def _event(line: Line) -> Event | None:
    for hint, pattern, make in _PATTERNS:
        if hint in line.text and (match := pattern.search(line.text)):
            return make(match, line)
    return None
