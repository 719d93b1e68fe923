"""Is what hpcaccept measures on a GPU what a plain loop over the same library measures? Only with ``--device cuda``.

As ``fidelity``: the check and the plain loop in turn in one process, on the same GPU, timed by events on both sides. Statistic:
the best block. The all-reduce needs two GPUs, and is left out where there is one.
"""

from __future__ import annotations

import json
import sys

from benchmarks._child import environment, output
from benchmarks._row import CannotRun, Row, Target
from hpcaccept.launch.job.this_machine import mpiexec, step_environment

_SECONDS = 25
_ROUNDS = 12
#: What is compared, unit, name of the loop, figure in ``_alternating``, how far the ratio may be from 1.
ROWS = (
    ("matmul.rate_flops[bf16], 8192 × 8192", "FLOP/s", "torch.mm loop (cuBLAS)", "cuda/matmul", 0.02),
    ("memory_bandwidth.rate_bytes[copy], 1 GiB", "B/s", "torch copy_ loop on the GPU", "cuda/copy", 0.05),
    ("transfers.rate_bytes[h2d], 256 MiB", "B/s", "torch copy_ loop from pinned memory", "cuda/h2d", 0.05),
)
TOGETHER = ("allreduce.algbw_bytes[nccl/64MiB]", "B/s", "torch all_reduce loop (NCCL)", "cuda/nccl", 0.05)


def gpus() -> int:
    """GPUs that torch sees. Raises CannotRun where there is none, with the reason."""
    try:
        import torch
    except ImportError as fault:
        raise CannotRun(f"torch cannot be imported: {fault}") from None
    if not torch.cuda.is_available():
        raise CannotRun(f"torch {torch.__version__} sees no GPU")
    return int(torch.cuda.device_count())


def measure(quick: bool) -> list[Row]:
    """A row for each check that gives a rate of one GPU, and one for all of them together."""
    count, rounds = gpus(), 2 if quick else _ROUNDS
    rows = [row(*one, ranks=1, rounds=rounds) for one in ROWS]
    return [*rows, row(*TOGETHER, ranks=count, rounds=rounds)] if count > 1 else rows


def row(what: str, unit: str, loop: str, figure: str, within: float, *, ranks: int, rounds: int) -> Row:
    """One comparison.

    Args:
        what: is measured.
        unit: of the rate.
        loop: name of the plain loop.
        figure: in ``_alternating``.
        within: how far the ratio may be from 1.
        ranks: each with a GPU of its own.
        rounds: at most.
    """
    if ranks > 1 and not mpiexec():
        raise CannotRun("there is no mpiexec")
    launched = [] if ranks == 1 else [mpiexec(), "-n", str(ranks)]
    command = [*launched, sys.executable, "-m", "benchmarks._alternating", figure, str(rounds), str(_SECONDS)]
    ours, theirs = json.loads(output(command, step_environment(environment()), timeout_s=120).splitlines()[-1])
    return Row(what, unit, tuple(ours), loop, tuple(theirs), Target("ratio", 1 - within, 1 + within))
