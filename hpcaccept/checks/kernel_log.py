"""Reads what the kernel logged of the hardware while the run loaded it, and what from before still holds."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from hpcaccept.errors import LaunchError, NotUnderstood, ToolError
from hpcaccept.measure.gpu import xid
from hpcaccept.measure.host import memory_errors
from hpcaccept.measure.host.memory_errors import Counter as ErrorCounter
from hpcaccept.model.check import Check, CheckContext, Unavailable
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.parameter import param
from hpcaccept.parse import kernel_log as parse
from hpcaccept.parse.kernel_log import AREAS, Event, Line
from hpcaccept.transport.process import ask
from hpcaccept.transport.tool import found
from hpcaccept.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

_COMMANDS = {
    "dmesg": ["dmesg", "--kernel", "--color=never"],
    "journal": ["journalctl", "-k", "-b", "0", "-o", "short-monotonic", "--no-pager", "-q"],
}
SOURCES = ("kmsg", *_COMMANDS)
#: Faults of a GPU or switch that stay until it is reset: an older one without a reset still holds.
_STAYING = frozenset({"xid", "gpu", "nvswitch"})
#: A log whose first line is younger than this begins with the boot.
_BOOT_S = 5.0
_TIMEOUT_S = 20.0
_MOST_LINES = 500
_REMEDY = (
    "Let the ranks read it: 'sysctl kernel.dmesg_restrict=0' on the nodes, or the group adm or systemd-journal, and mount /dev/kmsg "
    "into the container."
)
_XID_SOURCE = "hpcaccept/measure/xid.toml, after https://docs.nvidia.com/deploy/xid-errors/"


@dataclass(frozen=True)
class Log:
    """The kernel's log as it can be read now.

    Attributes:
        source: one of ``SOURCES``.
        lines: what is left of it.
        first: sequence number of its first record, None where the source has none.
        last: of its last record.
    """

    source: str
    lines: tuple[Line, ...]
    first: int | None = None
    last: int | None = None

    def since(self, before: Log) -> tuple[Line, ...]:
        """Lines that came after an earlier look."""
        if before.last is not None:
            return tuple(line for line in self.lines if line.number is not None and line.number > before.last)
        end = before.lines[-1].at_s
        return tuple(line for line in self.lines if line.at_s > end)

    def gap(self, before: Log) -> bool:
        """True when lines between the two looks may have been overwritten."""
        if before.last is not None and self.first is not None:
            return self.first > before.last + 1
        return self.lines[0].at_s > before.lines[-1].at_s

    @property
    def whole(self) -> bool:
        """True when it goes back to the boot."""
        return self.first == 0 if self.first is not None else self.lines[0].at_s < _BOOT_S


@dataclass(frozen=True)
class Before:
    """What was there when the run began.

    Attributes:
        log: the kernel's; None where it cannot be read.
        why: it cannot be read.
        counters: of memory and machine-check errors, since boot.
    """

    log: Log | None
    why: Unavailable | None
    counters: Mapping[ErrorCounter, int]


@dataclass(frozen=True)
class KernelLog(Check):
    """GPU, memory, PCIe, disk and network faults in the kernel's log during the run, and those before it that still hold.

    How: the log is read when the run begins and again in this check, so put it **last** in a suite. The first source that
    can be read is used: ``/dev/kmsg``, ``dmesg``, ``journalctl -k``. A log that cannot be read, or that is empty, is NOT_RUN. Only
    the kernel's own words count, not what processes write into its log. The counters of EDAC (``/sys/devices/system/edac``) and of
    machine-check interrupts (``/proc/interrupts``) are read with it, as differences; they can be read by everybody, and are judged
    where the log is closed as well.

    - ``faults``: Xids of the class *fault*, fatal SXids, GPUs that fell off the bus, uncorrected memory and machine-check errors,
      uncorrected PCIe errors, I/O errors, disks that a RAID disabled, damaged file systems, lockups, failed network adapters and
      modules: none is tolerated during a run. The variant names what and where (``Xid 79 at 0000:18:00``: the PCI address is the
      GPU's); an area without a fault is a variant with 0. Where the line of an Xid says more than its number, that counts: NVLink
      errors (144 to 150) are faults where it says Fatal, and noted where it says Nonfatal; 154 is a fault where it asks for a reset
      or a reboot.
    - ``old_faults``: faults of GPUs and switches from before the run, since boot, after which the driver was not loaded anew.
    - ``corrected``: corrected memory, machine-check and PCIe errors during the run, by place.
    - ``noted``: what is not a hardware fault by itself: Xids of programs, processes killed for memory, heat, blocked tasks.

    Why old faults fail: the window of a check must be the run, or a node is blamed for its past; but a GPU with Xid 79 or 48
    needs a reset or a reboot before it may be used again (NVIDIA's Xid catalog), and AzNHC, which looks at two hours only, called
    such GPUs healthy. So older events are told with their age, and judged only where the fault stays until a reset and no new start
    of the driver is seen after it. A GPU reset alone leaves no line in the log: after one, reload the driver, reboot, or raise the
    limit ``kernel_log.old_faults`` in the suite.

    An Xid that is in no class is an ERROR: neither a pass nor the GPU's fault. Where the ring buffer was overwritten, what is
    absent proves nothing and is reported as not supported; what is there counts all the same.

    What it does not mean: a silent log is no proof of health. Containers and virtual nodes on one kernel see one log: all of them
    report its faults.

    Parameters:
        source: ``kmsg``, ``dmesg`` or ``journal``; empty: the first of them that can be read.
        kmsg: path of the kernel's log device.
        root: folder under which the counters are read.
    """

    name: ClassVar = "kernel_log"
    revision: ClassVar = 2
    about: ClassVar = (
        "The kernel's log since the run began: Xid, SXid, ECC, PCIe, disks, network; older GPU faults that still hold."
    )
    on_device: ClassVar = False
    usual_s: ClassVar = 20
    metrics: ClassVar = (
        Metric(
            "faults", "events", "lower",
            "The kernel logged a fault of the hardware during the run. Its lines are in the run folder (fact 'output[events]'); "
            "what an Xid asks for: https://docs.nvidia.com/deploy/xid-errors/.", title="hardware faults in the kernel log ({})",
            formula="count of lines since the run began, by what and where, and increase of each counter of uncorrected errors",
            source=_XID_SOURCE, scope="node", statistic="worst", required=False, limit=at_most(0, "events", "healthy hardware has none under load"),
            code=FindingCode.KERNEL_FAULT,
        ),
        Metric(
            "old_faults", "events", "lower",
            "A GPU fault from before the run, after which no start of the driver is seen. Reset the GPU or reboot the node.", title="GPU faults from before the run in the kernel log ({})",
            formula="count of lines from boot until the run began, after the last start of the driver", source=_XID_SOURCE,
            scope="node", statistic="worst", required=False,
            limit=at_most(0, "events", "NVIDIA's Xid catalog: reset or reboot before the GPU is used again"),
            code=FindingCode.KERNEL_FAULT,
        ),
        Metric(
            "corrected", "events", "lower",
            "Corrected errors at one place during the run: no harm yet, and often the first sign. See 'ras-mc-ctl --errors'.", title="corrected errors in the kernel log ({})",
            formula="count of lines since the run began, and increase of each counter of corrected errors, by place", scope="node",
            statistic="worst", required=False, limit=at_most(10, "events", "ours, provisional: no source gives a rate for minutes under load"),
            code=FindingCode.KERNEL_FAULT,
        ),
        Metric(
            "noted", "events", "exact", "What the kernel said that is not a hardware fault by itself.", title="other events in the kernel log ({})",
            formula="count since the run began, by what and where", scope="node", required=False, headline=False,
        ),
    )  # fmt: skip

    source: str = param("", one_of=("", *SOURCES))
    kmsg: str = "/dev/kmsg"
    root: str = "/"

    def begin(self, ctx: CheckContext) -> Before | None:
        """The log and the counters as they are before the run loads anything."""
        if ctx.local_rank:
            return None
        counters = memory_errors.counters(Path(self.root))
        try:
            return Before(self._read((self.source,) if self.source else SOURCES), None, counters)
        except Unavailable as why:
            return Before(None, why, counters)

    def measure(self, ctx: CheckContext) -> None:
        """What came since; see the class."""
        if ctx.local_rank != 0:
            return
        before = ctx.begun
        assert isinstance(before, Before)
        if before.log is None:
            self._counted_only(ctx, before)
            return
        try:
            now = self._read((before.log.source,))
        except Unavailable as why:
            raise ToolError(f"the kernel's log could be read when the run began, and not any more: {why}") from None
        ctx.fact("source", f"{now.source}, {len(now.lines)} lines of the kernel")
        new = parse.events(now.since(before.log))
        # Both looks together: what was overwritten meanwhile was still there when the run began.
        old = parse.events(before.log.lines)
        unknown = [event for event in (*_after_reset(old), *new) if _grade(event) == "unknown"]
        _keep(ctx, old, new, before.log.lines[-1].at_s)
        self._new(ctx, new, now.gap(before.log))
        self._old(ctx, old, before.log)
        self._counters(ctx, before.counters)
        if unknown:
            raise NotUnderstood(
                f"{_name(unknown[-1])} is in no class of xid.toml: {unknown[-1].text[:200]!r}",
                "Look it up at https://docs.nvidia.com/deploy/xid-errors/ and report it.",
            )

    def _counted_only(self, ctx: CheckContext, before: Before) -> None:
        """Judge the counters of EDAC where the log is closed. Raises Unavailable where there is neither."""
        assert before.why is not None
        if not any(counter.where for counter in before.counters):
            raise before.why
        ctx.unsupported("faults", f"{before.why.cause}; only the counters of EDAC and of machine checks were read")
        self._counters(ctx, before.counters)

    def _counters(self, ctx: CheckContext, before: Mapping[ErrorCounter, int]) -> None:
        after = memory_errors.counters(Path(self.root))
        for counter, count in memory_errors.increases(before, after).items():
            variant = _variant(f"{counter.what} at {counter.where}" if counter.where else counter.what)
            # One variant for each would be hundreds of zeros: a module that counted nothing is in its controller's.
            if count or " " not in counter.where:
                ctx.emit("corrected" if counter.corrected else "faults", count, variant)
            if before[counter]:
                ctx.fact(f"before[{variant}]", f"{before[counter]} since boot or since the counter was set to zero")

    def _new(self, ctx: CheckContext, events: tuple[Event, ...], gap: bool) -> None:
        counted = {grade: _count(e for e in events if _grade(e) == grade) for grade in ("fault", "corrected", "noted")}
        if gap:
            ctx.unsupported("faults", "the kernel overwrote lines during the run: enlarge its buffer (log_buf_len=16M)")
        seen = {e.area for e in events if _grade(e) == "fault"}
        for area in AREAS:
            if area not in seen and not gap:
                ctx.emit("faults", 0, area)
        for metric, grade in (("faults", "fault"), ("corrected", "corrected"), ("noted", "noted")):
            for variant, count in counted[grade].items():
                ctx.emit(metric, count, variant)
        if not counted["corrected"] and not gap:
            ctx.emit("corrected", 0)

    def _old(self, ctx: CheckContext, events: tuple[Event, ...], before: Log) -> None:
        now_s = before.lines[-1].at_s
        cleared = any(event.grade == "cleared" for event in events)
        holding = [e for e in _after_reset(events) if e.area in _STAYING and _grade(e) == "fault"]
        for event in events:
            if _grade(event) in ("fault", "corrected"):
                note = "" if event in holding else ", does not count"
                ctx.fact(
                    f"older[{_name(event)}]",
                    f"at least {show_duration(now_s - event.at_s)} before the run{note}: {event.text}",
                )
        for variant, count in _count(holding).items():
            ctx.emit("old_faults", count, variant)
        if holding:
            return
        if before.whole or cleared:
            ctx.emit("old_faults", 0)
        else:
            ctx.unsupported("old_faults", f"the log that {before.source} gives does not go back to the boot")

    def _read(self, sources: Iterable[str]) -> Log:
        """The log of the first source that has one. Raises Unavailable with what each of them said."""
        reasons = []
        for source in sources:
            try:
                log = _of_kmsg(self.kmsg) if source == "kmsg" else _of_tool(source)
            except (Unavailable, ToolError, LaunchError, OSError) as why:
                reasons.append(f"{source}: {why.strerror if isinstance(why, OSError) else why}")
            else:
                if log.lines:
                    return log
                reasons.append(f"{source}: it is empty")
        raise Unavailable(f"the kernel's log cannot be read ({'; '.join(reasons)})", _REMEDY)


def _of_kmsg(path: str) -> Log:
    """Every record that is still in the ring buffer, without waiting for more."""
    chunks = []
    device = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while True:
            try:
                chunk = os.read(device, 1 << 16)
            except BrokenPipeError:
                continue  # what was next was overwritten: reading goes on with the oldest that is left
            except BlockingIOError:
                break
            if not chunk:
                break
            chunks.append(chunk)
    finally:
        os.close(device)
    text = b"".join(chunks).decode("utf-8", "replace")
    first, last = parse.kmsg_numbers(text) or (None, None)
    return Log("kmsg", parse.parse_kmsg(text), first, last)


def _of_tool(source: str) -> Log:
    # Not run_tool: that keeps all of the output, and the kernel's command line is nobody else's business.
    done = ask([found(_COMMANDS[source][0]), *_COMMANDS[source][1:]], timeout_s=_TIMEOUT_S)
    if done.returncode:
        raise ToolError(f"status {done.returncode}, {done.stderr.strip()[:200]!r}")
    return Log(source, (parse.parse_dmesg if source == "dmesg" else parse.parse_journal)(done.stdout))


def _grade(event: Event) -> str:
    """``fault``, ``corrected``, ``noted``, ``cleared``, ``unknown``: for an Xid its number decides."""
    if event.grade != "xid":
        return event.grade
    kind = xid.meaning(event.code).kind
    return kind if kind in ("fault", "unknown") else "noted"


def _after_reset(events: tuple[Event, ...]) -> tuple[Event, ...]:
    """What came after the last start of the driver: before that the GPUs were others, in a manner of speaking."""
    last = max((number for number, event in enumerate(events) if event.grade == "cleared"), default=-1)
    return events[last + 1 :]


def _name(event: Event) -> str:
    """``Xid 79 at 0000:18:00``: fit for a variant."""
    return _variant(f"{event.what} at {event.where}" if event.where else f"{event.what} ({event.area})")


def _variant(name: str) -> str:
    return "".join(c for c in name.replace("[", "(").replace("]", ")") if c.isprintable())


def _count(events: Iterable[Event]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for event in events:
        found[_name(event)] += event.count
    return dict(found)


def _keep(ctx: CheckContext, old: tuple[Event, ...], new: tuple[Event, ...], begun_s: float) -> None:
    """The lines that events were made of, as a file of the run, the newest ones if they are very many."""
    lines = [f"[{event.at_s:.6f}] {event.text}" for event in old]
    lines += [f"--- the run began after {begun_s:.6f} ---", *(f"[{event.at_s:.6f}] {event.text}" for event in new)]
    if old or new:
        ctx.keep("events", "\n".join(lines[-_MOST_LINES:]) + "\n")
