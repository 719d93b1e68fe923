"""Is what hpcaccept measures what a plain loop over the same library measures?

The checks run for real (command, driver, MPI, rank program) with blocks of one call, so that a block is what one turn
of the plain loop is; the same library, shape, threads, processor and number of calls. Statistic on both sides: the best
call of a process, which is what hpcaccept judges by. Nobody watches while they measure: on a cluster the login side is
another machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._child import ROOT, environment, output, rounds
from benchmarks._row import CannotRun, Row, Target
from benchmarks._submission import rank_words
from hpcaccept.launch import local

if TYPE_CHECKING:
    from benchmarks._submission import RankWords

#: A block of at least 1 ms is one call here.
_ONE_RANK = """\
[checks.matmul]
dtypes = ["fp32"]
blocks = 60
block_s = 0.001
warm_s = 0.2
[checks.memory_bandwidth]
blocks = 60
block_s = 0.001
warm_s = 0.1
"""
_TWO_RANKS = """\
[checks.allreduce]
sizes_bytes = [67108864]
blocks = 20
block_s = 0.001
"""


def measure(quick: bool) -> list[Row]:
    """Products and copies on one processor, then all-reduces over two ranks; each in turn with its plain loop."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        python = pinned(place)
        device = [_device_pair(place, python) for _ in rounds(2 if quick else 9, budget_s=100)]
        world = [_world_pair(place) for _ in rounds(2 if quick else 7, budget_s=70)]
    return [
        figures_row(
            "matmul.rate_flops[fp32], 1024 × 1024, 1 thread", "FLOP/s", "torch.mm loop", device, "matmul", 0.02
        ),
        figures_row(
            "memory_bandwidth.rate_bytes[copy], 64 MiB, 1 thread", "B/s", "torch copy_ loop", device, "copy", 0.05
        ),
        figures_row("allreduce.algbw_bytes[mpi/64MiB], 2 ranks", "B/s", "mpi4py Allreduce loop", world, "mpi", 0.05),
        figures_row("allreduce.algbw_bytes[gloo/64MiB], 2 ranks", "B/s", "torch all_reduce loop", world, "gloo", 0.05),
    ]


Figures = dict[str, list[float]]


def figures_row(what: str, unit: str, loop: str, pairs: list[tuple[Figures, Figures]], name: str, within: float) -> Row:
    """The best figure of each process, ours and the loop's, as a ratio with its target."""
    ours = tuple(max(a[name]) for a, _ in pairs)
    theirs = tuple(max(b[name]) for _, b in pairs)
    return Row(what, unit, ours, loop, theirs, Target("ratio", 1 - within, 1 + within))


def _device_pair(place: Path, python: str) -> tuple[Figures, Figures]:
    (rank,) = run_ranks(place, _ONE_RANK, 1, HPCACCEPT_PYTHON=python)
    threads = str(rank.hello["threads"])
    ours = {
        "matmul": rank.values("matmul", "rate_flops", "fp32"),
        "copy": rank.values("memory_bandwidth", "rate_bytes", "copy"),
    }
    loop = str(ROOT / "benchmarks" / "_raw_torch.py")
    return ours, json.loads(output([python, loop, threads], environment(OMP_NUM_THREADS=threads)))


def _world_pair(place: Path) -> tuple[Figures, Figures]:
    first, _ = run_ranks(place, _TWO_RANKS, 2)
    ours = {name: first.values("allreduce", "algbw_bytes", f"{name}/64MiB") for name in ("mpi", "gloo")}
    meeting = place / f"meeting-{time.monotonic_ns()}"
    loop = [local.mpiexec(), "-n", "2", sys.executable, str(ROOT / "benchmarks" / "_raw_allreduce.py"), str(meeting)]
    return ours, json.loads(output(loop, local.step_environment(environment(OMP_NUM_THREADS="1")), timeout_s=90))


def run_ranks(place: Path, suite: str, nodes: int, **more: str) -> list[RankWords]:
    """The words of the ranks of a run that nobody waits for with more than a glance each half second."""
    (place / "bench.toml").write_text(suite)
    runs = place / f"runs-{time.monotonic_ns()}"
    command = [sys.executable, "-m", "hpcaccept"]
    words = ["submit", "--launcher", "local", "--nodes", str(nodes), "--suite", str(place / "bench.toml"), "--no-wait"]
    env = environment(HPCACCEPT_GPUS_PER_NODE="0", HPCACCEPT_RUNS_DIR=str(runs), **more)
    output([*command, *words], env)
    (folder,) = runs.iterdir()
    until = time.monotonic() + 90
    log = folder / "driver.jsonl"
    while not log.exists() or '"kind":"ended"' not in log.read_text():
        if time.monotonic() > until:
            subprocess.run([*command, "cancel", str(folder)], env=env, capture_output=True, timeout=60, check=False)
            raise CannotRun(f"{folder.name} did not end within 90 s")
        time.sleep(0.5)
    ranks = rank_words(folder)
    for record in (record for rank in ranks for record in rank.records):
        if record["outcome"] != "measured":
            raise CannotRun(f"{record['check']} on rank {record['rank']}: {record.get('cause')}")
    if len(ranks) != nodes:
        raise CannotRun(f"{len(ranks)} of {nodes} ranks left a word; see {folder}")
    return ranks


def pinned(place: Path) -> str:
    """A python that stays on one processor, so that two threads are never compared with one and a half."""
    taskset = shutil.which("taskset")
    if not taskset:
        return sys.executable
    file = place / "python"
    file.write_text(f'#!/bin/sh\nexec {taskset} -c {max(os.sched_getaffinity(0))} {sys.executable} "$@"\n')
    file.chmod(0o755)
    return str(file)
