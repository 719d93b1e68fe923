"""``python _raw_monitoring.py PAIRS``: one core computes, in turn with and without a GPU being watched; prints JSON."""

from __future__ import annotations

import json
import os
import sys
import time

import torch

from hpcaccept.measure.device import Cpu
from hpcaccept.measure.gpu import telemetry
from hpcaccept.measure.kernels.gemm import FORMATS, flops, product_call, random_operands

_BLOCK_S = 1.0
_SIZE = 512


def main(pairs: int) -> None:
    """All in one process and on one core: the thread takes its time from the load."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    operands = random_operands(FORMATS["fp32"], _SIZE, "cpu", seed=1)
    call = product_call(FORMATS["fp32"], operands)
    count = max(1, round(_BLOCK_S / Cpu().time_block(call, 200) * 200))

    def rate() -> float:
        return count * flops(_SIZE) / Cpu().time_block(call, count)

    found: dict[str, list[float]] = {"watched": [], "alone": [], "cost_s": []}
    why_not = ""
    for number in range(pairs):
        for kind in ("watched", "alone") if number % 2 else ("alone", "watched"):
            if kind == "alone":
                found[kind].append(rate())
                continue
            begin = time.perf_counter()
            with telemetry.sampling("cuda:0", period_s=0.1) as seen:
                found[kind].append(rate())
            found["cost_s"].append(seen.cost_s / (time.perf_counter() - begin))
            why_not = why_not or seen.why_not
    print(json.dumps({**found, "why_not": why_not}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
