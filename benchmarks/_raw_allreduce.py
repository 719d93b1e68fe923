"""The plain loops over mpi4py and gloo that ``fidelity`` compares with, as ranks under ``mpiexec``; rank 0 prints JSON.

Nothing of hpcaccept: 64 MiB of float32 summed in place; 3 calls to warm up; then ``COUNT`` times a barrier and one
timed call, of which the slowest rank counts.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 20
SIZE_BYTES = 64 << 20


def timed(buffer: Any, call: Callable[[], object]) -> list[float]:
    """Bandwidth (size / time) of each call, by the slowest rank."""
    rates = []
    for number in range(3 + COUNT):
        buffer[:] = 1.0
        MPI.COMM_WORLD.Barrier()
        begin = time.perf_counter()
        call()
        slowest = MPI.COMM_WORLD.allreduce(time.perf_counter() - begin, op=MPI.MAX)
        if number >= 3:
            rates.append(SIZE_BYTES / slowest)
    return rates


def main() -> None:
    """MPI first, in a process that does not know torch yet."""
    comm = MPI.COMM_WORLD
    array = np.zeros(SIZE_BYTES // 4, dtype=np.float32)
    rates = {"mpi": timed(array, lambda: comm.Allreduce(MPI.IN_PLACE, array, op=MPI.SUM))}

    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    file = f"file://{sys.argv[1]}"
    dist.init_process_group("gloo", init_method=file, rank=comm.Get_rank(), world_size=comm.Get_size())
    tensor = torch.zeros(SIZE_BYTES // 4)
    rates["gloo"] = timed(tensor, lambda: dist.all_reduce(tensor))
    comm.Barrier()
    dist.destroy_process_group()
    if comm.Get_rank() == 0:
        print(json.dumps(rates))


if __name__ == "__main__":
    main()
