"""What a rank can say of a hang beside its own last words: what its collectives waited for, and whom NCCL misses.

Said by the watch thread after the rank's last words, so that nothing of it can cost those.
"""

from __future__ import annotations

import faulthandler
import os
import threading
from typing import TYPE_CHECKING

from hpcaccept.errors import NotUnderstood
from hpcaccept.measure.ranks import flight_recorder
from hpcaccept.model.record import CollectivesSeen, NcclRas
from hpcaccept.parse.flight_recorder import progress_of
from hpcaccept.transport.nccl_ras import ADDRESS, ras_status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcaccept.model.record import GroupProgress, Interruption

#: The recorder of a GPU asks CUDA for events, which a GPU that hangs may never answer.
_RECORDER_S = 2.0
#: And should CUDA keep the interpreter's lock meanwhile, the process ends all the same, with the stacks of its threads in its log.
_END_S = 10.0
#: RAS waits this long, less a second, for processes that do not answer.
_RAS_S = 3.0


def testimony(rank: int, ranks: int, interruption: Interruption) -> Iterator[CollectivesSeen | NcclRas]:
    """What a rank has seen of a hang, one after another as it is found out.

    Args:
        rank: its number.
        ranks: of the step.
        interruption: why it ends. The service is asked by ranks whose deadline has passed, the first and the last: each knows the whole job.
    """
    backend = flight_recorder.backend()
    faulthandler.dump_traceback_later(_END_S, exit=True)
    groups = _in_time(_RECORDER_S)
    faulthandler.cancel_dump_traceback_later()
    if groups is not None:
        yield CollectivesSeen(groups)
    if backend == "nccl" and interruption == "deadline" and rank in (0, ranks - 1):
        status = ras_status(os.environ.get("NCCL_RAS_ADDR", ADDRESS), _RAS_S)
        if status:
            yield NcclRas(status)


def _in_time(limit_s: float) -> tuple[GroupProgress, ...] | None:
    """How far this rank has come in each group that is open; None where nothing tells, or not in time."""
    found: list[tuple[bytes, int] | None] = [None]

    def look() -> None:
        found[0] = flight_recorder.trace()

    looking = threading.Thread(target=look, name="flight recorder", daemon=True)
    looking.start()
    looking.join(limit_s)
    try:
        return progress_of(*found[0]) if found[0] else None
    except NotUnderstood:
        return None
