"""What the checks compute on a GPU, where there is none: wrong devices, types, shapes and layouts are refused here as there.

What every check measures runs with torch's fake tensors on ``cuda`` (``fake_cuda``), at full size and through the real
``Cuda`` device; collectives through torch's process group for tests. Values, speed, cuBLAS, NCCL and the driver are not in
it: only a GPU proves those. Fake tensors have no backward pass without CUDA, so of a training the forward pass and the
step of the optimiser run.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.fake_cuda import MODEL, OPERATION_S, Event, Runtime, fake_cuda
from support.nvml.build import build, describe, environment, h100
from support.solo_context import SoloContext
from torch.testing._internal.distributed.fake_pg import FakeStore

from hpcaccept import checks
from hpcaccept.checks import memory_pattern, pairs, train
from hpcaccept.measure.device import Cpu, Cuda, Device, lacks_code
from hpcaccept.measure.kernels import gemm, pattern, training
from hpcaccept.measure.kernels.gemm import FORMATS, Shape
from hpcaccept.measure.kernels.stress import Engine

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

GPU = "cuda:3"
each_format = pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: form.name)


#: Checks of which at least what is computed on the GPU runs in this file.
HERE = {
    "allreduce", "burn", "collectives", "matmul", "memory_bandwidth", "memory_pattern", "pairs", "peer_to_peer", "resnet", "train",
    "transfers",
}  # fmt: skip
#: Those of which it does not → why.
NOT_HERE = {
    "group_collectives": "its groups are of several nodes; each exchanges as collectives does, with the same calls",
    "ddp_train": "it trains the network of train: what is its own is a backward pass",
    "llm": "its losses are held to float64, and tensors without data have none",
}


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    """A node of eight GPUs."""
    with fake_cuda(monkeypatch) as runtime:
        yield runtime


@pytest.fixture
def gpu(node: Runtime) -> Device:
    """The fourth of them."""
    assert node.gpus == 8
    return Cuda(GPU)


def run(name: str, folder: Path, **params: Any) -> SoloContext:
    """``measure`` of a check on the fourth GPU of a node."""
    if name not in checks.names():
        pytest.skip(f"there is no check {name}")
    ctx = SoloContext(checks.build(name, params), device=GPU, model=MODEL, gpus_asked=4, folder=folder)
    ctx.check.measure(ctx)
    return ctx


def test_no_check_that_computes_on_a_gpu_is_forgotten_here() -> None:
    kinds = {name: checks.load(name) for name in checks.names()}
    computing = {name for name, kind in kinds.items() if kind.on_device and "torch" in kind.needs}
    assert computing <= HERE | set(NOT_HERE), (
        "add a test of what it computes, or the reason why it cannot be tried here"
    )


# --- whole checks -------------------------------------------------------------------------------------------------------


def test_matmul_has_every_format_in_its_frozen_or_default_shape(node: Runtime, tmp_path: Path) -> None:
    ctx = run("matmul", tmp_path, blocks=2, block_s=0.02, warm_s=0.02)
    assert ctx.variants("rate_flops") == set(FORMATS)
    assert set(ctx.refused) <= {
        "clock_hz",
        "flop_per_cycle",
        "power_w",
    }  # no format is missing; there is no driver to ask
    assert ctx.facts["shape[bf16]"] == "2048x2048x13312"
    assert ctx.facts["shape[fp64]"] == "4096x4096x4096"
    assert node.used == {GPU}
    assert {"mm", "_scaled_mm", "_int_mm"} <= set(node.operations)
    assert ctx.samples["rate_flops", "fp8"] == pytest.approx([2 * 8192**3 / OPERATION_S] * 2)
    # Two sets of these operands are 234 MB, four L2 caches 210 MB.
    assert (ctx.facts["working_sets[bf16]"], ctx.facts["working_sets[fp64]"]) == ("2", "1")


def test_fast_sums_of_fp8_are_asked_for_in_their_own_variant_only(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    real = torch._scaled_mm

    def scaled_mm(*given: Any, use_fast_accum: bool, **named: Any) -> Any:
        asked.append(use_fast_accum)
        return real(*given, use_fast_accum=use_fast_accum, **named)

    monkeypatch.setattr(torch, "_scaled_mm", scaled_mm)
    for name in ("fp8", "fp8_fast"):
        gemm.product_call(FORMATS[name], gemm.random_operands(FORMATS[name], 64, gpu.name, seed=1))()
    assert asked == [False, True]


@each_format
def test_products_from_several_sets_have_the_layout_of_the_first(gpu: Device, form: gemm.Format) -> None:
    operands = gemm.random_operands(form, 64, gpu.name, seed=1)
    call, sets = gemm.rotated(form, operands, 100_000)
    assert len(sets) > 2
    assert {each.right.stride() for each in sets} == {operands.right.stride()}
    assert len({id(each.left) for each in sets}) == len(sets)
    for _ in range(2 * len(sets)):
        call()


@pytest.mark.parametrize("name", ["transfers", "matmul", "memory_bandwidth", "memory_pattern"])
def test_a_rank_opens_no_context_on_another_gpu(node: Runtime, tmp_path: Path, name: str) -> None:
    quick = {"memory_pattern": {"size_bytes": 1 << 30, "passes": 1}}.get(name, {"blocks": 1, "block_s": 0.01})
    run(name, tmp_path, **quick)
    assert node.contexts == {GPU}


#: ``argv``: a folder. The library behind pynvml is loaded by name, so a process of its own has to find the stand-in.
BESIDE_THE_RATE = """
import json, sys, time
from pathlib import Path
import pytest, torch
from support.fake_cuda import fake_cuda
from support.solo_context import SoloContext
from hpcaccept import checks
with fake_cuda(pytest.MonkeyPatch()):
    check = checks.build("matmul", {"dtypes": ["bf16"], "blocks": 3, "block_s": 0.01, "warm_s": 0.01})
    ctx = SoloContext(check, device="cuda:1", folder=Path(sys.argv[1]))
    torch.mm, mm = lambda *given, **named: (time.sleep(0.08), mm(*given, **named))[1], torch.mm
    check.measure(ctx)
