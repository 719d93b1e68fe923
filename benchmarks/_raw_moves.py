"""The plain loops that ``fidelity_moves`` compares with: ``_raw_moves.py device THREADS`` or ``world MEETING``; JSON out.

Nothing of hpcaccept: 3 calls to warm up, then each of ``COUNT`` calls timed by itself, of ranks the slowest one's.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 20
BYTES = 16 << 20


def seconds_of(call: Callable[[], object], before: Callable[[], object] = lambda: None) -> list[float]:
    """Seconds of each call."""
    figures = []
    for number in range(3 + COUNT):
        before()
        begin = time.perf_counter()
        call()
        if number >= 3:
            figures.append(time.perf_counter() - begin)
    return figures


def device(threads: int) -> dict[str, list[float]]:
    """A copy of 64 MiB of 64-bit words, and ResNet-18 over two images of 64 × 64 in channels-last layout."""
    import torchvision

    torch.set_num_threads(threads)
    source, target = (torch.zeros(64 << 17, dtype=torch.int64) for _ in range(2))
    copies = seconds_of(lambda: target.copy_(source, non_blocking=True))
    network = torchvision.models.resnet18(weights=None).eval().to(memory_format=torch.channels_last)
    inputs = torch.randn(2, 3, 64, 64).to(memory_format=torch.channels_last)
    with torch.no_grad():
        steps = seconds_of(lambda: network(inputs))
    return {"h2d": [(64 << 20) / s for s in copies], "resnet": [2 / s for s in steps]}


def world(meeting: str) -> dict[str, list[float]]:
    """All-gather of 16 MiB in all, and an exchange of 16 MiB each way."""
    import torch.distributed as dist
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    rank, size = comm.Get_rank(), comm.Get_size()
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    whole, mine = torch.zeros(BYTES // 4), torch.ones(BYTES // 4 // size)
    gather = seconds_of(lambda: dist.all_gather_into_tensor(whole, mine), comm.Barrier)
    out, found = torch.ones(BYTES // 8, dtype=torch.int64), torch.zeros(BYTES // 8, dtype=torch.int64)
    peer = 1 - rank

    def exchange() -> None:
        operations = [dist.P2POp(dist.irecv, found, peer), dist.P2POp(dist.isend, out, peer)]
        for work in dist.batch_isend_irecv(operations):
            work.wait()

    pair = seconds_of(exchange, comm.Barrier)
    figures = {}
    for name, seconds in (("gather", gather), ("pair", pair)):
        slowest = [max(each) for each in zip(*comm.allgather(seconds), strict=True)]
        figures[name] = [BYTES / s for s in slowest]
    comm.Barrier()
    dist.destroy_process_group()
    return figures if rank == 0 else {}


if __name__ == "__main__":
    kind, word = sys.argv[1:]
    if rates := device(int(word)) if kind == "device" else world(word):
        print(json.dumps(rates))
