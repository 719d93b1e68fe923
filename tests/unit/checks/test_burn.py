from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import torch
from solo_bench import SoloBench

from hpcaccept.checks import burn as module
from hpcaccept.checks.burn import Burn, sustained_cpu, sustained_gpu
from hpcaccept.errors import UsageError
from hpcaccept.measure import product
from hpcaccept.measure.device import Cpu
from hpcaccept.measure.engine import Block, Engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.measure.product import Format, Operands

real_call = product.product_call


def quick(**params: Any) -> SoloBench:
    return SoloBench(Burn(**{"duration_s": 0.3, "window_s": 0.1, "size": 64, **params}))


def together(monkeypatch: pytest.MonkeyPatch, **params: Any) -> SoloBench:
    """A GPU is stood in for by the CPU, called ``cuda``: the same code, another device."""
    monkeypatch.setattr(module, "open_device", lambda _: Cpu(kind="cuda"))
    monkeypatch.setattr(module, "_GPU_BLOCK_S", 0.01)
    return quick(**{"duration_s": 1.0, "dtype": "fp32", **params})


def blocks_of(*rates: float) -> list[Block]:
    """One block a second, each with this many operations in one second of wall and CPU time."""
    return [Block(float(i + 1), 1.0, 1.0, rate, 1, 0) for i, rate in enumerate(rates)]


def test_a_cpu_alone_is_judged_against_itself_only() -> None:
    bench = quick().run()
    assert bench.variants("rate_flops") == {"cpu/alone"}
    assert bench.variants("sustained_share_cpu") == {""}
    assert bench.value("wrong_elements", "cpu") == 0
    assert bench.value("passes", "cpu") > 0
    assert bench.refused == {"gpu": "no GPU was asked for", "cpu/together": "it needs a GPU beside it"}


def test_the_passes_are_told_with_what_they_prove() -> None:
    bench = quick().run()
    passes = int(bench.value("passes", "cpu"))
    share = f"{3 / passes:.2g}"
    assert bench.facts["bound[cpu]"] == (
        f"{passes} passes compared, 0 elements wrong: fewer than {share} of passes are wrong (95 % confidence)"
    )


def test_cpu_and_gpu_together_give_every_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = together(monkeypatch).run()
    assert {name for name, _ in bench.samples} == {m.name for m in Burn.metrics}
    assert bench.variants("rate_flops") == {"cpu/alone", "gpu/alone", "cpu/together", "gpu/together"}
    assert bench.value("wrong_elements", "gpu") == bench.value("wrong_elements", "cpu") == 0
    assert bench.refused == {}
    assert bench.beats[0] == "cpu alone"


def test_it_says_once_a_second_where_it_is() -> None:
    bench = quick()
    for end_s in (0.4, 0.9, 1.4, 1.9, 2.4):
        module._say(bench, "together", Block(end_s, 0.5, 0.5, 1.0, 1, 0))
    assert bench.beats == ["together, 1 s", "together, 2 s"]


def test_a_flip_in_one_late_pass_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    end = time.monotonic() + 0.2
    flips: list[bool] = []

    def product_call(form: Format, operands: Operands) -> Callable[[], object]:
        call = real_call(form, operands)

        def harmed() -> None:
            call()
            if time.monotonic() > end and not flips:
                flips.append(True)
                operands.out.view(torch.int32)[1, 2] ^= 1

        return harmed

    monkeypatch.setattr(product, "product_call", product_call)
    bench = quick(duration_s=0.5).run()
    assert bench.value("wrong_elements", "cpu") == 1
    assert bench.facts["bound[cpu]"].endswith("passes compared, 1 elements wrong")


def test_a_device_that_is_always_wrong_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def product_call(form: Format, operands: Operands) -> Callable[[], object]:
        call = real_call(form, operands)

        def harmed() -> None:
            call()
            operands.out[3, 3] += 1000

        return harmed

    monkeypatch.setattr(product, "product_call", product_call)
    assert quick().run().value("wrong_elements", "cpu") == 2


def test_a_clock_that_falls_to_a_quarter_misses_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every product is made four times from the middle of the stage on: what a throttled core looks like from inside."""
    start = time.monotonic()

    def product_call(form: Format, operands: Operands) -> Callable[[], object]:
        call = real_call(form, operands)

        def throttled() -> None:
            call()
            if time.monotonic() > start + 0.8:
                for _ in range(3):
                    call()

        return throttled

    monkeypatch.setattr(product, "product_call", product_call)
    bench = quick(duration_s=1.2, window_s=0.3, size=512).run()
    limit = Burn.metric("sustained_share_cpu")
    assert limit is not None
    assert limit.limit is not None
    assert not limit.limit.met_by(bench.value("sustained_share_cpu"))
    assert "looked at again" in bench.facts["sustained"]


def test_an_end_that_only_looked_slow_is_forgiven_when_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = iter([blocks_of(1e9, 1e9, 0.5e9), blocks_of(0.6e9, 0.9e9, 1e9)])
    monkeypatch.setattr(Engine, "run", lambda *_: next(stages))
    bench = quick(window_s=1.0).run()
    assert bench.value("sustained_share_cpu") == 1.0
    assert bench.facts["sustained"] == "0.50 at first, 1.00 when looked at again"
    assert bench.value("passes", "cpu") == 6


def test_an_unknown_format_is_refused_when_the_suite_is_read() -> None:
    with pytest.raises(UsageError, match="'dtype' of check 'burn' is 'half'"):
        Burn(dtype="half")


@pytest.mark.parametrize(("rates", "share"), [((4.0, 4.0, 4.0), 1.0), ((4.0, 3.0, 2.0), 0.5), ((2.0, 3.0, 4.0), 2.0)])
def test_the_share_is_last_over_first(rates: tuple[float, ...], share: float) -> None:
    blocks = blocks_of(*rates)
    assert sustained_gpu(blocks, 1.0) == share
    assert sustained_cpu(blocks, blocks, 1.0) == share


def test_a_neighbour_who_takes_time_slices_is_not_a_throttle() -> None:
    early = blocks_of(1e9, 1e9)
    late = [Block(b.end_s, 3.0, 1.0, 1e9, 1, 0) for b in early]
    assert sustained_cpu(early, late, 1.0) == 1.0
