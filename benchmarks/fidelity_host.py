"""Is what dgemm and stream measure with threads what plain loops measure with a process on each core?

The checks run for real (command, driver, MPI, rank program), the plain loops right after them, with the same library, sizes and
processors. Nobody watches while they measure: on a cluster the login side is another machine.
A process on each core is what ``mpirun`` of HPL or STREAM would be; threads under Python's lock must not be slower.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._child import ROOT, environment, output, rounds
from benchmarks._row import CannotRun, Row, Target
from benchmarks._submission import rank_words
from hpcaccept.measure.host import cpu_packages, host

if TYPE_CHECKING:
    from benchmarks._submission import RankWords

_SIZE = 768
_SECONDS = 0.1
_BLOCKS = 6
Figures = dict[str, list[float]]


def measure(quick: bool) -> list[Row]:
    """Products and triads on all cores of the node together, each beside its plain loops."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = [_pair(Path(folder)) for _ in rounds(2 if quick else 7, budget_s=150)]
    cores = len(cpu_packages.cores(host.affinity()))
    return [
        _row(f"dgemm.rate_flops, {_SIZE} × {_SIZE}, {cores} cores", "FLOP/s", "torch.mm", pairs, "dgemm", 0.05),
        _row(f"stream.rate_bytes[triad], {cores} cores", "B/s", "torch.add", pairs, "triad", 0.10),
    ]


def _row(what: str, unit: str, loop: str, pairs: list[tuple[Figures, Figures]], name: str, within: float) -> Row:
    ours, theirs = (tuple(max(side[name]) for side in sides) for sides in zip(*pairs, strict=True))
    return Row(what, unit, ours, f"{loop} loop in a process per core", theirs, Target("ratio", 1 - within, 1 + within))


def _pair(place: Path) -> tuple[Figures, Figures]:
    crew = cpu_packages.cores(host.affinity())
    # Far beyond any last level cache and small enough to be quick; the sockets have as many bytes as they have cores.
    size_bytes = max(4 * cpu_packages.cache_bytes(crew[0].socket), 64 << 20) // 2
    suite = (
        f"[checks.dgemm]\nsize = {_SIZE}\nblocks = {_BLOCKS}\nblock_s = {_SECONDS}\n"
        f"[checks.stream]\nsize_bytes = {size_bytes}\nblocks = {_BLOCKS}\nblock_s = {_SECONDS}\n"
    )
    (rank,) = _run_ranks(place, suite, 1)
    found = list(dict.fromkeys(core.variant for core in crew))
    ours = {
        "dgemm": _summed([rank.values("dgemm", "rate_flops", socket) for socket in found]),
        "triad": _summed([rank.values("stream", "rate_bytes", f"{socket}/triad") for socket in found]),
    }
    members = [sum(core.socket == one.socket for core in crew) for one in crew]
    parts = [f"{core.cpu}:{size_bytes // 8 // count}" for core, count in zip(crew, members, strict=True)]
    loop = [sys.executable, str(ROOT / "benchmarks" / "_raw_host.py"), str(_SIZE), str(_BLOCKS), str(_SECONDS), *parts]
    return ours, json.loads(output(loop, environment(OMP_NUM_THREADS="1"), timeout_s=120))


def _summed(rates: list[list[float]]) -> list[float]:
    """Of each block, over all sockets."""
    return [sum(block) for block in zip(*rates, strict=True)]


def _run_ranks(place: Path, suite: str, nodes: int, **more: str) -> list[RankWords]:
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
