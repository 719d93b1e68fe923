from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.solo_context import SoloContext

from hpcaccept.checks.allreduce import Allreduce
from hpcaccept.measure.ranks import collective


@dataclass
class Queue:
    """A GPU on which the k-th call takes ``seconds(k)`` and each row of them a launch more."""

    seconds: Callable[[int], float]
    launch_s: float = 20e-6
    calls: int = 0
    rows: list[int] = field(default_factory=list)
    waiting_s: float = 0.0

    def call(self) -> None:
        self.waiting_s += self.seconds(self.calls)
        self.calls += 1

    def synchronize(self) -> None:
        self.waiting_s = 0.0

    def time_calls(self, call: Callable[[], object], count: int) -> list[float]:
        self.rows.append(count)
        for _ in range(count):
            call()
        spent, self.waiting_s = self.waiting_s + self.launch_s, 0.0
        return [spent / count]


def blocks(device: Any, block_s: float = 0.01) -> list[float]:
    ctx = SoloContext(Allreduce())
    (mine,) = collective.block_seconds(ctx, device, device.call, lambda: None, lambda: None, 3, block_s)
    return mine


def test_a_first_call_that_opens_connections_for_seconds_does_not_make_blocks_of_one_call() -> None:
    device = Queue(lambda k: 3.0 if k == 0 else 10e-6)
    # The call before each block is queued, not timed, and the block behind it waits for it.
    assert blocks(device) == pytest.approx([10e-6] * 3, rel=0.02)
    assert min(device.rows[-3:]) > 500


def test_every_size_and_every_peer_has_a_first_call_of_its_own() -> None:
    for _ in range(2):
        device = Queue(lambda k: 0.5 if k == 0 else 100e-6)
        assert max(blocks(device)) < 150e-6


def test_a_call_longer_than_a_block_is_a_block() -> None:
    device = Queue(lambda _: 0.1)
    blocks(device)
    assert device.rows[-3:] == [1, 1, 1]
