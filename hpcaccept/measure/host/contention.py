"""Whether a measurement had its processors to itself: who else ran on them, how long threads waited for one, and what a quota took away.

Everything is a difference of two readings around the measurement, in cores (CPU seconds per second) and in shares of its time.

Sources:
    * ``/proc/stat`` (ticks per processor; user holds guest): https://man7.org/linux/man-pages/man5/proc_stat.5.html
    * ``/proc/PID/task/TID/schedstat`` (nanoseconds run, nanoseconds ready and not running): https://docs.kernel.org/scheduler/sched-stats.html
    * ``cpu.stat`` (``throttled_time`` in ns, cgroup v1; ``throttled_usec``, v2): https://docs.kernel.org/scheduler/sched-bwc.html
    * ``/proc/pressure/cpu`` (microseconds in which some task waited): https://docs.kernel.org/accounting/psi.html
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.measure.host import host

if TYPE_CHECKING:
    from collections.abc import Collection

_ROOT = Path("/")
_HZ = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
#: Ticks are 10 ms: over less time than this nobody else can be told from rounding.
SHORTEST_S = 0.05
#: What others must use to count, as a share of the processors: memory and caches are shared too.
OTHERS_SHARE = 0.25
#: Or this much of one core, where a thread of ours has waited for a processor for this share of the time.
OTHERS_CORES, WAITED_SHARE = 0.1, 0.10
STOLEN_SHARE = 0.10
#: Company is unevenly spread over the threads that wait for each other; and it never costs everything.
_MARGIN, _MOST_COST = 1.25, 0.95
THROTTLED_SHARE = 0.05


@dataclass(frozen=True)
class Reading:
    """What the kernel has counted until now.

    Attributes:
        at_s: by the monotonic clock.
        cores: processors that this process may run on.
        busy_s: CPU time of everybody on those processors.
        stolen_s: what the hypervisor gave to other guests meanwhile.
        own_s: CPU time of this process, and of children that it has waited for.
        waited_s: thread → time in which it was ready and had no processor.
        throttled_s: time in which the quota of a control group above this process had run out.
        stalled_s: time in which some task of the whole host waited for a processor; None where the kernel does not say.
    """

    at_s: float
    cores: int
    busy_s: float
    stolen_s: float
    own_s: float
    waited_s: dict[int, float]
    throttled_s: float
    stalled_s: float | None


@dataclass(frozen=True)
class Use:
    """Between two readings.

    Attributes:
        seconds: from one to the other.
        cores: processors that this process may run on.
        busy: cores' worth of CPU time that everybody used on them.
        own: the part of this process.
        stolen: share of the processors' time that went to other guests.
        waited: share of the time that the thread which waited longest was without a processor.
        throttled: share of the time in which the quota had run out.
        stalled: share of the time in which some task of the host waited; None: unknown.
    """

    seconds: float
    cores: int
    busy: float
    own: float
    stolen: float
    waited: float
    throttled: float
    stalled: float | None


def reading(root: Path = _ROOT) -> Reading:
    """Now. Nothing that is missing (no Linux, no such file in a container) is an error: it counts as 0."""
    cpus = host.affinity()
    busy_s, stolen_s = parse_stat(host.kernel_text(root / "proc/stat"), cpus)
    stalled = re.search(r"^some .*total=(\d+)$", host.kernel_text(root / "proc/pressure/cpu"), re.MULTILINE)
    return Reading(
        at_s=time.monotonic(),
        cores=len(cpus),
        busy_s=busy_s,
        stolen_s=stolen_s,
        own_s=_own_s(),
        waited_s=_waited_s(root),
        throttled_s=max((parse_throttled(text) for text in host.cpu_stats(root)), default=0.0),
        stalled_s=int(stalled[1]) / 1e6 if stalled else None,
    )


def between(before: Reading, after: Reading) -> Use:
    """What happened between two readings; a thread that has ended meanwhile is not known any more."""
    seconds = max(after.at_s - before.at_s, 1e-9)
    waited = [waited - before.waited_s.get(thread, 0.0) for thread, waited in after.waited_s.items()]
    stalled = None
    if before.stalled_s is not None and after.stalled_s is not None:
        stalled = (after.stalled_s - before.stalled_s) / seconds
    return Use(
        seconds=seconds,
        cores=after.cores,
        busy=(after.busy_s - before.busy_s) / seconds,
        own=(after.own_s - before.own_s) / seconds,
        stolen=(after.stolen_s - before.stolen_s) / seconds / max(1, after.cores),
        waited=max(waited, default=0.0) / seconds,
        throttled=(after.throttled_s - before.throttled_s) / seconds,
        stalled=stalled,
    )


def words(use: Use, others: float | None) -> str:
    """The reading as a fact of a record: ``others 0.02 of 2 cores, waited 1 %, throttled 0 %, stolen 0 %, load 1.20``.

    Args:
        use: around the measurement.
        others: cores' worth of time of everybody but this job; None: nobody can say.
    """
    parts = [f"others {others:.2f} of {use.cores} cores"] if others is not None else []
    parts += [f"waited {use.waited:.0%}", f"throttled {use.throttled:.0%}", f"stolen {use.stolen:.0%}"]
    if use.stalled is not None:
        parts.append(f"some task stalled {use.stalled:.0%}")
    if hasattr(os, "getloadavg"):
        parts.append(f"load {os.getloadavg()[0]:.2f}")
    return ", ".join(parts).replace("%", " %")


def contended(use: Use, others: float | None) -> str:
    """Why what was measured meanwhile says nothing of the machine; empty when it had its processors to itself.

    A quota is none of the reasons: it belongs to the node, and stays after everybody else has gone.
    """
    if use.seconds < SHORTEST_S:
        return ""
    if use.stolen >= STOLEN_SHARE:
        return f"the hypervisor gave {use.stolen:.0%} of its processors' time to other guests".replace("%", " %")
    if others is None or others * use.seconds < SHORTEST_S:
        return ""
    waits = use.waited - use.throttled >= WAITED_SHARE and others >= OTHERS_CORES
    if others >= OTHERS_SHARE * use.cores or waits:
        return f"other programs used {others:.1f} of {use.cores} cores meanwhile"
    return ""


def cost_of_company(use: Use, others: float | None) -> float:
    """The largest share of a rate that others can have cost: the time in which a thread waited for a processor or the hypervisor had
    it, and their part of what processors share (memory, caches), with a margin.
    """
    lost = use.stolen + max(0.0, use.waited - use.throttled) + (others or 0.0) / max(1, use.cores)
    return min(_MARGIN * lost, _MOST_COST)


def throttled(use: Use) -> str:
    """What a quota took away; empty where that is nothing to speak of."""
    if use.throttled < THROTTLED_SHARE:
        return ""
    return f"the CPU quota of its control group stopped it for {use.throttled:.0%} of the time".replace("%", " %")


def parse_stat(text: str, cpus: Collection[int]) -> tuple[float, float]:
    """Seconds that some processors were busy with programs, and that were stolen from them, in ``/proc/stat``.

    Interrupts are left out: those of the network and of disks are caused by whoever is measured as well.
    """
    busy = stolen = 0
    for line in text.splitlines():
        name, *ticks = line.split()
        if name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in cpus:
            user, nice, system, _idle, _iowait, _irq, _softirq, steal = (int(tick) for tick in [*ticks, *("0" * 8)][:8])
            busy += user + nice + system
            stolen += steal
    return busy / _HZ, stolen / _HZ


def parse_throttled(text: str) -> float:
    """Seconds in a ``cpu.stat``; 0 where the group has no quota."""
    found = re.search(r"^throttled_(time|usec) (\d+)$", text, re.MULTILINE)
    return int(found[2]) / (1e9 if found[1] == "time" else 1e6) if found else 0.0


def parse_schedstat(text: str) -> float:
    """Seconds that a thread was ready to run and did not."""
    fields = text.split()
    return int(fields[1]) / 1e9 if len(fields) > 1 else 0.0


def _own_s() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _waited_s(root: Path) -> dict[int, float]:
    try:
        threads = [int(name) for name in os.listdir(root / "proc/self/task") if name.isdigit()]  # noqa: PTH208 (hundreds of threads)
    except OSError:
        return {}
    return {
        thread: parse_schedstat(host.kernel_text(root / f"proc/self/task/{thread}/schedstat")) for thread in threads
    }
