"""A site's own test of a group of nodes: every rank computes for a while, all meet, rank 0 prints what the slowest reached.

Usage: ``srun … python group_work.py SECONDS [NODE FAULT]``; the fault (``kill``, ``stop``, ``fail``) happens on that node alone.
"""

from __future__ import annotations

import os
import signal
import sys
import time


def main() -> int:
    """Meet, work, meet again."""
    from hpcaccept.measure.ranks import mpi

    comm = mpi.start()
    seconds, *fault = sys.argv[1:]
    node = os.environ.get("SLURMD_NODENAME", "")
    mpi.barrier(comm)
    if fault and fault[0] == node:
        if fault[1] == "fail":
            os._exit(3)
        os.kill(os.getpid(), signal.SIGKILL if fault[1] == "kill" else signal.SIGSTOP)
    slowest = min(mpi.allgather(comm, _rate(float(seconds))))
    if comm.Get_rank() == 0:
        print(f"slowest {slowest:.0f} per second", flush=True)  # noqa: T201
    mpi.barrier(comm)
    return 0


def _rate(seconds: float) -> float:
    """Loops per second of the wall clock."""
    begun, loops = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        for _ in range(1000):
            loops += 1
    return loops / (time.perf_counter() - begun)


if __name__ == "__main__":
    sys.exit(main())
