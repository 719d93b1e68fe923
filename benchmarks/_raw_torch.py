"""The plain loops over torch that ``fidelity`` compares with: ``python _raw_torch.py THREADS``, prints JSON.

Nothing of hpcaccept: preallocated results, 3 calls to warm up, then each of ``COUNT`` calls timed by itself.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 60
SIZE = 1024
ARRAY_BYTES = 64 << 20


def timed(call: Callable[[], object]) -> list[float]:
    """Seconds of each call."""
    for _ in range(3):
        call()
    figures = []
    for _ in range(COUNT):
        begin = time.perf_counter()
        call()
        figures.append(time.perf_counter() - begin)
    return figures


def main() -> None:
    """A float32 product, its right operand stored transposed as the check stores it, and a copy of float64."""
    torch.set_num_threads(int(sys.argv[1]))
    left, right, out = (torch.randn(SIZE, SIZE) for _ in range(3))
    right = right.t()  # 2 % faster here: another kernel of the library
    product = timed(lambda: torch.mm(left, right, out=out))
    source, target = (torch.rand(ARRAY_BYTES // 8, dtype=torch.float64) for _ in range(2))
    copy = timed(lambda: target.copy_(source))
    rates = {"matmul": [2 * SIZE**3 / s for s in product], "copy": [2 * ARRAY_BYTES / s for s in copy]}
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
