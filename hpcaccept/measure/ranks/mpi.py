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
    from collections.abc import Mapping

    from mpi4py import MPI

SHORTEST_PAUSE_S = 50e-6
LONGEST_PAUSE_S = 2e-3
#: Seconds for which Open MPI holds a rank that it is about to abort. Since 5.0 a rank that finds the connection of a dead peer closed
#: aborts the job: within milliseconds, before the launcher has noticed the death, and with it everyone's last words.
ABORT_DELAY_S = 10
#: Where launchers put the rank, so that a rank can name itself before MPI has started.
_RANK_VARIABLES = ("PMIX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")


def rank_from_environment(environ: Mapping[str, str]) -> int | None:
    """The rank this process will have, as its launcher says; None when no launcher says anything."""
    return next((int(environ[name]) for name in _RANK_VARIABLES if environ.get(name, "").isdigit()), None)


def start() -> MPI.Intracomm:
    """Initialise MPI and give the world. Waiting ranks yield their core from now on.

    A rank that Open MPI aborts stays for ``ABORT_DELAY_S``, so that the launcher reports the one that died first.

    Raises:
        ImportError: mpi4py or the MPI library is missing.
    """
    os.environ.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")
    if rank_from_environment(os.environ) is not None:  # a singleton has no peer whose death it could report
        os.environ.setdefault("OMPI_MCA_opal_abort_delay", str(ABORT_DELAY_S))
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
