"""The plain loops that ``fidelity_host`` compares with: ``python _raw_host.py N BLOCKS SECONDS CPU:LENGTH…``, prints JSON.

Nothing of hpcaccept: a process on each processor, one thread each, started together by a line on their input. Each makes
products, then triads, for so many blocks of so many seconds; a block's figure is its median call.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Start the processes, begin each block on all of them at once, add up their rates."""
    size, blocks, seconds, *parts = sys.argv[1:]
    children = [
        subprocess.Popen(
            [sys.executable, __file__, "child", size, blocks, seconds, *part.split(":")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for part in parts
    ]
    found = {name: [_block(children) for _ in range(int(blocks))] for name in ("dgemm", "triad")}
    for one in children:
        one.wait()
    print(json.dumps(found))


def _block(children: list[subprocess.Popen[str]]) -> float:
    for one in children:
        if one.stdout is None or one.stdout.readline() != "ready\n":
            raise SystemExit("a loop broke off")
    for one in children:
        if one.stdin:
            one.stdin.write("go\n")
            one.stdin.flush()
    return sum(float(one.stdout.readline()) for one in children if one.stdout)


def child(size: int, blocks: int, seconds: float, cpu: int, length: int) -> None:
    """One processor."""
    os.sched_setaffinity(0, {cpu})
    import numpy as np
    import torch

    torch.set_num_threads(1)
    left, right, out = (torch.randn(size, size, dtype=torch.float64) for _ in range(3))
    right = right.t()
    _loop(lambda: torch.mm(left, right, out=out), 2 * size**3, blocks, seconds)
    # numpy asks for huge pages.
    x, y, z = (torch.from_numpy(np.ones(length)) for _ in range(3))
    _loop(lambda: torch.add(x, y, alpha=3.0, out=z), 3 * 8 * length, blocks, seconds)


def _loop(call: Callable[[], object], work: float, blocks: int, seconds: float) -> None:
    for _ in range(3):
        call()
    for _ in range(blocks):
        print("ready", flush=True)
        sys.stdin.readline()
        end = time.perf_counter() + seconds
        figures: list[float] = []
        while not figures or time.perf_counter() < end:
            begin = time.perf_counter()
            call()
            figures.append(time.perf_counter() - begin)
        print(work / statistics.median(figures), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "child":
        child(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6]))
    else:
        main()
