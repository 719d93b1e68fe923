"""Measures how much of its core a process really gets."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from hpcaccept.model.check import Check, CheckContext
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.parameter import MOST_BLOCKS, WEEK_S, param

#: A detour is longer than any single turn of the loop can be by itself (interpreter, cache miss, page fault).
DETOUR_S = 20e-6
BEAT_S = 0.5
#: Shortest block whose loss says something: several time slices of the scheduler (3 to 100 ms).
TELLING_S = 0.05


@dataclass(frozen=True)
class OsNoise(Check):
    """How much time the operating system, interrupts and neighbours take from a rank that only wants to compute.

    How: a loop reads the clock without pause for ``duration_s``; a step of more than 20 µs between two readings is a
    detour, in which somebody else had the core. The share of time lost in detours and the longest one are kept. All ranks do it at the same moment (in turn where they outnumber the cores). No torch is needed.

    What it shows: a neighbour on the core, a daemon that runs wild, system management interrupts, a CPU quota.
    What it does not mean: on a shared or virtual machine some loss is normal; it says how far to trust the other numbers.

    Parameters:
        duration_s: seconds of listening.
        blocks: parts of equal length, all of them kept; short ones say more about the scheduler's time slice than about loss.

    Method: fixed-work detour counting after Sottile & Minnich, "Analysis of Microbenchmarks for Performance Tuning of
    Clusters" (CLUSTER 2004), on the clock instead of fixed work.
    """

    name: ClassVar = "os_noise"
    revision: ClassVar = 1
    about: ClassVar = "Share of a core that the operating system and neighbours take away."
    on_device: ClassVar = False
    usual_s: ClassVar = 20
    metrics: ClassVar[Sequence[Metric]] = (
        Metric(
            "lost_share",
            "share",
            "lower",
            "Share of the time in which somebody else had the core of this rank.",
            title="core time lost to the system",
            formula="sum of clock steps above 20 µs / duration of the block",
            source="Sottile & Minnich, CLUSTER 2004 (method)",
            statistic="best",
            noise="ratio",
            limit=at_most(0.9, "share", "a rank that gets less than a tenth of its core cannot measure anything"),
            required=False,
            code=FindingCode.CPU_TAKEN,
        ),
        Metric(
            "longest_detour_s",
            "s",
            "exact",
            "Longest time without the core.",
            title="longest interruption of a core",
            formula="max of clock steps",
            statistic="median",
        ),
    )

    duration_s: float = param(1.0, at_least=0.001, at_most=WEEK_S, unit="s")
    blocks: int = param(1, at_least=1, at_most=MOST_BLOCKS)

    def measure(self, ctx: CheckContext) -> None:
        """Read the clock without pause; one sample per block."""
        block_s = self.duration_s / self.blocks
        for block in range(self.blocks):
            lost_s, longest_s = _listen(block_s, ctx)
            if block_s >= TELLING_S:
                ctx.emit("lost_share", lost_s / block_s, repeat=block)
            ctx.emit("longest_detour_s", longest_s, repeat=block)
        if block_s < TELLING_S:
            why = f"a block of {block_s:g} s may fall into one time slice of a neighbour; {TELLING_S:g} s are needed"
            ctx.unsupported("lost_share", why)


def _listen(duration_s: float, ctx: CheckContext) -> tuple[float, float]:
    """Seconds lost in detours, and the longest one."""
    clock = time.perf_counter
    lost_s = longest_s = 0.0
    begin = last = clock()
    until, beat = begin + duration_s, begin + BEAT_S
    while last < until:
        now = clock()
        step_s = now - last
        last = now
        if step_s > DETOUR_S:
            lost_s += step_s
            longest_s = max(longest_s, step_s)
        if now > beat:
            ctx.beat(f"listening since {now - begin:.1f} s")
            beat = now + BEAT_S
            last = clock()
    return min(lost_s, duration_s), longest_s