print(json.dumps({metric: values[0] for (metric, variant), values in ctx.samples.items()} | ctx.facts))
"""


def test_clock_and_power_of_the_gpu_that_is_measured_stand_beside_its_rate(tmp_path: Path) -> None:
    gpus = [h100(0, clock_mhz="1980"), h100(1, clock_mhz="1410", power_mw="612000", reasons="0x44"), h100(2)]
    library, node = build(tmp_path / "lib"), describe(tmp_path / "node", gpus)
    inherited = {key: text for key, text in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
    env = {**inherited, **environment(library, node), "PYTHONPATH": str(Path(__file__).parents[2])}
    child = [sys.executable, "-c", BESIDE_THE_RATE, str(tmp_path)]
    done = subprocess.run(child, check=True, capture_output=True, text=True, env=env)
    said = json.loads(done.stdout)
    assert said["clock_hz"] == 1410e6
    assert said["power_w"] == pytest.approx(612, rel=0.05)
    assert said["flop_per_cycle"] == pytest.approx(said["rate_flops"] / 1410e6, rel=0.5)
    assert said["clock_reasons[bf16]"] == "hw_thermal_slowdown 100%, sw_power_cap 100%"


@pytest.mark.parametrize("name", ["fp64", "bf16", "fp8", "int8"])
def test_matmul_searches_shapes_that_the_format_takes(node: Runtime, tmp_path: Path, name: str) -> None:
    ctx = run("matmul", tmp_path, dtypes=[name], blocks=1, block_s=0.01, search=True, search_s=1.0)
    assert ctx.variants("searched_flops") == {name}
    assert ctx.facts[f"toml[{name}]"].startswith(f'"{MODEL}".{name} = {{ shape = [')
    assert name not in ctx.refused
    assert node.used == {GPU}


def test_memory_bandwidth_has_every_kernel(node: Runtime, tmp_path: Path) -> None:
    ctx = run("memory_bandwidth", tmp_path, blocks=2, block_s=0.02)
    assert ctx.variants("rate_bytes") == {"copy", "scale", "add", "triad"}
    assert ctx.facts["buffers"] == "3 arrays of 1GiB, at least 4 × the last level cache of 50MiB"
    assert node.used == {GPU}


def test_memory_pattern_covers_the_share_of_what_the_driver_gives_as_free(
    node: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.total_bytes, node.taken_bytes = 4 << 30, 1 << 30
    monkeypatch.setattr(memory_pattern, "_CHUNK_BYTES", {"cuda": 256 << 20})
    ctx = run("memory_pattern", tmp_path, passes=1)
    assert ctx.value("covered_bytes") == pytest.approx(0.9 * (3 << 30), abs=8)
    assert ctx.value("covered_share") == 1
    assert node.emptied == 2
    assert node.used == {GPU}


def test_memory_pattern_needs_little_memory_beside_what_it_tests(node: Runtime, tmp_path: Path) -> None:
    run("memory_pattern", tmp_path, size_bytes=1 << 30, passes=1)
    assert node.largest_bytes.pop("empty") == 1 << 30
    chunk_bytes = memory_pattern._CHUNK_BYTES["cuda"]
    expanded = {"expand", "copy_", "split", "slice"}  # views, and what is written to the memory itself
    assert max(size for name, size in node.largest_bytes.items() if name not in expanded) <= chunk_bytes


@pytest.mark.parametrize(
    ("name", "metric", "params"),
    [
        ("transfers", "together_bytes", {"blocks": 2, "block_s": 0.02}),
        ("peer_to_peer", "bandwidth_bytes", {"blocks": 1}),
    ],
)
def test_copies_between_host_and_gpus_are_of_what_torch_can_copy(
    node: Runtime, tmp_path: Path, name: str, metric: str, params: dict[str, Any]
) -> None:
    ctx = run(name, tmp_path, **params)
    assert ctx.variants(metric)
    assert node.operations["copy_"]


# --- parts of checks that need a backward pass or minutes, and collectives that go nowhere ---------------------------------------------------


@each_format
def test_the_engine_of_the_burn_makes_and_compares_every_format(node: Runtime, gpu: Device, form: gemm.Format) -> None:
    engine = Engine(gpu, form, 8192)
    (block,) = engine.run(0.0, 5 * OPERATION_S)
    assert block.passes >= 1
    assert block.seconds >= block.passes * OPERATION_S
    assert node.used == {GPU}


@each_format
def test_a_product_of_any_shape_has_the_type_and_place_of_its_format(gpu: Device, form: gemm.Format) -> None:
    shape = Shape(1280, 4096, 12032)
    for operands in (
        gemm.integer_operands(form, shape, gpu.name, seed=1),
        gemm.random_operands(form, shape, gpu.name, seed=1),
    ):
        gemm.product_call(form, operands)()
        assert operands.shape == shape
        assert operands.out.shape == (1280, 4096)
        assert str(operands.out.device) == GPU
        assert operands.out.dtype == getattr(torch, form.output)
        assert (gemm.wrong_exact(form, operands), gemm.wrong_sums(form, operands)) == (0, 0)


@pytest.mark.parametrize(("name", "dtype"), [("fp64", torch.float64), ("fp32", torch.float32)])
def test_the_training_s_forward_pass_and_step_stay_on_the_gpu(
    node: Runtime, gpu: Device, name: str, dtype: Any
) -> None:
    assert name in train._PRECISIONS
    inputs, targets = (torch.from_numpy(a).to(gpu.name, dtype) for a in training.samples())
    model = training.model(dtype, gpu.name)
    with gpu.fp32_as("ieee"):
        loss = torch.nn.functional.mse_loss(model(inputs), targets)
    assert (loss.dtype, loss.shape, str(loss.device)) == (dtype, (), GPU)
    optimizer = training.Momentum(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert all(str(parameter.device) == GPU for parameter in model.parameters())
    assert node.used == {GPU}


@pytest.mark.parametrize("form", ["fp32", "bf16", "fp16"])
def test_a_network_s_images_weights_and_logits_are_on_the_gpu(
    node: Runtime, gpu: Device, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    if "resnet" not in checks.names():
        pytest.skip("there is no check resnet")
    resnet = importlib.import_module("hpcaccept.checks.resnet")
    # Fake tensors have no numbers for the reference, and no storages that could be copied: the weights are made in place.
    monkeypatch.setattr(resnet, "reference_logits", lambda _, few: torch.zeros(len(few), 1000))
    with torch.device(GPU):
        fresh = resnet.initial("resnet18").eval()
    monkeypatch.setattr(resnet.Network, "_fresh", lambda _: fresh)
    network = resnet.Network("resnet18", gpu, 64, 64)
    logits = network.inference(form)()
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[form]
    assert (logits.dtype, logits.shape, str(logits.device)) == (kind, (64, 1000), GPU)
    assert node.operations["convolution"] == 20
    assert resnet.amp_format("auto", gpu) == "bf16"


class Ranks(SoloContext):
    """Rank 3 of eight GPUs on two nodes. What they exchange goes nowhere: torch's group for tests of shapes and types."""

    def allgather(self, thing: Any) -> list[Any]:
        return [f"node{rank // 4}" for rank in range(8)] if thing == self.node else [thing] * 8

    @contextlib.contextmanager
    def process_group(self) -> Iterator[str]:
        torch.distributed.init_process_group("fake", store=FakeStore(), rank=self.rank, world_size=self.size)
        try:
            yield "nccl"
        finally:
            torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("name", "params", "variants"),
    [
        ("allreduce", {"backends": ["device"]}, {"nccl/8B", "nccl/1MiB"}),
        (
            "collectives",
            {},
            {"all_gather/node/1MiB", "all_to_all/rail3/1MiB", "reduce_scatter/world/8B", "broadcast/world/8B"},
        ),
    ],
)
def test_collectives_fill_exchange_and_verify_what_is_on_the_gpu(
    node: Runtime, tmp_path: Path, name: str, params: dict[str, Any], variants: set[str]
) -> None:
    check = checks.build(name, {"sizes_bytes": [8, 1 << 20], "blocks": 1, "block_s": OPERATION_S, **params})
    place: dict[str, Any] = {"rank": 3, "local_rank": 3, "node": "node0", "size": 8, "node_ranks": (0, 1, 2, 3)}
    ctx = Ranks(check, device=GPU, folder=tmp_path, **place)
    check.measure(ctx)
    assert variants <= ctx.variants("wrong_elements")
    assert not set(ctx.refused) - {"fallback"}  # only the log of a real NCCL says what it uses
    assert node.used == {GPU}


