"""Is what hpcaccept measures what a plain loop over the same library measures?

Alternated in one process (``_alternating``): the check with blocks of one call, then the plain loop, and the other way round, with the same
library, shape, threads, processor and number of calls. Statistic on both sides: the best call. A first pair warms up and does
not count. One rank is bound to one processor; two ranks exchange on the loopback interface.
"""

from __future__ import annotations

import json
import os
import shutil
import sys

from benchmarks._child import environment, output
from benchmarks._row import CannotRun, Row, Target
from hpcaccept.launch.job import this_machine

#: For the pairs of one row, by ranks. Two ranks need both processors undisturbed at once: their ratios scatter by a tenth,
#: and the median of a few pairs by half of that.
_SECONDS = {1: 25, 2: 100}
#: What is compared, unit, name of the loop, figure in ``_alternating``, ranks, how far the ratio may be from 1.
_ROWS = (
    ("matmul.rate_flops[fp32], 1024 × 1024, 1 thread", "FLOP/s", "torch.mm loop", "matmul", 1, 0.02),
    ("memory_bandwidth.rate_bytes[copy], 64 MiB, 1 thread", "B/s", "torch copy_ loop", "copy", 1, 0.05),
    ("transfers.rate_bytes[h2d], 64 MiB, 1 thread", "B/s", "torch copy_ loop", "h2d", 1, 0.05),
    ("resnet.small_images_per_s[resnet18/infer/fp32], 1 thread", "1/s", "torchvision loop", "resnet", 1, 0.05),
    ("allreduce.algbw_bytes[mpi/64MiB], 2 ranks", "B/s", "mpi4py Allreduce loop", "mpi", 2, 0.05),
    ("allreduce.algbw_bytes[gloo/64MiB], 2 ranks", "B/s", "torch all_reduce loop", "gloo", 2, 0.05),
    ("collectives.algbw_bytes[all_gather, 16 MiB], 2 ranks", "B/s", "torch all_gather loop", "gather", 2, 0.05),
    ("pairs.exchange_bytes, 16 MiB, 2 ranks", "B/s", "torch isend/irecv loop", "pair", 2, 0.05),
)


def measure(quick: bool) -> list[Row]:
    """A row for each check that gives a rate."""
    rounds = 2 if quick else 60
    return [_row(*row, rounds) for row in _ROWS]


def _row(what: str, unit: str, loop: str, figure: str, ranks: int, within: float, rounds: int) -> Row:
    mpiexec, taskset = this_machine.mpiexec(), shutil.which("taskset")
    if ranks > 1 and not mpiexec:
        raise CannotRun("there is no mpiexec")
    bound = [taskset, "-c", str(max(os.sched_getaffinity(0)))] if taskset else []
    launched = bound if ranks == 1 else [mpiexec or "", "-n", str(ranks)]
    command = [*launched, sys.executable, "-m", "benchmarks._alternating", figure, str(rounds), str(_SECONDS[ranks])]
    text = output(command, this_machine.step_environment(environment(OMP_NUM_THREADS="1")), timeout_s=240)
    ours, theirs = json.loads(text)
    return Row(what, unit, tuple(ours), loop, tuple(theirs), Target("ratio", 1 - within, 1 + within))
