"""What the checks that run programs of nccl-tests share: where they are, what is emitted of a size, and what is wrong with a run; no check itself."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.units import show_bytes

if TYPE_CHECKING:
    from hpcaccept.model.check import CheckContext
    from hpcaccept.parse.nccl_tests import Perf

SOURCE = "https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md"
INSTALL = "Add nccl-tests to the image: https://github.com/NVIDIA/nccl-tests"
#: Its programs, without _perf. https://github.com/NVIDIA/nccl-tests/tree/master/src
DEFAULT_OPS = ("all_reduce", "all_gather", "reduce_scatter", "alltoall", "broadcast")
OPS = (*DEFAULT_OPS, "alltoallv", "gather", "hypercube", "reduce", "scatter", "sendrecv")
#: From here on the bus bandwidth says something; below it, the time.
LARGE_BYTES = 4 << 20
#: Where images of clouds have them beside the PATH (Azure's HPC images). https://github.com/Azure/azhpc-images
_ELSEWHERE = Path("/opt/nccl-tests/build")


@dataclass(frozen=True)
class Asked:
    """What a program was to do.

    Attributes:
        gpus: that were to take part.
        max_bytes: largest size.
        factor: from one size to the next.
    """

    gpus: int
    max_bytes: int
    factor: int


def program_of(op: str, *, with_mpi: bool = False) -> str:
    """The program of an operation: a name that the PATH has, else its path; the usual name where there is none.

    Args:
        op: operation.
        with_mpi: True to prefer a build for MPI that stands beside one without (``make MPI=1 NAME_SUFFIX=_mpi``).
    """
    names = [f"{op}_perf_mpi", f"{op}_perf"] if with_mpi else [f"{op}_perf"]
    there = [name for name in names if shutil.which(name)]
    elsewhere = [str(_ELSEWHERE / name) for name in names if (_ELSEWHERE / name).is_file()]
    return [*there, *elsewhere, names[-1]][0]


def emit(ctx: CheckContext, op: str, perf: Perf) -> int:
    """Emit every size; gives how many elements were wrong."""
    wrong = 0
    for row in perf.rows:
        variant = f"{op}/{show_bytes(row.size_bytes)}"
        if row.wrong is not None:
            ctx.emit("wrong_elements", row.wrong, variant)
            wrong += row.wrong
        if row.size_bytes >= LARGE_BYTES:
            ctx.emit("busbw_bytes", row.out_of_place.busbw_bytes, variant)
            ctx.emit("algbw_bytes", row.out_of_place.algbw_bytes, variant)
        else:
            ctx.emit("latency_s", row.out_of_place.time_s, variant)
    return wrong


def troubles_of(op: str, perf: Perf, asked: Asked, *, status: int, wrong: int) -> tuple[str, ...]:
    """Why a run is not the one that was asked for, each in a sentence; wrong elements are a verdict, and no trouble.

    Args:
        op: operation.
        perf: what the program measured.
        asked: what it was to do.
        status: that it ended with.
        wrong: elements, as ``emit`` gives them.
    """
    found = [f"{op} of {show_bytes(row.size_bytes)} was not verified" for row in perf.rows if row.wrong is None]
    if perf.out_of_bounds and not wrong:
        found.append(f"{op}_perf counts {perf.out_of_bounds} values out of bounds and no wrong element")
    if perf.devices != asked.gpus:
        found.append(f"{op}_perf speaks of {perf.devices} GPUs, {asked.gpus} were asked for")
    largest = max(row.size_bytes for row in perf.rows)
    if perf.reduced_bytes or largest * asked.factor <= asked.max_bytes:
        found.append(
            f"{op}_perf came to {show_bytes(largest)}, {show_bytes(asked.max_bytes)} was asked for: is memory taken?"
        )
    if status and not wrong:
        found.append(f"{op}_perf ended with {status}: {'; '.join(perf.errors) or 'it gives no reason'}")
    return tuple(found)
