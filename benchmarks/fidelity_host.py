"""Is what dgemm and stream measure with threads what plain loops measure with a process on each core?

As in ``fidelity``: the checks run for real, the plain loops right after them, with the same library, sizes and processors.
A process on each core is what ``mpirun`` of HPL or STREAM would be; threads under Python's lock must not be slower.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from benchmarks._child import ROOT, environment, output, rounds
from benchmarks._row import Row, Target
from benchmarks.fidelity import Figures, run_ranks
from hpcaccept.measure import host, sockets

_SIZE = 768
_SECONDS = 0.1
_BLOCKS = 6


def measure(quick: bool) -> list[Row]:
    """Products and triads on all cores of the node together, each beside its plain loops."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = [_pair(Path(folder)) for _ in rounds(2 if quick else 7, budget_s=150)]
    cores = len(sockets.cores(host.affinity()))
    return [
        _row(f"dgemm.rate_flops, {_SIZE} × {_SIZE}, {cores} cores", "FLOP/s", "torch.mm", pairs, "dgemm", 0.05),
        _row(f"stream.rate_bytes[triad], {cores} cores", "B/s", "torch.add", pairs, "triad", 0.10),
    ]


def _row(what: str, unit: str, loop: str, pairs: list[tuple[Figures, Figures]], name: str, within: float) -> Row:
    ours, theirs = (tuple(max(side[name]) for side in sides) for sides in zip(*pairs, strict=True))
    return Row(what, unit, ours, f"{loop} loop in a process per core", theirs, Target("ratio", 1 - within, 1 + within))


def _pair(place: Path) -> tuple[Figures, Figures]:
    crew = sockets.cores(host.affinity())
    # Far beyond any last level cache and small enough to be quick; the sockets have as many bytes as they have cores.
    size_bytes = max(4 * sockets.cache_bytes(crew[0].socket), 64 << 20) // 2
    suite = (
        f"[checks.dgemm]\nsize = {_SIZE}\nblocks = {_BLOCKS}\nblock_s = {_SECONDS}\n"
        f"[checks.stream]\nsize_bytes = {size_bytes}\nblocks = {_BLOCKS}\nblock_s = {_SECONDS}\n"
    )
    (rank,) = run_ranks(place, suite, 1)
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
