"""The plain loops over torch, torchvision, gloo and mpi4py that ``fidelity`` compares the checks with.

Nothing of hpcaccept: preallocated buffers, 3 calls to warm up, then each call timed by itself; of several ranks the slowest
one's time counts. Each function gives the rate of each of ``COUNT`` calls.
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

COUNT = 20
_SIZE = 1024
_MIB = 1 << 20


def product() -> list[float]:
    """FLOP/s of a float32 product of 1024, its right operand stored transposed as the check stores it."""
    left, right, out = (torch.randn(_SIZE, _SIZE) for _ in range(3))
    right = right.t()  # 2 % faster on some processors: another kernel of the library
    return [2 * _SIZE**3 / s for s in _seconds(lambda: torch.mm(left, right, out=out))]


def copy() -> list[float]:
    """B/s, read and written, of a copy of 64 MiB of float64."""
    source, target = (torch.rand(64 * _MIB // 8, dtype=torch.float64) for _ in range(2))
    return [2 * 64 * _MIB / s for s in _seconds(lambda: target.copy_(source))]


def transfer() -> list[float]:
    """B/s of a copy of 64 MiB of 64-bit words, as it is made to a device."""
    source, target = (torch.zeros(64 * _MIB // 8, dtype=torch.int64) for _ in range(2))
    return [64 * _MIB / s for s in _seconds(lambda: target.copy_(source, non_blocking=True))]


def network() -> list[float]:
    """Images/s of ResNet-18 over two images of 64 × 64 in channels-last layout."""
    import torchvision

    model = torchvision.models.resnet18(weights=None).eval().to(memory_format=torch.channels_last)
    inputs = torch.randn(2, 3, 64, 64).to(memory_format=torch.channels_last)
    with torch.no_grad():
        return [2 / s for s in _seconds(lambda: model(inputs))]


def mpi_sum() -> list[float]:
    """B/s (size / time) of an MPI all-reduce of 64 MiB of float32 in place."""
    import numpy as np
    from mpi4py import MPI

    array = np.ones(64 * _MIB // 4, dtype=np.float32)
    return _together(64 * _MIB, lambda: MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, array, op=MPI.SUM))


def gloo_sum() -> list[float]:
    """B/s (size / time) of gloo's all-reduce of 64 MiB of float32 in place."""
    with _gloo() as dist:
        tensor = torch.ones(64 * _MIB // 4)
        return _together(64 * _MIB, lambda: dist.all_reduce(tensor))


def gather() -> list[float]:
    """B/s (size / time) of gloo's all-gather of 16 MiB in all."""
    with _gloo() as dist:
        call = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
        whole, mine = torch.zeros(16 * _MIB // 4), torch.ones(16 * _MIB // 4 // dist.get_world_size())
        return _together(16 * _MIB, lambda: call(whole, mine))


def exchange() -> list[float]:
    """B/s each way of an exchange of 16 MiB between two ranks over gloo."""
    with _gloo() as dist:
        out, found = (torch.ones(16 * _MIB // 8, dtype=torch.int64) for _ in range(2))
        peer = 1 - dist.get_rank()

        def call() -> None:
            operations = [dist.P2POp(dist.irecv, found, peer), dist.P2POp(dist.isend, out, peer)]
            for work in dist.batch_isend_irecv(operations):
                work.wait()

        return _together(16 * _MIB, call)


def _seconds(
    call: Callable[[], object], between: Callable[[], object] = lambda: None, count: int = COUNT
) -> list[float]:
    figures = []
    for number in range(3 + count):
        between()
        begin = time.perf_counter()
        call()
        if number >= 3:
            figures.append(time.perf_counter() - begin)
    return figures


def _together(size_bytes: int, call: Callable[[], object]) -> list[float]:
    """Half of the calls straight after a barrier, half in a row: which is the better loop differs from one exchange to another."""
    from mpi4py import MPI

    barrier = MPI.COMM_WORLD.Barrier

    def second() -> None:
        barrier()
        call()

    seconds = [*_seconds(call, barrier, COUNT // 2), *_seconds(call, second, COUNT // 2)]
    return [size_bytes / max(each) for each in zip(*MPI.COMM_WORLD.allgather(seconds), strict=True)]


@contextlib.contextmanager
def _gloo() -> Iterator[Any]:
    import torch.distributed as dist
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    folder = comm.bcast(tempfile.mkdtemp() if comm.Get_rank() == 0 else "")
    meeting = Path(folder) / "meeting"
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=comm.Get_rank(), world_size=comm.Get_size())
    yield dist
    comm.Barrier()
    dist.destroy_process_group()
    comm.Barrier()  # leaving, each rank writes into the file once more
    if comm.Get_rank() == 0:
        meeting.unlink(missing_ok=True)
        Path(folder).rmdir()
