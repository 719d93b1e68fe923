from __future__ import annotations

import contextlib
import itertools
import os
from typing import TYPE_CHECKING

import pytest
import torch

from hpcaccept.measure import device as devices
from hpcaccept.measure.device import Cpu, Cuda, open_device, repeatable
from hpcaccept.measure.host import host

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_a_cpu_block_is_timed_around_all_its_calls() -> None:
    ticks, calls = itertools.count(10.0, 2.5), []
    assert Cpu(clock=lambda: next(ticks)).time_block(lambda: calls.append(1), 7) == 2.5
    assert len(calls) == 7


def test_cpu_calls_are_timed_one_by_one() -> None:
    ticks = itertools.count(0.0, 1.0)
    assert Cpu(clock=lambda: next(ticks)).time_calls(lambda: None, 3) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(("name", "expected"), [("cpu", Cpu()), ("cuda:3", Cuda("cuda:3"))])
def test_a_device_is_found_by_torch_s_name_for_it(name: str, expected: devices.Device) -> None:
    assert open_device(name) == expected


def test_an_unknown_device_is_refused_with_its_name() -> None:
    with pytest.raises(ValueError, match="found device 'tpu:0'"):
        open_device("tpu:0")


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Half'"), False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasLtMatmul`"), False),
        (RuntimeError("torch._scaled_mm is only supported on CUDA devices with compute capability >= 8.9"), False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"), True),
    ],
)
def test_a_broken_device_is_not_taken_for_one_that_cannot(error: RuntimeError, fault: bool) -> None:
    assert devices.is_fault(error) is fault


def test_the_precision_is_put_back() -> None:
    before = torch.backends.mkldnn.matmul.fp32_precision
    with Cpu().fp32_as("ieee"):
        assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
    assert torch.backends.mkldnn.matmul.fp32_precision == before


def test_a_gpu_does_fp32_in_ieee_and_in_tf32_on_request() -> None:
    for precision in ("ieee", "tf32"):
        with Cuda("cuda:0").fp32_as(precision):
            assert torch.backends.cuda.matmul.fp32_precision == precision


def test_the_convolutions_follow_and_are_put_back() -> None:
    """Torch leaves TF32 on for them: an "fp32" ResNet would be another, faster one."""
    before = torch.backends.cudnn.conv.fp32_precision, torch.backends.mkldnn.conv.fp32_precision
    with Cuda("cuda:0").fp32_as("ieee"), Cpu().fp32_as("ieee"):
        assert torch.backends.cudnn.conv.fp32_precision == torch.backends.mkldnn.conv.fp32_precision == "ieee"
    assert (torch.backends.cudnn.conv.fp32_precision, torch.backends.mkldnn.conv.fp32_precision) == before


def test_whoever_reads_the_precision_in_the_older_or_the_newer_way_is_answered() -> None:
    """torch itself does, in both ways: from 2.9 on it raises where they do not agree."""
    before = torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.rnn.fp32_precision
    for precision in ("ieee", "tf32"):
        with Cuda("cuda:0").fp32_as(precision):
            fast = precision == "tf32"
            assert torch.backends.cuda.matmul.allow_tf32 is fast
            assert torch.backends.cudnn.allow_tf32 is fast
            assert torch.backends.cudnn.rnn.fp32_precision == precision
            assert torch.get_float32_matmul_precision() == ("high" if fast else "highest")
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=fast):
                pass
            assert torch.backends.cudnn.allow_tf32 is fast
    assert (torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.rnn.fp32_precision) == before
    assert torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_marks_of_a_cpu_are_moments_of_its_clock() -> None:
    ticks = itertools.count(10.0, 2.5)
    cpu = Cpu(clock=lambda: next(ticks))
    assert cpu.seconds_between(cpu.mark(), cpu.mark()) == 2.5


def test_a_cpu_has_no_tf32() -> None:
    with pytest.raises(ValueError, match="tf32"):
        Cpu().fp32_as("tf32")


def test_repeatable_refuses_what_cannot_be_repeated_and_only_while_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with repeatable():
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_cpu_says_what_its_bits_depend_on() -> None:
    assert Cpu().model() == Cpu().model()
    assert "," in Cpu().model()


@pytest.mark.parametrize(("text", "size"), [("107520K\n", 110100480), ("32M", 33554432), ("512", 512), ("", 0)])
def test_cache_sizes_are_read_as_the_kernel_writes_them(text: str, size: int) -> None:
    assert host.parse_cache_size(text) == size


def test_free_host_memory_is_no_more_than_the_cgroup_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    free = Cpu().free_bytes()
    assert 0 < free <= host.memory_bytes()
    monkeypatch.setattr(host, "memory_limit_bytes", lambda: 4096)
    assert Cpu().free_bytes() == 4096
    Cpu().give_back()


def test_calls_side_by_side_are_all_done_on_a_cpu() -> None:
    done: list[int] = []
    Cpu().side_by_side([lambda: done.append(1), lambda: done.append(2)])()
    assert done == [1, 2]


def test_a_cpu_s_host_buffer_holds_whole_words_and_all_host_memory_is_reached() -> None:
    buffer = Cpu().host_buffer(5)
    assert (len(buffer), buffer.dtype, buffer.device.type) == (5, torch.int64, "cpu")
    assert Cpu().reaches("cpu")
    assert not Cpu().reaches("cuda:0")


class Stream:
    """A queue that remembers what it waits for and what was given to it."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.log: list[object] = []

    def wait_stream(self, other: Stream) -> None:
        self.log.append(other)


def test_a_gpu_s_calls_side_by_side_begin_together_and_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    here, made, current = Stream("cuda:0"), [], []

    def new(device: str) -> Stream:
        made.append(Stream(device))
        return made[-1]

    @contextlib.contextmanager
    def stream(of: Stream) -> Iterator[None]:
        current.append(of)
        yield
        current.remove(of)

    monkeypatch.setattr(torch.cuda, "Stream", new)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: here)
    seen: list[list[Stream]] = []
    call = Cuda("cuda:0").side_by_side([lambda: seen.append([*current])] * 2, ["cuda:3"])
    call()
    assert [[s.device for s in lane] for lane in seen] == [["cuda:3", "cuda:0"]] * 2
    assert seen == [made[:2], made[2:]], "each call has streams of its own, on every device that takes part"
    assert all(s.log == [here] for s in made), "what was queued before comes first"
    assert here.log == made, "what comes later waits for all of them"
