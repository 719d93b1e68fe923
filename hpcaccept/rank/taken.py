"""What one measurement took: its time, and the processors while it ran."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.measure.host import contention
from hpcaccept.measure.ranks import mpi
from hpcaccept.model.record import COMPANY_COST, CONTENDED, CPU_QUOTA, CPU_USE, STOPPED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcaccept.measure.context import MpiContext
    from hpcaccept.model.check import Check
    from hpcaccept.rank.rank import Rank
    from hpcaccept.rank.watch import Watch


@dataclass
class Taken:
    """Of one check on this rank.

    Attributes:
        duration_s: of measuring and of comparing the ranks.
        use: of the processors while it measured; None before.
        stopped: somebody stopped this process meanwhile, and let it go on.
    """

    duration_s: float = 0.0
    use: contention.Use | None = None
    stopped: bool = False

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """The time counts, however it ends."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.duration_s += time.perf_counter() - begin

    @contextlib.contextmanager
    def watched(self, watch: Watch) -> Iterator[None]:
        """The same, with a look at the processors before and after."""
        before, woken = contention.reading(), watch.woken
        try:
            with self.timed():
                yield
        finally:
            self.stopped = watch.woken > woken
            self.use = contention.between(before, contention.reading())

    def of_other_ranks(self, rank: Rank) -> float:
        """Cores' worth of time that the other ranks of this job used on this host while this one measured. All of them ask together."""
        assert rank.place is not None
        if rank.place.in_turn or len(rank.place.host_ranks) == 1:
            return 0.0  # they waited for their turn
        own = self.use.own if self.use else 0.0
        together: list[float] = mpi.allgather(rank.queue, own)
        return sum(together) - own

    def tell(self, ctx: MpiContext, check: Check, ours: float | None) -> None:
        """State how the processors were used, as facts of the record.

        Args:
            ctx: of the check.
            check: that was measured.
            ours: ``of_other_ranks``; None: nobody knows, so that the others cannot be told from them.
        """
        if self.use is None:
            return
        others = None if ours is None else max(0.0, self.use.busy - self.use.own - ours)
        ctx.fact(CPU_USE, contention.words(self.use, others))
        if not any(metric.is_speed for metric in check.metrics):
            return
        if self.stopped:
            # It may have cost anything, on a GPU too: no share is stated.
            ctx.fact(CONTENDED, STOPPED)
            return
        if not (ctx.device == "cpu" or not check.on_device):
            return
        if why := contention.contended(self.use, others):
            ctx.fact(CONTENDED, why)
            ctx.fact(COMPANY_COST, f"{contention.cost_of_company(self.use, others):.3f}")
        if why := contention.throttled(self.use):
            ctx.fact(CPU_QUOTA, why)