def test_what_two_ends_of_a_link_exchange_is_on_the_gpu(node: Runtime, gpu: Device) -> None:
    with Ranks(pairs.Pairs(), device=GPU, rank=3, size=8).process_group():
        exchange = pairs._Exchange(gpu, 3, 1 << 20)
        exchange.with_rank(7)()
        assert exchange.wrong_words(7) == 0
    assert node.used == {GPU}


# --- what fake tensors refuse: a test that cannot fail proves nothing -------------------------------------------------------


def test_a_table_on_the_wrong_device_is_refused(gpu: Device) -> None:
    memory = torch.empty(1000, device=gpu.name)
    with pytest.raises(RuntimeError, match=r"(?i)device"):
        pattern.wrong_elements(memory, torch.ones(7))


def test_an_fp8_product_of_the_wrong_layout_is_refused(gpu: Device) -> None:
    form = FORMATS["fp8"]
    operands = gemm.random_operands(form, 64, gpu.name, seed=1)
    wrong = gemm.Operands(operands.left, operands.right.contiguous(), operands.out)
    with pytest.raises((RuntimeError, AssertionError)):
        gemm.product_call(form, wrong)()


def test_a_product_into_a_result_of_the_wrong_type_is_refused(gpu: Device) -> None:
    form = FORMATS["fp8"]
    operands = gemm.random_operands(form, 64, gpu.name, seed=1)
    wrong = gemm.Operands(operands.left, operands.right, operands.out.to(torch.float16))
    with pytest.raises(RuntimeError, match="_scaled_mm gives"):
        gemm.product_call(form, wrong)()


