from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from solo_bench import SoloBench

from hpcaccept import checks
from hpcaccept.checks.matmul import Matmul
from hpcaccept.errors import UsageError
from hpcaccept.measure import device, product
from hpcaccept.measure.device import Cpu
from hpcaccept.model.check import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.measure.product import Format, Operands

real_call = product.product_call
ON_CPU = {"fp64", "fp32", "fp16", "bf16", "int8"}


def quick(**params: Any) -> SoloBench:
    return SoloBench(Matmul(**{"size": 64, "blocks": 2, "block_s": 0.002, "dtypes": ("fp32",), **params}))


def harm_result(monkeypatch: pytest.MonkeyPatch, harm: Callable[[int, Any], None]) -> None:
    """Let ``harm(number of the call on these operands, result)`` happen after each product."""

    def product_call(form: Format, operands: Operands) -> Callable[[], object]:
        call, numbers = real_call(form, operands), itertools.count()

        def harmed() -> None:
            call()
            harm(next(numbers), operands.out)

        return harmed

    monkeypatch.setattr(product, "product_call", product_call)


def test_a_cpu_gives_every_metric_for_each_of_its_formats() -> None:
    bench = quick(dtypes=()).run()
    for metric in Matmul.metrics:
        assert bench.variants(metric.name) == ON_CPU
    assert all(len(bench.samples["rate_flops", name]) == 2 for name in ON_CPU)
    assert all(bench.value("wrong_elements", name) == 0 for name in ON_CPU)
    assert bench.facts["shape[fp32]"] == "64x64x64"


def test_the_rate_is_two_n_cubed_per_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cpu, "time_calls", lambda _self, _call, count: [0.5] * count)
    assert quick().run().samples["rate_flops", "fp32"] == [2 * 64**3 / 0.5] * 2


def test_a_bit_that_flips_between_first_and_last_product_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def harm(number: int, out: Any) -> None:
        if number > 0:  # the exact product and the first timed one are right
            out.view(torch.int32)[2, 3] ^= 1

    harm_result(monkeypatch, harm)
    assert quick().run().value("wrong_elements", "fp32") == 1


def test_a_device_that_is_wrong_every_time_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    harm_result(monkeypatch, lambda _, out: out[2, 3].add_(64.0))
    assert quick().run().value("wrong_elements", "fp32") >= 1


@pytest.mark.parametrize("name", sorted(ON_CPU - {"int8"}))
def test_a_nan_is_counted(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    harm_result(monkeypatch, lambda _, out: out[2, 3].fill_(math.nan))
    assert quick(dtypes=(name,)).run().value("wrong_elements", name) == 2  # exact and timed, at the same place


def test_a_wrong_int8_product_is_counted_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    harm_result(monkeypatch, lambda _, out: out[2, 3].add_(1))
    assert quick(dtypes=("int8",)).run().value("wrong_elements", "int8") == 2


def test_what_a_cpu_has_not_is_recorded_with_its_reason() -> None:
    bench = quick(dtypes=("fp32", "tf32", "fp8")).run()
    assert set(bench.refused) == {"tf32", "fp8"}
    assert bench.variants("rate_flops") == {"fp32"}


def test_what_torch_refuses_is_recorded_with_torch_s_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_form: Format, _operands: Operands) -> Callable[[], object]:
        def call() -> object:
            raise RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Half'\nat some line")

        return call

    monkeypatch.setattr(product, "product_call", refuse)
    bench = quick(dtypes=("fp16",))
    with pytest.raises(Unavailable, match="None of the number formats"):
        bench.run()
    assert bench.refused == {"fp16": "\"addmm_impl_cpu_\" not implemented for 'Half'"}


def test_a_device_that_breaks_down_is_an_error_and_not_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_form: Format, _operands: Operands) -> Callable[[], object]:
        def call() -> object:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

        return call

    monkeypatch.setattr(product, "product_call", broken)
    bench = quick()
    with pytest.raises(RuntimeError, match="illegal memory access"):
        bench.run()
    assert bench.refused == {}


def test_a_gpu_is_asked_for_all_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Cpu(kind="cuda")
    assert [f.name for f in Matmul()._formats(gpu)] == list(product.FORMATS)
    monkeypatch.setattr(device, "open_device", lambda _: gpu)
    bench = quick(dtypes=("fp32", "tf32")).run()
    assert "TF32" in bench.refused["tf32"]


def test_an_unknown_format_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'dtypes' of check 'matmul' is 'fp23'(.|\n)*Did you mean"):
        Matmul(dtypes=("fp23",))


def test_it_is_built_from_what_a_suite_file_says() -> None:
    assert checks.build("matmul", {"dtypes": ["bf16"], "block_s": 1}) == Matmul(dtypes=("bf16",), block_s=1.0)
