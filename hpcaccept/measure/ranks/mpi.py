"""How do ranks wait for each other without burning the cores that others measure on?

A blocking MPI call spins. Here every wait is a non-blocking call that is tested with growing pauses: at most a sixteenth of the wait
late, never more than ``LONGEST_PAUSE_S``, and idle otherwise. (Four spinning ranks on two cores make a 4 KiB all-reduce 80 times
slower.) Each round of a collective needs such a test, so that long pauses after short waits would add up.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpi4py import MPI

SHORTEST_PAUSE_S = 50e-6
LONGEST_PAUSE_S = 2e-3


def start() -> MPI.Intracomm:
    """Initialise MPI and give the world. Waiting ranks yield their core from now on.

    Raises:
        ImportError: mpi4py or the MPI library is missing.
    """
    os.environ.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")
    from mpi4py import MPI

    return MPI.COMM_WORLD


def wait(request: MPI.Request) -> None:
    """Wait for a non-blocking call. The deadline is kept by the watch (hpcaccept.rank.watch)."""
    begin = time.monotonic()
    while not request.Test():
        time.sleep(min(max((time.monotonic() - begin) / 16, SHORTEST_PAUSE_S), LONGEST_PAUSE_S))


def barrier(comm: MPI.Comm) -> None:
    """Until every rank of the communicator is here."""
    wait(comm.Ibarrier())


def allgather(comm: MPI.Intracomm, thing: Any) -> list[Any]:
    """The thing of every rank. All ranks arrive first, so that nobody spins for a late one."""
    barrier(comm)
    gathered: list[Any] = comm.allgather(thing)
    return gathered


def bcast(comm: MPI.Intracomm, thing: Any) -> Any:
    """Rank 0's thing."""
    barrier(comm)
    return comm.bcast(thing, root=0)