# --- the CUDA calls behind one module ---------------------------------------------------------------------------------------


def test_both_devices_have_all_that_a_device_promises() -> None:
    promised = {name for name, thing in vars(Device).items() if inspect.isfunction(thing) and not name.startswith("_")}
    for kind in (Cpu, Cuda):
        for name in promised:
            asked, had = (inspect.signature(getattr(of, name)).parameters for of in (Device, kind))
            assert list(asked) == list(had), f"{kind.__name__}.{name}"


def test_a_block_lasts_as_long_as_its_work_on_the_device(gpu: Device) -> None:
    memory = torch.empty(1000, device=gpu.name)
    assert gpu.time_block(lambda: memory.fill_(1), 7) == pytest.approx(7 * OPERATION_S)
    assert gpu.time_calls(lambda: memory.fill_(1), 7) == pytest.approx([OPERATION_S])


@pytest.mark.parametrize(("count", "rows"), [(15, 0), (16, 1), (300, 1), (301, 2), (1000, 4)])
def test_a_row_of_small_calls_is_held_until_it_is_queued_and_the_hold_is_not_timed(
    node: Runtime, gpu: Device, count: int, rows: int
) -> None:
    memory = torch.empty(1000, device=gpu.name)
    assert gpu.time_calls(lambda: memory.fill_(1), count) == pytest.approx([OPERATION_S])
    assert node.operations["fill_"] == count + rows, "one call behind each hold is not timed"
    assert (node.held_s > 0) is bool(rows)
    assert node.held_s < 0.05


