"""A rank that measures with a check and with its plain loop in turn: ``mpiexec -n N python -m benchmarks._alternating FIGURE ROUNDS SECONDS``.

The check, its Bench over MPI and the watch thread are those of the rank program. Both sides of a pair run in the same process on
the same processor within seconds of each other, and change their order from pair to pair: what the host's other guests do hits both.
Rank 0 prints JSON: of each round the best call of the check and the best call of the loop.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks import _raw_cuda, _raw_torch
from hpcaccept import checks
from hpcaccept.measure.context import MpiContext, RankPlacement
from hpcaccept.measure.ranks import mpi
from hpcaccept.rank.watch import Watch

if TYPE_CHECKING:
    from mpi4py import MPI

_DEADLINE_S = 120.0
_FEWEST = 5


@dataclass(frozen=True)
class Figure:
    """What is compared.

    Attributes:
        check: its name.
        params: so that a block is one call (of at least 1 ms), as one turn of the loop is.
        metric: name and variant.
        loop: gives the rates of its calls.
    """

    check: str
    params: dict[str, Any]
    metric: tuple[str, str]
    loop: Callable[[], list[float]]


_ONE_CALL = {"blocks": 20, "block_s": 0.001}
_ONE_BLOCK = {"blocks": _raw_cuda.BLOCKS, "block_s": _raw_cuda.BLOCK_S}
FIGURES = {
    "matmul": Figure(
        "matmul", {"dtypes": ["fp32"], "warm_s": 0.1, **_ONE_CALL}, ("rate_flops", "fp32"), _raw_torch.product
    ),
    "copy": Figure("memory_bandwidth", {"warm_s": 0.1, **_ONE_CALL}, ("rate_bytes", "copy"), _raw_torch.copy),
    "h2d": Figure("transfers", {"size_bytes": 64 << 20, **_ONE_CALL}, ("rate_bytes", "h2d"), _raw_torch.transfer),
    "resnet": Figure(
        "resnet",
        {"models": ["resnet18"], "modes": ["infer"], "precisions": ["fp32"], "blocks": 20},
        ("small_images_per_s", "resnet18/infer/fp32"),
        _raw_torch.network,
    ),
    "mpi": Figure(
        "allreduce", {"sizes_bytes": [64 << 20], "backends": ["mpi"], **_ONE_CALL}, ("algbw_bytes", "mpi/64MiB"),
        _raw_torch.mpi_sum,
    ),
    "gloo": Figure(
        "allreduce", {"sizes_bytes": [64 << 20], "backends": ["device"], **_ONE_CALL}, ("algbw_bytes", "gloo/64MiB"),
        _raw_torch.gloo_sum,
    ),
    "gather": Figure(
        "collectives",
        {"sizes_bytes": [16 << 20], "operations": ["all_gather"], "groups": ["world"], **_ONE_CALL},
        ("algbw_bytes", "all_gather/world/16MiB"),
        _raw_torch.gather,
    ),
    "pair": Figure("pairs", {"size_bytes": 16 << 20, **_ONE_CALL}, ("exchange_bytes", "node1"), _raw_torch.exchange),
    # On GPUs a figure is the mean of calls queued back to back: many of them in a block, on both sides.
    "cuda/matmul": Figure(
        "matmul", {"dtypes": ["bf16"], "size": 8192, "warm_s": 0.3, **_ONE_BLOCK}, ("rate_flops", "bf16"), _raw_cuda.product
    ),
    "cuda/copy": Figure(
        "memory_bandwidth", {"size_bytes": 1 << 30, "warm_s": 0.3, **_ONE_BLOCK}, ("rate_bytes", "copy"), _raw_cuda.copy
    ),
    "cuda/h2d": Figure("transfers", {"size_bytes": 256 << 20, **_ONE_BLOCK}, ("rate_bytes", "h2d"), _raw_cuda.transfer),
    "cuda/nccl": Figure(
        "allreduce", {"sizes_bytes": [64 << 20], "backends": ["device"], **_ONE_BLOCK}, ("algbw_bytes", "nccl/64MiB"),
        _raw_cuda.nccl_sum,
    ),
}  # fmt: skip


def main(name: str, rounds: int, seconds: float) -> None:
    """Alternate; the first round warms up both sides and does not count. On a busy machine fewer rounds, but 5 of them."""
    figure = FIGURES[name]
    comm = mpi.start()
    ours: list[float] = []
    theirs: list[float] = []
    watch = Watch(lambda *_: None)
    watch.expect(name, _DEADLINE_S * (rounds + 1), waits=False)
    with tempfile.TemporaryDirectory() as folder:
        place = _on_gpus(comm) if name.startswith("cuda/") else _place(comm)
        torch.set_num_threads(place.threads)
        os.environ["OMP_NUM_THREADS"] = str(place.threads)
        checked = functools.partial(_measured, comm, place, figure, watch, Path(folder))
        sides: list[tuple[list[float], Callable[[], list[float]]]] = [(ours, checked), (theirs, figure.loop)]
        end = time.monotonic() + seconds
        for number in range(rounds + 1):
            if number > _FEWEST and comm.bcast(time.monotonic() > end):
                break
            for kept, measure in sides if number % 2 else reversed(sides):
                mpi.barrier(comm)
                rates = measure()
                if number and rates:
                    kept.append(max(rates))
    if comm.Get_rank() == 0:
        print(json.dumps([ours, theirs]))


def _place(comm: MPI.Intracomm) -> RankPlacement:
    """Each rank is a node, all of them on this kernel, one thread each."""
    rank, size = comm.Get_rank(), comm.Get_size()
    everyone = tuple(range(size))
    return RankPlacement(rank, size, f"node{rank}", (rank,), everyone, float(size), 1.0, "cpu", 0, shared_kernel=True)


def _on_gpus(comm: MPI.Intracomm) -> RankPlacement:
    """All ranks on one node, each with the GPU of its number."""
    rank, size = comm.Get_rank(), comm.Get_size()
    everyone = tuple(range(size))
    return RankPlacement(
        rank, size, "node0", everyone, everyone, float(size), 1.0, f"cuda:{rank}", size, shared_kernel=True
    )


def _measured(comm: MPI.Intracomm, place: RankPlacement, figure: Figure, watch: Watch, folder: Path) -> list[float]:
    check = checks.build(figure.check, figure.params)
    ctx = MpiContext(comm, place, figure.check, check.metrics, _DEADLINE_S, on_beat=watch.beat, folder=folder)
    kept = check.measure(ctx)
    check.compare(ctx, kept)
    return [s.value for s in ctx.samples if (s.metric, s.variant) == figure.metric]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
