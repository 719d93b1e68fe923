from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from hpcaccept.measure.device import Cpu
from hpcaccept.measure.kernels import gemm
from hpcaccept.measure.kernels.gemm import FORMATS, Format, Operands
from hpcaccept.measure.kernels.stress import Block, Engine, busiest, first_and_last, over_time, rate, thread_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

real_call = gemm.product_call


def sabotage(monkeypatch: pytest.MonkeyPatch, harm: Callable[[int, Any], None]) -> None:
    """Let ``harm(number of the call, its result)`` happen after each product."""

    def product_call(form: Format, operands: Operands) -> Callable[[], object]:
        call, numbers = real_call(form, operands), itertools.count()

        def harmed() -> None:
            call()
            harm(next(numbers), operands.out)

        return harmed

    monkeypatch.setattr(gemm, "product_call", product_call)


def engine() -> Engine:
    return Engine(Cpu(), FORMATS["fp32"], 64)


def wrong(blocks: list[Block]) -> int:
    return sum(b.wrong for b in blocks)


def test_a_healthy_engine_has_nothing_wrong_and_counts_its_work() -> None:
    healthy = engine()
    blocks = healthy.run(0.05, 0.01)
    assert (healthy.wrong_first, wrong(blocks)) == (0, 0)
    assert all(b.work == b.passes * 2 * 64**3 for b in blocks)
    assert blocks[-1].end_s >= 0.05


def test_one_flipped_bit_in_one_pass_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def harm(number: int, out: Any) -> None:
        if number == 3:  # of a pass that is made however slow the machine is
            bits = out.view(product_bits())
            bits[1, 2] ^= 1

    sabotage(monkeypatch, harm)
    assert wrong(engine().run(0.05, 0.01)) == 1


def product_bits() -> Any:
    import torch

    return torch.int32


def test_a_device_that_is_always_wrong_does_not_pass_by_agreeing_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    sabotage(monkeypatch, lambda _, out: out[3, 3].add_(1000.0))
    always_wrong = engine()
    assert wrong(always_wrong.run(0.02, 0.01)) == 0
    assert always_wrong.wrong_first == 2  # in the exact product and in the first random one


def test_nan_in_every_result_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    sabotage(monkeypatch, lambda _, out: out[0, 0].fill_(float("nan")))
    assert engine().wrong_first == 2


def test_passes_that_write_nothing_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = engine()
    monkeypatch.setattr(lazy, "_call", lambda: None)
    assert wrong(lazy.run(0.01, 0.001)) > 0


class Waking:
    """A CPU whose first passes take a hundred times as long as all others, on a clock of its own."""

    def __init__(self, cold: int) -> None:
        self.name, self.kind, self.cold, self.passed = "cpu", "cpu", cold, 0

    def time_block(self, call: Callable[[], object], count: int) -> float:
        for _ in range(count):
            call()
        seconds = sum(0.1 if self.passed + k < self.cold else 0.001 for k in range(count))
        self.passed += count
        return seconds


def test_blocks_are_sized_by_warm_passes() -> None:
    waking: Any = Waking(cold=1)
    blocks = Engine(waking, FORMATS["fp32"], 16).run(0.05, 0.02)
    assert {block.passes for block in blocks} == {20}


def block(end_s: float, seconds: float = 1.0, busy_s: float = 1.0) -> Block:
    return Block(end_s, seconds, busy_s, 1e9, 1, 0)


def test_the_windows_are_the_ends_of_the_stage() -> None:
    blocks = [block(float(s)) for s in range(1, 11)]
    first, last = first_and_last(blocks, 2.0)
    assert [b.end_s for b in first] == [1, 2]
    assert [b.end_s for b in last] == [9, 10]


def test_a_stage_of_one_block_is_both_of_its_windows() -> None:
    only = [block(5.0)]
    assert first_and_last(only, 1.0) == (only, only)


def test_time_that_a_neighbour_took_lowers_the_rate_but_not_the_busy_rate() -> None:
    disturbed = block(1.0, seconds=2.0, busy_s=1.0)
    assert (disturbed.rate, disturbed.busy_rate) == (0.5e9, 1e9)


def test_a_system_that_does_not_tell_cpu_time_is_judged_by_the_clock() -> None:
    assert block(1.0, seconds=2.0, busy_s=0.0).busy_rate == 0.5e9


def test_the_rate_is_the_median_block_s() -> None:
    assert rate([block(1.0, s) for s in (1.0, 2.0, 100.0)]) == 0.5e9


def test_the_busiest_thread_is_found_among_all() -> None:
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            pass

    worker = threading.Thread(target=spin)
    before, start = thread_seconds(), time.monotonic()
    worker.start()
    time.sleep(0.2)
    after = thread_seconds()
    stop.set()
    worker.join()
    assert 0.02 < busiest(before, after) <= time.monotonic() - start


def test_the_rate_over_time_keeps_the_order_and_counts_every_block() -> None:
    blocks = [block(float(at), seconds) for at, seconds in enumerate((1.0, 1.0, 2.0, 2.0, 4.0))]
    assert over_time(blocks, 100) == [1e9, 1e9, 0.5e9, 0.5e9, 0.25e9]
    assert over_time(blocks, 3) == [1e9, 0.5e9, 0.25e9]
    assert over_time(blocks, 1) == [0.5e9]


@pytest.mark.parametrize("form", ["fp32", "fp16", "bf16", "int8"])
def test_the_first_results_of_like_devices_have_one_digest_in_every_format(form: str) -> None:
    assert Engine(Cpu(), FORMATS[form], 64).digest() == Engine(Cpu(), FORMATS[form], 64).digest()


def test_one_bit_that_is_wrong_from_the_first_pass_on_gives_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    healthy = engine().digest()
    sabotage(monkeypatch, lambda _, out: out.view(product_bits())[3, 3].bitwise_xor_(1))
    harmed = engine()
    assert wrong(harmed.run(0.01, 0.005)) == 0
    assert harmed.digest() != healthy
