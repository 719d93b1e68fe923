"""What a check measures on a GPU is what a plain loop over the same library measures."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import pytest

from benchmarks import fidelity_gpu

if TYPE_CHECKING:
    from benchmarks._row import Row

#: Few rounds: ``python -m benchmarks --device cuda`` judges more of them by narrower bounds.
ROUNDS, WITHIN = 3, 0.10


def _close(row: Row) -> bool:
    return abs(statistics.median(row.ratios) - 1) < WITHIN


@pytest.mark.parametrize("row", fidelity_gpu.ROWS, ids=[row[3] for row in fidelity_gpu.ROWS])
def test_a_rate_of_one_gpu_is_that_of_the_plain_loop(row: tuple[str, str, str, str, float]) -> None:
    found = fidelity_gpu.row(*row, ranks=1, rounds=ROUNDS)
    assert _close(found), found.ratios


def test_an_all_reduce_of_all_gpus_is_that_of_the_plain_loop() -> None:
    count = fidelity_gpu.gpus()
    if count < 2:
        pytest.skip("not run: an all-reduce needs two GPUs, there is one")
    found = fidelity_gpu.row(*fidelity_gpu.TOGETHER, ranks=count, rounds=ROUNDS)
    assert _close(found), found.ratios
