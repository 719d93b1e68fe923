from __future__ import annotations

import contextlib
import itertools
import math
import statistics
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch
from support.solo_context import SoloContext

from hpcaccept import checks
from hpcaccept.checks import matmul
from hpcaccept.checks.matmul import Matmul
from hpcaccept.config.suites import SuiteText
from hpcaccept.config.toml import read_toml
from hpcaccept.errors import UsageError
from hpcaccept.measure import device
from hpcaccept.measure.device import Cpu
from hpcaccept.measure.gpu import telemetry
from hpcaccept.measure.gpu.drivers.nvidia import decoded
from hpcaccept.measure.gpu.telemetry import Seen
from hpcaccept.measure.kernels import gemm, gemm_shapes
from hpcaccept.measure.kernels.gemm import Shape
from hpcaccept.model.check import Unavailable
from hpcaccept.plan.resolve import resolve_suite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hpcaccept.measure.kernels.gemm import Format, Operands

real_call = gemm.product_call
NARROW = {"fp16", "bf16", "int8"}
ON_CPU = {"fp64", "fp32", *NARROW}


def quick(**params: Any) -> SoloContext:
    return SoloContext(Matmul(**{"size": 64, "blocks": 2, "block_s": 0.002, "dtypes": ("fp32",), **params}))


def harm_result(monkeypatch: pytest.MonkeyPatch, harm: Callable[[int, Any], None]) -> None:
    """Let ``harm(number of the call on these operands, result)`` happen after each product."""

    def product_call(form: Format, operands: Operands) -> Callable[[], object]:
        call, numbers = real_call(form, operands), itertools.count()

        def harmed() -> None:
            call()
            harm(next(numbers), operands.out)

        return harmed

    monkeypatch.setattr(gemm, "product_call", product_call)


def test_a_cpu_gives_every_format_its_numbers() -> None:
    ctx = quick(dtypes=()).run()
    assert ctx.variants("rate_flops") == {"fp64", "fp32"}
    assert ctx.variants("small_rate_flops") == NARROW
    assert ctx.variants("wrong_elements") == ctx.variants("spread") == ON_CPU
    assert all(len(values) == 2 for (metric, _), values in ctx.samples.items() if metric.endswith("rate_flops"))
    assert all(ctx.value("wrong_elements", name) == 0 for name in ON_CPU)
    assert ctx.facts["shape[fp32]"] == "64x64x64"
    assert ctx.facts["shape_origin[fp32]"] == "parameter size"


def test_a_cpu_says_nothing_of_what_only_a_gpu_has() -> None:
    ctx = quick(dtypes=()).run()
    assert ctx.refused == {}
    assert {metric for metric, _ in ctx.samples} == {"rate_flops", "small_rate_flops", "wrong_elements", "spread"}


def test_nobody_is_judged_by_a_narrow_format_of_a_cpu_and_yet_it_is_verified() -> None:
    small, wrong = Matmul.metric("small_rate_flops"), Matmul.metric("wrong_elements")
    assert small is not None
    assert wrong is not None
    assert (small.is_rate, small.peer_floor, small.limit) == (False, None, None)
    assert wrong.limit
    ctx = quick(dtypes=("bf16",)).run()  # run() refuses a record without its required metrics
    assert ctx.variants("small_rate_flops") == ctx.variants("wrong_elements") == {"bf16"}


def test_a_cpu_without_parameters_has_one_shape_for_all_models() -> None:
    ctx = SoloContext(Matmul(blocks=1, block_s=0.001, dtypes=("bf16",)), model="NVIDIA B200").run()
    assert ctx.facts["shape[bf16]"] == "256x256x256"


def test_the_rate_is_two_n_cubed_per_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cpu, "time_calls", lambda _self, _call, count: [0.5] * count)
    assert quick().run().samples["rate_flops", "fp32"] == [2 * 64**3 / 0.5] * 2


# --- a GPU, played by the CPU -------------------------------------------------------------------------------------------


def as_gpu(monkeypatch: pytest.MonkeyPatch, seen: Seen) -> None:
    @contextlib.contextmanager
    def sampling(_device: str, period_s: float = 0.1) -> Iterator[Seen]:
        yield seen

    monkeypatch.setattr(device, "open_device", lambda _: Cpu(kind="cuda"))
    monkeypatch.setattr(telemetry, "sampling", sampling)


