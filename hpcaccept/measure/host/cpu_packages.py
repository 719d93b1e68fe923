"""The cores of each socket that this node's measurement uses, and how they work side by side.

One Python thread per core, pinned to one of its hardware threads, each calling single-threaded torch (which lets go of
Python's lock meanwhile): every core does the same work at the same time, and each has a figure of its own. What a thread
allocates and touches first lies in the memory next to its core.

Readers take ``root``, a folder that stands for ``/``.

Traps:
    * Two hardware threads of one core share its arithmetic: a second one would add nothing to it and blur the figures.
    * Affinity belongs to a thread and is inherited by the threads that it starts: pinned threads end here.
    * ``torch.set_num_threads`` also sets MKL's number for the whole process: it is put back.
    * A quota (cgroup) may be less than the processors one may use: more threads than that would only take turns.

Source: https://docs.kernel.org/admin-guide/cputopology.html and …/ABI/stable/sysfs-devices-system-cpu (``cache/``)
"""

from __future__ import annotations

import itertools
import os
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hpcaccept.measure.host import host
from hpcaccept.measure.host.host import kernel_text, parse_cache_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from hpcaccept.model.check import CheckContext

    Call = Callable[[], object]

T = TypeVar("T")

_ROOT = Path("/")
#: Longest wait for the slowest thread at the start of a block: a thread that died has broken the barrier long before.
_PATIENCE_S = 600.0


@dataclass(frozen=True, order=True)
class Core:
    """One core to measure with.

    Attributes:
        socket: number of its socket, as the kernel counts them.
        cpu: the hardware thread that stands for it.
    """

    socket: int
    cpu: int

    @property
    def variant(self) -> str:
        """``socket0``: how metrics call its socket."""
        return f"socket{self.socket}"


def cores(allowed: Iterable[int], root: Path = _ROOT) -> list[Core]:
    """One hardware thread for each core of which any is allowed, by socket and number.

    Where the kernel knows no topology, each hardware thread is a core of socket 0.
    """
    found: dict[str, Core] = {}
    for cpu in sorted(allowed):
        topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        siblings = (
            kernel_text(topology / "core_cpus_list").strip()
            or kernel_text(topology / "thread_siblings_list").strip()
            or str(cpu)
        )
        # The number is -1 on some ARM machines that have only one.
        found.setdefault(siblings, Core(max(0, int(kernel_text(topology / "physical_package_id").strip() or 0)), cpu))
    return sorted(found.values())


def share(all_cores: Sequence[Core], count: int, offset: int = 0) -> list[Core]:
    """``count`` of the cores, taken from the sockets in turn, beginning with the one at ``offset``; all when that is fewer."""
    by_socket = [list(group) for _, group in itertools.groupby(all_cores, key=lambda core: core.socket)]
    dealt = [core for row in itertools.zip_longest(*by_socket) for core in row if core is not None]
    return sorted(dealt[(offset + i) % len(dealt)] for i in range(min(count, len(dealt))))


def of_node(ctx: CheckContext) -> list[Core]:
    """The cores that this node's measurement may load: its affinity, its quota, its share of a shared kernel.

    Ranks of a real node leave the rest of it idle while one of them measures, so that one takes all. Virtual nodes that share
    a kernel have a share each: those that measure at the same time take different cores.
    """
    mine = cores(host.affinity())
    count = ctx.threads if ctx.in_turn else min(int(ctx.cores), ctx.threads * len(ctx.node_ranks))
    return share(mine, max(1, count), ctx.node_ranks[0] * ctx.threads)


def cache_bytes(socket: int, root: Path = _ROOT) -> int:
    """Size of all last level caches of a socket together (an EPYC has up to twelve), 0 when it is not known."""
    found: dict[str, tuple[int, int]] = {}
    for cpu in (root / "sys/devices/system/cpu").glob("cpu[0-9]*"):
        if max(0, int(kernel_text(cpu / "topology/physical_package_id").strip() or 0)) == socket:
            for cache in (cpu / "cache").glob("index*"):
                found[kernel_text(cache / "level").strip() + " " + kernel_text(cache / "shared_cpu_list").strip()] = (
                    int(kernel_text(cache / "level").strip() or 0),
                    parse_cache_size(kernel_text(cache / "size").strip()),
                )
    last = max((level for level, _ in found.values()), default=0)
    return sum(size for level, size in found.values() if level == last)


def together(crew: Sequence[Core], work: Callable[[Core, Call], T]) -> list[T]:
    """What ``work(core, wait)`` gives on each core, all at the same time, each in a thread pinned to its core.

    ``wait()`` returns when every core has called it. A thread that raises ends the others at their next ``wait``, and what
    it raised is raised here.
    """
    import torch

    barrier = threading.Barrier(len(crew))

    def pinned(core: Core) -> T:
        try:
            if hasattr(os, "sched_setaffinity"):  # a laptop with macOS has none: its threads go where they like
                os.sched_setaffinity(0, {core.cpu})
            torch.set_num_threads(1)
            return work(core, lambda: barrier.wait(_PATIENCE_S))
        except BaseException:
            barrier.abort()
            raise

    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(len(crew), thread_name_prefix="core") as pool:
            futures = [pool.submit(pinned, core) for core in crew]
        faults = [fault for fault in (future.exception() for future in futures) if fault]
        for fault in sorted(faults, key=lambda fault: isinstance(fault, threading.BrokenBarrierError)):
            raise fault
        return [future.result() for future in futures]
    finally:
        torch.set_num_threads(threads)


def window(call: Call, window_s: float, between: Call | None = None) -> list[float]:
    """Seconds of each call, again and again until ``window_s`` is over; at least one.

    Args:
        call: what is timed.
        window_s: how long, ``between`` included.
        between: done after each call, and not timed.
    """
    clock, figures = time.perf_counter, []
    end = clock() + window_s
    while True:
        start = clock()
        call()
        now = clock()
        figures.append(now - start)
        if between:
            between()
        if now >= end:
            return figures


@dataclass(frozen=True)
class Figures:
    """Rates of a socket.

    Attributes:
        rates: of the socket, one for each block: the sum over its cores.
        slowest: the core with the lowest median block.
        slowest_share: its share of the median core's.
    """

    rates: list[float]
    slowest: Core
    slowest_share: float


def by_socket(crew: Sequence[Core], rates: Sequence[Sequence[float]]) -> dict[str, Figures]:
    """``socket0`` → its figures.

    Args:
        crew: the cores.
        rates: of each of them, one for each block.
    """
    sockets: dict[str, list[int]] = {}
    for index, core in enumerate(crew):
        sockets.setdefault(core.variant, []).append(index)
    found = {}
    for variant, members in sockets.items():
        medians = {statistics.median(rates[i]): crew[i] for i in members}
        lowest = min(medians)
        middle = statistics.median([statistics.median(rates[i]) for i in members])
        blocks = [sum(block) for block in zip(*(rates[i] for i in members), strict=True)]
        found[variant] = Figures(blocks, medians[lowest], lowest / middle)
    return found


def emit(ctx: CheckContext, crew: Sequence[Core], found: dict[str, Figures]) -> None:
    """What every check by socket says beside its rates: the slowest core, and which cores were loaded."""
    for variant, figures in found.items():
        members = [core for core in crew if core.variant == variant]
        ctx.emit("slowest_core_share", figures.slowest_share, variant)
        ctx.fact(
            f"cores[{variant}]",
            f"{len(members)} threads on processors {', '.join(str(core.cpu) for core in members)}; slowest: "
            f"{figures.slowest.cpu} with {figures.slowest_share:.0%} of the median core",
        )
