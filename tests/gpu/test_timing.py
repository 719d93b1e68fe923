"""What only a GPU shows of how it is timed: launches are not in small figures, and a rank stays on its own GPU."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from hpcaccept.measure.device import Cuda, lacks_code
from hpcaccept.measure.gpu import driver
from hpcaccept.measure.kernels import gemm

if TYPE_CHECKING:
    from collections.abc import Callable

GPU = "cuda:0"


def _small() -> Callable[[], object]:
    import torch

    memory = torch.ones(1024, device=GPU)
    return lambda: memory.add_(1)


def test_a_small_call_is_timed_without_its_launch() -> None:
    call, device = _small(), Cuda(GPU)
    device.time_calls(call, 300)
    held_s = min(device.time_calls(call, 300)[0] for _ in range(5))
    begin = time.perf_counter()
    for _ in range(300):
        call()
    queued_s = (time.perf_counter() - begin) / 300
    device.synchronize()
    assert held_s < queued_s, f"{held_s * 1e6:.1f} µs on the GPU, {queued_s * 1e6:.1f} µs to queue"


def test_a_long_call_is_timed_alike_with_and_without_the_hold() -> None:
    form = gemm.FORMATS["fp32"]
    call, device = gemm.product_call(form, gemm.random_operands(form, 2048, GPU, seed=1)), Cuda(GPU)
    device.time_calls(call, 32)
    plain_s, held_s = device.time_block(call, 32) / 32, device.time_calls(call, 32)[0]
    assert held_s == pytest.approx(plain_s, rel=0.1)


def test_every_product_of_rotating_sets_has_the_same_bits() -> None:
    device, form = Cuda(GPU), gemm.FORMATS["fp16"]
    operands = gemm.random_operands(form, 1024, GPU, seed=1)
    gemm.product_call(form, operands)()
    first = operands.out.clone()
    call, sets = gemm.rotated(form, operands, device.cache_bytes())
    assert len(sets) > 1
    for _ in sets:
        call()
    assert sum(int(gemm.differing(each.out, first)) for each in sets) == 0


def test_pinning_for_one_gpu_opens_no_context_on_another() -> None:
    vendor = driver.installed()
    with vendor.open() as opened:
        listed = opened.list()
        if len(listed) < 2:
            pytest.skip("not run: it needs two GPUs, there is one")
        Cuda("cuda:1").host_buffer(1 << 20)
        found = opened.open(vendor.visible(listed, vendor.wanted())[0])
        assert not isinstance(found, driver.NoAnswer)
        # Tests before this one may have used GPU 0 in this process: then nothing can be told.
        if GPU in _used():
            pytest.skip("not run: this process has used GPU 0 already")
        assert os.getpid() not in found.counters().processes


def _used() -> list[str]:
    import torch

    return [f"cuda:{n}" for n in range(torch.cuda.device_count()) if torch.cuda.memory_reserved(n)]


def test_the_torch_that_is_installed_has_code_for_this_gpu() -> None:
    assert lacks_code(GPU) == ("", "")


def test_cuda_starts_as_many_gpus_as_torch_sees() -> None:
    import torch

    vendor = driver.installed()
    assert vendor.start is not None
    count, why = vendor.start()
    assert (count, why) == (torch.cuda.device_count(), {})
