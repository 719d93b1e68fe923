"""Do the checks that move data, and the networks, measure what a plain loop over the same library measures?

As in ``fidelity``: the checks run for real, blocks of one call, the same library, shapes, threads and ranks, in turn with
their plain loops. The best block is compared; of collectives and exchanges its slowest rank.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._child import ROOT, environment, output, rounds
from benchmarks.fidelity import Figures, figures_row, pinned, run_ranks
from hpcaccept.launch import local

if TYPE_CHECKING:
    from benchmarks._row import Row

_MIB = 1 << 20
_ONE_RANK = """\
[checks.transfers]
size_bytes = 67108864
blocks = 30
block_s = 0.001
[checks.resnet]
models = ["resnet18"]
modes = ["infer"]
precisions = ["fp32"]
blocks = 20
"""
_TWO_RANKS = """\
[checks.collectives]
sizes_bytes = [16777216]
operations = ["all_gather"]
groups = ["world"]
blocks = 20
block_s = 0.001
[checks.pairs]
size_bytes = 16777216
blocks = 20
block_s = 0.001
"""


def measure(quick: bool) -> list[Row]:
    """Transfers and a network on one processor, then a collective and an exchange of two ranks."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        python = pinned(place)
        device = [_device_pair(place, python) for _ in rounds(2 if quick else 5, budget_s=90)]
        world = [_world_pair(place) for _ in rounds(2 if quick else 5, budget_s=70)]
    return [
        figures_row("transfers.rate_bytes[h2d], 64 MiB, 1 thread", "B/s", "torch copy_ loop", device, "h2d", 0.05),
        figures_row(
            "resnet.small_images_per_s[resnet18/infer/fp32]", "1/s", "torchvision loop", device, "resnet", 0.05
        ),
        figures_row("collectives.algbw_bytes[all_gather, 16 MiB], 2 ranks", "B/s", "torch loop", world, "gather", 0.05),
        figures_row("pairs.exchange_bytes, 16 MiB, 2 ranks", "B/s", "torch isend/irecv loop", world, "pair", 0.05),
    ]


def _device_pair(place: Path, python: str) -> tuple[Figures, Figures]:
    (rank,) = run_ranks(place, _ONE_RANK, 1, HPCACCEPT_PYTHON=python)
    threads = str(rank.hello["threads"])
    h2d = [
        rank.values("transfers", metric, f"h2d{end}")
        for metric, end in (("rate_bytes", ""), ("together_bytes", "/together"))
    ]
    ours = {
        "h2d": next(values for values in h2d if values),
        "resnet": rank.values("resnet", "small_images_per_s", "resnet18/infer/fp32"),
    }
    loop = [python, str(ROOT / "benchmarks" / "_raw_moves.py"), "device", threads]
    return ours, json.loads(output(loop, environment(OMP_NUM_THREADS=threads)))


def _world_pair(place: Path) -> tuple[Figures, Figures]:
    first, _ = run_ranks(place, _TWO_RANKS, 2)
    ours = {
        "gather": first.values("collectives", "algbw_bytes", "all_gather/world/16MiB"),
        "pair": first.values("pairs", "exchange_bytes", "node1"),
    }
    meeting = place / f"meeting-{time.monotonic_ns()}"
    loop = [
        local.mpiexec(),
        "-n",
        "2",
        sys.executable,
        str(ROOT / "benchmarks" / "_raw_moves.py"),
        "world",
        str(meeting),
    ]
    return ours, json.loads(output(loop, local.step_environment(environment(OMP_NUM_THREADS="1")), timeout_s=90))
