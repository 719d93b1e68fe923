"""The plain loops over torch on a GPU that ``fidelity_gpu`` compares the checks with. Nothing of hpcaccept.

Preallocated buffers, a warm-up, then blocks of calls queued back to back between two events. The rank's GPU is the current one.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCKS = 20
BLOCK_S = 0.02
_WARM_S = 0.3
_SIZE = 8192
_MIB = 1 << 20


def product() -> list[float]:
    """FLOP/s of a bfloat16 product of 8192, its right operand stored transposed as the check stores it."""
    left, right, out = (torch.randn(_SIZE, _SIZE, device="cuda").to(torch.bfloat16) for _ in range(3))
    right = right.t()
    return [2 * _SIZE**3 / s for s in _seconds(lambda: torch.mm(left, right, out=out))]


def copy() -> list[float]:
    """B/s, read and written, of a copy of 1 GiB of float64 within the GPU."""
    source, target = (torch.rand(1024 * _MIB // 8, dtype=torch.float64, device="cuda") for _ in range(2))
    return [2 * 1024 * _MIB / s for s in _seconds(lambda: target.copy_(source))]


def transfer() -> list[float]:
    """B/s of a copy of 256 MiB of 64-bit words from pinned memory."""
    source = torch.zeros(256 * _MIB // 8, dtype=torch.int64, pin_memory=True)
    target = torch.zeros(256 * _MIB // 8, dtype=torch.int64, device="cuda")
    return [256 * _MIB / s for s in _seconds(lambda: target.copy_(source, non_blocking=True))]


def nccl_sum() -> list[float]:
    """B/s (size / time) of NCCL's all-reduce of 64 MiB of float32 in place, on its slowest rank."""
    from mpi4py import MPI

    with _nccl() as dist:
        tensor = torch.ones(64 * _MIB // 4, device="cuda")
        # As many calls on every rank: a collective that only some of them enter never ends.
        mine = _seconds(lambda: dist.all_reduce(tensor), calls=20)
    return [64 * _MIB / max(each) for each in zip(*MPI.COMM_WORLD.allgather(mine), strict=True)]


def _seconds(call: Callable[[], object], calls: int = 0) -> list[float]:
    """Seconds per call of each block."""
    count = calls or 1
    if calls:
        _block(call, calls)
    end = time.perf_counter() + _WARM_S
    while not calls and time.perf_counter() < end:
        count = max(1, round(BLOCK_S / _block(call, count)))
    return [_block(call, count) for _ in range(BLOCKS)]


def _block(call: Callable[[], object], count: int) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(count):
        call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3 / count


@contextlib.contextmanager
def _nccl() -> Iterator[Any]:
    import torch.distributed as dist
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    folder = comm.bcast(tempfile.mkdtemp() if comm.Get_rank() == 0 else "")
    meeting = Path(folder) / "meeting"
    torch.cuda.set_device(comm.Get_rank())
    dist.init_process_group("nccl", init_method=f"file://{meeting}", rank=comm.Get_rank(), world_size=comm.Get_size())
    yield dist
    dist.destroy_process_group()
    comm.Barrier()
    if comm.Get_rank() == 0:
        meeting.unlink(missing_ok=True)
        Path(folder).rmdir()