def test_clock_and_power_stand_beside_the_rate_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    as_gpu(
        monkeypatch,
        Seen(
            clock_hz=1.2e9,
            clock_busy_hz=1.5e9,
            power_w=650.0,
            samples=4,
            clock_limits=Counter({decoded(0x4 | 0x40): 1, (): 3}),
        ),
    )
    ctx = quick().run()
    assert (ctx.value("clock_hz", "fp32"), ctx.value("power_w", "fp32")) == (1.5e9, 650.0)
    rate = statistics.median(ctx.samples["rate_flops", "fp32"])
    assert ctx.value("flop_per_cycle", "fp32") == rate / 1.5e9
    assert ctx.facts["clock_reasons[fp32]"] == "hw_thermal_slowdown 25%, sw_power_cap 25%"


def test_without_nvml_the_rate_is_measured_and_clock_and_power_are_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    as_gpu(monkeypatch, Seen(why_not="libnvidia-ml.so.1 cannot be loaded"))
    ctx = quick().run()
    assert ctx.refused == dict.fromkeys(("clock_hz", "flop_per_cycle", "power_w"), "libnvidia-ml.so.1 cannot be loaded")
    assert ctx.variants("rate_flops") == {"fp32"}
    assert not ctx.variants("flop_per_cycle")


def test_what_the_driver_lacks_is_told_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    as_gpu(monkeypatch, Seen(clock_busy_hz=1e9, samples=2, missing={"power": "Not Supported"}))
    assert quick().run().refused == {"power_w": "Not Supported"}


def test_a_narrow_format_of_a_gpu_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    as_gpu(monkeypatch, Seen(why_not="no NVML"))
    assert quick(dtypes=("bf16",)).run().variants("rate_flops") == {"bf16"}


class Pair(SoloContext):
    """Two GPUs of a node; the other one's blocks are given."""

    theirs: ClassVar[dict[str, tuple[float, float]] | None] = None

    def allgather(self, thing: Any) -> list[Any]:
        return [thing, self.theirs]


def pair(theirs: dict[str, tuple[float, float]] | None, gpu: str = "cuda:0") -> Pair:
    ctx = Pair(Matmul(), device=gpu, size=2, node_ranks=(0, 1))
    Pair.theirs = theirs
    return ctx


def test_it_says_how_long_the_gpus_of_a_node_worked_together() -> None:
    ctx = pair({"bf16": (11.0, 21.0)})
    Matmul().compare(ctx, {"bf16": (10.0, 20.0), "fp8": (30.0, 40.0)})
    assert ctx.samples == {("overlap_share", "bf16"): [0.9], ("overlap_share", "fp8"): [1.0]}


def test_gpus_that_worked_one_after_another_do_not_overlap() -> None:
    ctx = pair({"bf16": (21.0, 31.0)})
    Matmul().compare(ctx, {"bf16": (10.0, 20.0)})
    assert ctx.value("overlap_share", "bf16") == 0.0


@pytest.mark.parametrize(("theirs", "gpu"), [(None, "cuda:0"), ({"bf16": (10.0, 20.0)}, "cpu")])
def test_a_gpu_whose_neighbour_has_nothing_and_a_cpu_say_nothing_of_overlap(theirs: Any, gpu: str) -> None:
    ctx = pair(theirs, gpu)
    Matmul().compare(ctx, {"bf16": (10.0, 20.0)})
    assert not ctx.samples


# --- the search ---------------------------------------------------------------------------------------------------------


def test_a_search_gives_the_best_shape_as_a_line_of_the_table(tmp_path: Path) -> None:
    ctx = SoloContext(
        Matmul(blocks=2, block_s=0.001, dtypes=("bf16",), search=True, search_s=0.05), model="NVIDIA H100 80GB HBM3"
    ).run()
    table = tmp_path / "shapes.toml"
    table.write_text(ctx.facts["toml[bf16]"] + "\n")
    ((key, line),) = gemm_shapes.frozen(table).items()
    assert key == ("NVIDIA H100 80GB HBM3", "bf16")
    assert str(line.shape) == ctx.facts["shape[search/bf16]"]
    assert "best of" in line.source


def test_what_a_search_finds_can_be_measured_from_then_on_under_a_label(tmp_path: Path) -> None:
    found = SoloContext(Matmul(blocks=2, block_s=0.001, dtypes=("fp32",), search=True, search_s=0.01)).run()
    file = tmp_path / "mine.toml"
    file.write_text(found.facts["suite[fp32]"] + "\n")
    (spec,) = resolve_suite(SuiteText(file, read_toml(file))).checks
    assert spec.name == "matmul:fp32"
    again = SoloContext(checks.build(spec.name, {**spec.params, "blocks": 2, "block_s": 0.001})).run()
    assert again.facts["shape[fp32]"] == found.facts["shape[search/fp32]"]
    assert again.variants("rate_flops") == {"fp32"}


