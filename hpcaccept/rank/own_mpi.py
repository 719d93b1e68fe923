"""One rank of a step whose check brings the MPI processes: the rank prepares, starts its program, and judges nothing before all have ended.

The rank itself never starts MPI: what its launcher has given it (PMIx, PMI) goes to the program, which takes this rank's place. Before and after,
ranks speak through the run folder.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from hpcaccept import checks
from hpcaccept.errors import RunFolderFull
from hpcaccept.measure.context import MpiContext
from hpcaccept.measure.host.shared_cores import CoreShare
from hpcaccept.model.check import Unavailable
from hpcaccept.model.record import CheckStarted, RankFinished
from hpcaccept.rank.file_meeting import FileMeeting
from hpcaccept.rank.measuring import conclude, obstacle_elsewhere, prepare
from hpcaccept.rank.placement import Standing, own_share, settle
from hpcaccept.rank.taken import Taken

if TYPE_CHECKING:
    from hpcaccept.model.plan import Step
    from hpcaccept.rank.rank import Rank
    from hpcaccept.rank.watch import Watch

_LIBRARY = "the check's own program"


@dataclass
class ApartContext(MpiContext):
    """What such a check measures with: the same, but the others are reached through the run folder."""

    meeting: FileMeeting | None = None

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.allgather(None)

    def allgather(self, thing: Any) -> list[Any]:
        """The thing of every rank, by rank; plain JSON types."""
        assert self.meeting is not None
        return self.meeting.allgather(thing)

    def bcast(self, thing: Any) -> Any:
        """Rank 0's thing, for everyone."""
        return self.allgather(thing if self.rank == 0 else None)[0]


def brings_mpi(step: Step) -> bool:
    """True for a step of one check whose program is the rank's process in MPI."""
    kind = checks.find(step.checks[0].name) if len(step.checks) == 1 and step.gpus_per_node else None
    return kind is not None and kind.brings_mpi


def measure_apart(rank: Rank, watch: Watch) -> int:
    """Measure the only check of the step; gives the exit code of the rank."""
    (spec,) = rank.step.checks
    begun_at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    watch.expect("waiting for all ranks to start", rank.step.start_deadline_s + spec.deadline_s, waits=True)
    meeting = FileMeeting(rank.outputs, rank.number, rank.step.ranks, rank.step.start_deadline_s)
    world = [_standing(each) for each in meeting.allgather(_told(own_share(rank)))]
    settle(rank, world, _LIBRARY)
    assert rank.place is not None
    check = checks.build(spec.name, spec.params)
    ctx = ApartContext(
        None, rank.place, spec.name, check.metrics, spec.deadline_s, watch.beat, rank.outputs, meeting=meeting
    )
    rank.current = spec
    rank.journal.write(CheckStarted(spec.name), sync=rank.number == 0)
    mine = prepare(rank, check, watch)
    ctx.model = rank.model
    watch.expect("waiting for all ranks to be ready", rank.step.start_deadline_s, waits=True)
    obstacles = [(str(node), str(why)) for node, why in meeting.allgather((rank.node, str(mine or "")))]
    fault: Exception | None = mine or obstacle_elsewhere(obstacles)
    taken, begin = Taken(), time.perf_counter()
    if fault is None:
        watch.expect("measuring", spec.deadline_s, waits=False)
        try:
            with taken.watched(watch):
                check.measure(ctx)
        except RunFolderFull:
            raise
        except Unavailable as why:
            fault = why
        except Exception as why:
            fault = why
    rank.journal.write(conclude(rank, spec, ctx, fault, begun_at, time.perf_counter() - begin))
    rank.current = None
    rank.journal.write(RankFinished())
    return 0


def _told(standing: Standing) -> list[Any]:
    share = standing.share
    return [standing.node, standing.boot_id, sorted(map(str, share.affinity)), share.group, share.quota]


def _standing(told: Any) -> Standing:
    node, boot_id, affinity, group, quota = told
    return Standing(str(node), str(boot_id), CoreShare(frozenset(map(str, affinity)), str(group), quota))