def test_pinned_memory_belongs_to_the_gpu_that_copies_it(node: Runtime, gpu: Device) -> None:
    gpu.host_buffer(5)
    assert node.contexts == {GPU}


@pytest.mark.parametrize(
    ("archs", "capability", "remedy"),
    [
        (("sm_75", "sm_80", "sm_90"), (7, 0), "CUDA 12.6"),
        (("sm_75", "sm_80", "sm_90"), (8, 6), ""),
        (("sm_75", "sm_86"), (8, 0), "newer"),
        (("sm_80", "sm_90a"), (9, 0), ""),
        (("sm_80", "sm_90"), (10, 0), "newer"),
        (("sm_80", "compute_90"), (10, 0), ""),
        (("sm_80", "sm_90a"), (10, 0), "newer"),
        (("sm_100f",), (10, 3), ""),
        (("sm_100f",), (12, 0), "newer"),
        ((), (7, 0), ""),
    ],
)
def test_a_torch_without_code_for_a_gpu_is_told_with_what_to_install(
    node: Runtime, archs: tuple[str, ...], capability: tuple[int, int], remedy: str
) -> None:
    node.archs, node.capability = archs, capability
    cause, found = lacks_code(GPU)
    assert bool(cause) is bool(remedy)
    assert remedy in found
    if cause:
        assert f"sm_{capability[0]}{capability[1]}" in cause
        assert archs[0] in cause


def test_the_current_device_is_put_back_after_a_block(node: Runtime, gpu: Device) -> None:
    gpu.time_block(lambda: None, 1)
    assert node.current == 0
    gpu.select()
    assert node.current == 3


def test_marks_are_moments_of_the_device_s_clock(gpu: Device) -> None:
    memory = torch.empty(1000, device=gpu.name)
    first = gpu.mark()
    memory.fill_(1)
    memory.add_(1)
    last = gpu.mark()
    gpu.synchronize()
    last.synchronize()
    assert gpu.seconds_between(first, last) == pytest.approx(2 * OPERATION_S)


def test_waiting_is_waiting(node: Runtime, gpu: Device) -> None:
    gpu.synchronize()
    assert node.synchronized == 1


def test_a_gpu_answers_what_is_asked_of_a_device(gpu: Device) -> None:
    assert (gpu.name, gpu.kind, gpu.has_tf32(), gpu.cache_bytes()) == (GPU, "cuda", True, 50 << 20)
    assert gpu.free_bytes() == 79 << 30
    assert MODEL in gpu.model()
    assert gpu.collectives() == "NCCL 2.28.3"
    assert gpu.reaches("cuda:1")
    assert gpu.host_buffer(5).shape == (5,)


def test_copies_side_by_side_are_all_made_and_waited_for(node: Runtime, gpu: Device) -> None:
    one, other = (torch.empty(1000, device=gpu.name) for _ in range(2))
    gpu.side_by_side([lambda: one.fill_(1), lambda: other.fill_(2)], ["cuda:1"])()
    assert node.operations["fill_"] == 2


def test_a_gpu_that_does_not_exist_is_an_error(node: Runtime) -> None:
    assert node.gpus == 8
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        Cuda("cuda:8").time_block(lambda: None, 1)


def test_events_keep_what_cuda_promises() -> None:
    runtime = Runtime()
    first, last = Event(runtime, enable_timing=True), Event(runtime, enable_timing=True)
    with pytest.raises(RuntimeError, match="never recorded"):
        last.synchronize()
    first.record()
    with pytest.raises(ValueError, match="must be recorded"):
        first.elapsed_time(last)
    last.record()
    with pytest.raises(RuntimeError, match="not ready"):
        first.elapsed_time(last)
    last.synchronize()
    assert first.elapsed_time(last) == 0
