from __future__ import annotations

import math
from typing import Any

import pytest
from support.harmed_stream import harm_result
from support.solo_context import SoloContext

from hpcaccept.checks.stream import Stream
from hpcaccept.measure.device import Cpu
from hpcaccept.measure.host import cpu_packages, host
from hpcaccept.measure.kernels import stream

KERNELS = {"copy": 2, "scale": 2, "add": 3, "triad": 3}
CREW = cpu_packages.cores(host.affinity())
SOCKETS = {core.variant for core in CREW}
SOCKET = CREW[0].variant
HERE = sum(core.variant == SOCKET for core in CREW)
SIZE_BYTES = 8 * 100_000 * HERE


def quick(place: dict[str, Any] | None = None, **params: Any) -> SoloContext:
    check = Stream(**{"size_bytes": SIZE_BYTES, "blocks": 2, "block_s": 0.001, **params})
    return SoloContext(check, **{"threads": len(CREW), "cores": float(len(CREW)), **(place or {})})


def test_every_kernel_of_a_socket_gives_its_rate_and_is_right() -> None:
    ctx = quick().run()
    variants = {f"{socket}/{kernel}" for socket in SOCKETS for kernel in KERNELS}
    assert ctx.variants("rate_bytes") == ctx.variants("wrong_elements") == ctx.variants("spread") == variants
    assert ctx.variants("slowest_core_share") == SOCKETS
    assert all(ctx.value("wrong_elements", variant) == 0 for variant in variants)


@pytest.mark.parametrize(("kernel", "arrays"), KERNELS.items())
def test_bytes_are_counted_as_stream_counts_them(monkeypatch: pytest.MonkeyPatch, kernel: str, arrays: int) -> None:
    monkeypatch.setattr(cpu_packages, "window", lambda call, _: [(call(), 0.25)[1]])
    assert quick().run().samples["rate_bytes", f"{SOCKET}/{kernel}"] == [arrays * SIZE_BYTES / 0.25] * 2


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("at", [0, 65521, -1])
def test_one_wrong_element_of_each_core_s_part_is_counted(
    monkeypatch: pytest.MonkeyPatch, kernel: str, at: int
) -> None:
    harm_result(monkeypatch, lambda out: out[at].add_(1))
    assert quick().run().value("wrong_elements", f"{SOCKET}/{kernel}") == HERE


def test_a_nan_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    harm_result(monkeypatch, lambda out: out[5].fill_(math.nan))
    assert quick().run().value("wrong_elements", f"{SOCKET}/triad") == HERE


def test_kernels_that_write_nothing_are_wrong_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "kernel_call", lambda *_: lambda: None)
    ctx = quick().run()
    assert all(ctx.value("wrong_elements", f"{SOCKET}/{kernel}") == 100_000 * HERE for kernel in KERNELS)


def test_one_rank_speaks_for_the_node() -> None:
    ctx = quick({"rank": 1, "local_rank": 1, "size": 2, "node_ranks": (0, 1)})
    ctx.check.measure(ctx)
    assert not ctx.samples
    assert all(metric.scope == "node" for metric in Stream.metrics)


def lengths(
    monkeypatch: pytest.MonkeyPatch, free_bytes: int, cache_bytes: int, cores: int = 2, **params: Any
) -> tuple[int, str]:
    """Bytes of one array of socket 0 with two of so many cores, and what the report says of it."""
    monkeypatch.setattr(Cpu, "free_bytes", lambda _: free_bytes)
    monkeypatch.setattr(cpu_packages, "cache_bytes", lambda _: cache_bytes)
    monkeypatch.setattr(cpu_packages, "cores", lambda _: [cpu_packages.Core(0, cpu) for cpu in range(cores)])
    ctx, crew = quick(**params), [cpu_packages.Core(0, 0), cpu_packages.Core(0, 1)]
    found = Stream(**params)._lengths(ctx, crew)
    return sum(found.values()) * 8, ctx.facts["buffers[socket0]"]


def test_arrays_are_four_times_the_last_level_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    size, said = lengths(monkeypatch, 1 << 40, 100 << 20, size_bytes=0)
    assert size == 400 << 20
    assert said == "3 arrays of 400MiB, at least 4 × the last level cache of 100MiB"


def test_arrays_of_a_machine_that_hides_its_caches_are_not_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lengths(monkeypatch, 1 << 40, 0, size_bytes=0) == (64 << 20, "3 arrays of 64MiB, last level cache unknown")


def test_where_memory_is_short_arrays_are_smaller_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    size, said = lengths(monkeypatch, 1200 << 20, 100 << 20, size_bytes=0, share=0.25)
    assert size == 100 << 20
    assert "LESS THAN 4 × the last level cache" in said
    assert said.endswith("; 25% of the free memory allow no more")


def test_virtual_nodes_share_the_memory_of_their_host(monkeypatch: pytest.MonkeyPatch) -> None:
    size, said = lengths(monkeypatch, 2400 << 20, 100 << 20, cores=4, size_bytes=0, share=0.25)
    assert size == 100 << 20
    assert said.endswith("; 12% of the free memory allow no more")
