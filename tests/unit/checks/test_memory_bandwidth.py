from __future__ import annotations

import math
from typing import Any

import pytest
from support.harmed_stream import harm_result
from support.solo_context import SoloContext

from hpcaccept.checks import memory_bandwidth as module
from hpcaccept.checks.memory_bandwidth import MemoryBandwidth
from hpcaccept.measure.device import Cpu
from hpcaccept.measure.kernels import stream

KERNELS = {"copy", "scale", "add", "triad"}


def quick(**params: Any) -> SoloContext:
    return SoloContext(MemoryBandwidth(**{"size_bytes": 8 * 100_000, "blocks": 2, "block_s": 0.001, **params}))


def test_every_kernel_gives_every_metric_and_is_right() -> None:
    ctx = quick().run()
    for metric in MemoryBandwidth.metrics:
        assert ctx.variants(metric.name) == KERNELS
    assert all(ctx.value("wrong_elements", kernel) == 0 for kernel in KERNELS)


@pytest.mark.parametrize(("kernel", "arrays"), [("copy", 2), ("scale", 2), ("add", 3), ("triad", 3)])
def test_bytes_are_counted_as_stream_counts_them(monkeypatch: pytest.MonkeyPatch, kernel: str, arrays: int) -> None:
    monkeypatch.setattr(Cpu, "time_calls", lambda _self, call, count: [(call(), 0.25)[1]] * count)
    assert quick().run().samples["rate_bytes", kernel] == [arrays * 800_000 / 0.25] * 2


@pytest.mark.parametrize("kernel", sorted(KERNELS))
@pytest.mark.parametrize("at", [0, 65521, -1])
def test_one_wrong_element_is_counted_in_each_kernel(monkeypatch: pytest.MonkeyPatch, kernel: str, at: int) -> None:
    harm_result(monkeypatch, lambda out: out[at].add_(1))
    assert quick().run().value("wrong_elements", kernel) == 1


def test_a_nan_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    harm_result(monkeypatch, lambda out: out[5].fill_(math.nan))
    assert quick().run().value("wrong_elements", "triad") == 1


def test_a_kernel_that_writes_nothing_is_wrong_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "kernel_call", lambda *_: lambda: None)
    ctx = quick().run()
    assert all(ctx.value("wrong_elements", kernel) == 100_000 for kernel in KERNELS)


@pytest.mark.parametrize(
    ("size", "cache", "said"),
    [
        (64 << 20, 16 << 20, "3 arrays of 64MiB, at least 4 × the last level cache of 16MiB"),
        (64 << 20, 105 << 20, "3 arrays of 64MiB, LESS THAN 4 × the last level cache of 105MiB"),
        (64 << 20, 0, "3 arrays of 64MiB, last level cache unknown"),
    ],
)
def test_it_says_whether_the_cache_can_hold_the_arrays(size: int, cache: int, said: str) -> None:
    assert stream.buffers(size, cache) == said


def test_a_gpu_s_arrays_outgrow_its_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cpu, "cache_bytes", lambda _: 500 << 20)
    assert module._default_bytes(Cpu(kind="cuda")) == 2000 << 20
    assert module._default_bytes(Cpu()) == 64 << 20