@pytest.mark.parametrize(
    "params",
    [
        {"shape": [64, 64]},
        {"shape": [64, 64, 64]},
        {"shape": [64, 64, 64], "dtypes": ["fp32", "fp64"]},
        {"shape": [64, 64, 64], "dtypes": ["fp32"], "size": 64},
        {"shape": [64, 64, 64], "dtypes": ["fp32"], "search": True},
        {"shape": [64, 0, 64], "dtypes": ["fp32"]},
    ],
)
def test_a_shape_is_three_sizes_of_one_format(params: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="shape"):
        checks.build("matmul", params)


def test_a_searched_rate_has_a_name_of_its_own_and_is_verified() -> None:
    ctx = SoloContext(Matmul(blocks=2, block_s=0.001, dtypes=("fp32",), search=True, search_s=0.05)).run()
    assert {metric for metric, _ in ctx.samples} == {"searched_flops", "wrong_elements", "spread"}
    assert ctx.variants("wrong_elements") == {"search/fp32"}


def test_a_search_takes_the_fastest_of_its_candidates() -> None:
    speeds = {Shape(64, 64, 64): 1e9, Shape(64, 64, 128): 3e9, Shape(128, 64, 64): 2e9}
    shapes_tried = list(speeds)

    class Script(Cpu):
        def time_calls(self, call: Any, count: int) -> list[float]:
            shape = gemm.Operands(call.args[0], call.args[1], call.keywords["out"]).shape
            return [gemm.flops(shape) / speeds[shape]] * count

    form = gemm.FORMATS["fp32"]
    found = matmul.search(form, Script(), shapes_tried, 60.0, quick())
    assert found == pytest.approx(speeds)


def test_a_search_ends_when_its_time_is_over_with_at_least_one_shape() -> None:
    tried = [Shape(64, 64, 64), Shape(64, 64, 128)]
    assert list(matmul.search(gemm.FORMATS["fp32"], Cpu(), tried, 0.0, quick())) == tried[:1]


def test_a_shape_that_does_not_fit_into_the_memory_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    real = gemm.random_operands

    def random_operands(form: Format, size: Any, *more: Any) -> Operands:
        if size != Shape(64, 64, 128):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return real(form, size, *more)

    monkeypatch.setattr(gemm, "random_operands", random_operands)
    form, tried = gemm.FORMATS["fp32"], [Shape(64, 64, 64), Shape(64, 64, 128)]
    assert list(matmul.search(form, Cpu(), tried, 60.0, quick())) == tried[1:]
    with pytest.raises(Unavailable, match="None of 1 shapes fits"):
        matmul.search(form, Cpu(), tried[:1], 60.0, quick())


def test_a_search_for_a_format_that_a_cpu_has_not_is_unsupported() -> None:
    ctx = SoloContext(Matmul(blocks=1, block_s=0.001, dtypes=("fp32", "fp8"), search=True, search_s=0.01)).run()
    assert set(ctx.refused) == {"fp8"}


# --- what is wrong is seen ----------------------------------------------------------------------------------------------


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
    ctx = quick(dtypes=("fp32", "tf32", "fp8")).run()
    assert set(ctx.refused) == {"tf32", "fp8"}
    assert ctx.variants("rate_flops") == {"fp32"}


def test_what_torch_refuses_is_recorded_with_torch_s_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_form: Format, _operands: Operands) -> Callable[[], object]:
        def call() -> object:
            raise RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Half'\nat some line")

        return call

    monkeypatch.setattr(gemm, "product_call", refuse)
    ctx = quick(dtypes=("fp16",))
    with pytest.raises(Unavailable, match="None of the number formats"):
        ctx.run()
    assert ctx.refused == {"fp16": "\"addmm_impl_cpu_\" not implemented for 'Half'"}


def test_a_device_that_breaks_down_is_an_error_and_not_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_form: Format, _operands: Operands) -> Callable[[], object]:
        def call() -> object:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

        return call

    monkeypatch.setattr(gemm, "product_call", broken)
    ctx = quick()
    with pytest.raises(RuntimeError, match="illegal memory access"):
        ctx.run()
    assert ctx.refused == {}


def test_a_gpu_is_asked_for_all_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Cpu(kind="cuda")
    assert [f.name for f in Matmul()._formats(gpu)] == list(gemm.FORMATS)
    as_gpu(monkeypatch, Seen(why_not="no NVML"))
    ctx = quick(dtypes=("fp32", "tf32")).run()
    assert "TF32" in ctx.refused["tf32"]


def test_an_unknown_format_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'dtypes' of check 'matmul' has 'fp23'(.|\n)*Did you mean"):
        checks.build("matmul", {"dtypes": ["fp23"]})


def test_it_is_built_from_what_a_suite_file_says() -> None:
    assert checks.build("matmul", {"dtypes": ["bf16"], "block_s": 1}) == Matmul(dtypes=("bf16",), block_s=1.0)
