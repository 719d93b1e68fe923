from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.solo_context import SoloContext

from hpcaccept.checks.dgemm import Dgemm
from hpcaccept.measure.host import cpu_packages, host
from hpcaccept.measure.kernels import gemm

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.measure.kernels.gemm import Format, Operands

real_call = gemm.product_call
CORES = len(host.affinity())


def quick(**place: Any) -> SoloContext:
    params: dict[str, Any] = {"size": 64, "blocks": 3, "block_s": 0.002, "warm_s": 0.002}
    return SoloContext(Dgemm(**params), **{"threads": CORES, "cores": float(CORES), **place})


def harm_result(monkeypatch: pytest.MonkeyPatch, harm: Callable[[int, Any], None]) -> None:
    """Let ``harm(number of the call on these operands, result)`` happen after each product of the last core."""

    def product_call(form: Format, operands: Operands) -> Callable[[], object]:
        call, numbers = real_call(form, operands), itertools.count()

        def harmed() -> None:
            call()
            if os.sched_getaffinity(0) == {max(host_cpus)}:
                harm(next(numbers), operands.out)

        return harmed

    host_cpus = host.affinity()
    if len(host_cpus) == 1:
        pytest.skip("one processor: the core that is harmed would be the one that verifies")
    monkeypatch.setattr(gemm, "product_call", product_call)


def test_a_socket_gives_every_metric_and_is_right() -> None:
    ctx = quick().run()
    crew = cpu_packages.cores(host.affinity())
    for metric in Dgemm.metrics:
        assert ctx.variants(metric.name) == {core.variant for core in crew}
    assert all(len(v) == 3 for (metric, _), v in ctx.samples.items() if metric == "rate_flops")
    assert ctx.value("wrong_elements", crew[0].variant) == 0
    assert f"processors {crew[0].cpu}" in ctx.facts[f"cores[{crew[0].variant}]"]


def test_a_core_does_two_n_cubed_per_median_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_packages, "window", lambda *_: [0.5, 0.5, 9.0])
    crew = cpu_packages.cores(host.affinity())
    here = sum(core.socket == crew[0].socket for core in crew)
    assert quick().run().samples["rate_flops", crew[0].variant] == [here * 2 * 64**3 / 0.5] * 3


def test_one_rank_speaks_for_the_node() -> None:
    ctx = quick(rank=1, local_rank=1, size=2, node_ranks=(0, 1))
    assert ctx.check.measure(ctx) is None
    assert not ctx.samples
    assert all(metric.scope == "node" for metric in Dgemm.metrics)


def test_a_bit_that_flips_on_one_core_is_counted_and_the_core_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def harm(number: int, out: Any) -> None:
        if number == 2:  # long after the first one
            out.view(torch.int64)[2, 3] ^= 1

    harm_result(monkeypatch, harm)
    ctx = quick().run()
    variant = cpu_packages.cores(host.affinity())[-1].variant
    assert ctx.value("wrong_elements", variant) == 1
    assert ctx.facts[f"wrong_cores[{variant}]"] == f"wrong results on processors {max(host.affinity())}"


def test_a_core_that_is_wrong_every_time_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    harm_result(monkeypatch, lambda _, out: out[2, 3].add_(64.0))
    ctx = quick().run()
    variant = cpu_packages.cores(host.affinity())[-1].variant
    assert ctx.value("wrong_elements", variant) == 2  # in the exact product and in the sums
    assert str(max(host.affinity())) in ctx.facts[f"wrong_cores[{variant}]"]


def test_a_core_that_writes_nothing_is_wrong_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def product_call(form: Format, operands: Operands) -> Callable[[], object]:
        call = real_call(form, operands)
        return lambda: None if len(os.sched_getaffinity(0)) == 1 else call()

    if CORES == 1:
        pytest.skip("one processor: the core that is harmed would be the one that verifies")
    monkeypatch.setattr(gemm, "product_call", product_call)
    ctx = quick().run()
    assert ctx.value("wrong_elements", cpu_packages.cores(host.affinity())[0].variant) >= 2 * 64 * 64
