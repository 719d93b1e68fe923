"""Loads a device for minutes while every result is verified.

An engine makes one matrix product again and again. Its first result is verified by itself (``product``), every later
one against the first, bit for bit. Work is counted in short blocks, so that who reads them can tell a slow block from
a slow minute. Blocks may also be those of another load (stress-ng), whose work is counted in something else.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.measure.kernels import gemm, training
from hpcaccept.measure.timing import Pace, warm_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from hpcaccept.measure.device import Device
    from hpcaccept.measure.kernels.gemm import Format

_SEED = 20261122


@dataclass(frozen=True)
class Block:
    """A few passes in a row.

    Attributes:
        end_s: when it ended, since the stage began.
        seconds: on the device's clock.
        busy_s: CPU seconds of the busiest thread of this process meanwhile.
        work: done in it: floating point operations, or what else the load counts.
        passes: products made and compared.
        wrong: elements that differed from the first result, or what else the load found wrong.
    """

    end_s: float
    seconds: float
    busy_s: float
    work: float
    passes: int
    wrong: int

    @property
    def rate(self) -> float:
        """Work per second."""
        return self.work / self.seconds

    @property
    def busy_rate(self) -> float:
        """Work per CPU second: a neighbour who takes time slices does not lower it, a lowered clock does."""
        return self.work / self.busy_s if self.busy_s > 0 else self.rate


class Engine:
    """One product on one device, and its first result.

    Attributes:
        wrong_first: elements of the exact and of the first result that were wrong in themselves.
    """

    def __init__(self, device: Device, form: Format, size: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self.device, self.form, self.size, self.clock = device, form, size, clock
        exact = gemm.integer_operands(self.form, self.size, self.device.name, _SEED)
        gemm.spoil(exact.out)
        gemm.product_call(self.form, exact)()
        self._operands = gemm.random_operands(self.form, self.size, self.device.name, _SEED + 1)
        self._call = gemm.product_call(self.form, self._operands)
        gemm.spoil(self._operands.out)
        self._call()
        self._first = self._operands.out.clone()
        self.wrong_first = gemm.wrong_exact(self.form, exact) + gemm.wrong_sums(self.form, self._operands)
        self._differing = gemm.differing(self._first, self._first)

    def run(self, duration_s: float, block_s: float, on_block: Callable[[Block], None] | None = None) -> list[Block]:
        """Load the device for so long; every pass is compared.

        Blocks are sized by passes that are warm: a first one picks kernels and wakes the clock, and blocks of a stage that
        begins cold would be shorter than those of the next.
        """
        self._differing.zero_()
        warm_s = warm_up(self._time_passes, self._pass, Pace(1, block_s, min(2 * block_s, duration_s / 4)))
        count = max(1, math.ceil(block_s / warm_s))
        warm_wrong = int(self._differing)  # no pass goes uncompared
        start = self.clock()
        blocks: list[Block] = []
        while not blocks or blocks[-1].end_s < duration_s:
            gemm.spoil(self._operands.out)  # a pass that writes nothing must not find the right result there
            self._differing.zero_()
            busy = thread_seconds()
            seconds = self.device.time_block(self._pass, count)
            busy_s = busiest(busy, thread_seconds())
            work = float(count * gemm.flops(self.size))
            blocks.append(Block(self.clock() - start, seconds, busy_s, work, count, int(self._differing) + warm_wrong))
            warm_wrong = 0
            if on_block:
                on_block(blocks[-1])
        return blocks

    def digest(self) -> str:
        """128 bits of the first result, every bit of it: equal on all devices that are alike."""
        import torch

        return training.digest([self._first.view(torch.uint8)])

    def _time_passes(self, call: Callable[[], object], count: int) -> list[float]:
        return [self.device.time_block(call, count) / count]

    def _pass(self) -> None:
        self._call()
        self._differing.add_(gemm.differing(self._operands.out, self._first))


def rate(blocks: Sequence[Block]) -> float:
    """The median block's."""
    return statistics.median(b.rate for b in blocks)


def over_time(blocks: Sequence[Block], most: int) -> list[float]:
    """Rates in the order of time, at most so many: neighbouring blocks are taken together, all of them count."""
    size = math.ceil(len(blocks) / most)
    groups = (blocks[at : at + size] for at in range(0, len(blocks), size))
    return [sum(b.work for b in group) / sum(b.seconds for b in group) for group in groups]


def first_and_last(blocks: Sequence[Block], window_s: float) -> tuple[list[Block], list[Block]]:
    """The blocks that ended in the first ``window_s`` of a stage, and in its last; at least one each."""
    end_s = blocks[-1].end_s
    first = [b for b in blocks if b.end_s <= window_s] or [blocks[0]]
    return first, [b for b in blocks if b.end_s > end_s - window_s]


def thread_seconds() -> dict[int, float]:
    """CPU seconds of each thread of this process so far, also of threads that Python does not know.

    The clock's number is made as the C library does: https://man7.org/linux/man-pages/man3/pthread_getcpuclockid.3.html
    """
    seconds = {}
    for entry in _threads():
        try:
            seconds[entry] = time.clock_gettime(~entry << 3 | 6)
        except OSError:  # it has just ended
            continue
    return seconds


def busiest(before: dict[int, float], after: dict[int, float]) -> float:
    """CPU seconds of the thread that used most of them; 0 when the system does not tell."""
    return max((now - before.get(thread, 0.0) for thread, now in after.items()), default=0.0)


def _threads() -> Iterable[int]:
    tasks = Path("/proc/self/task")
    return [int(task.name) for task in tasks.iterdir()] if tasks.is_dir() else []
