from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.nvml.build import build, describe, environment, h100
from support.solo_context import SoloContext

from hpcaccept.checks import transfers as module
from hpcaccept.checks.transfers import Transfers
from hpcaccept.measure.device import Cpu
from hpcaccept.measure.gpu.driver import Gpu
from hpcaccept.measure.kernels import pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WAYS = {"h2d", "d2h", "both"}
TOGETHER = {f"{way}/together" for way in WAYS}
WORDS = 100_000
OWN = """
from types import SimpleNamespace
from hpcaccept.checks import transfers
gpu = transfers._own_gpu(SimpleNamespace(device="cuda:1"))
print(gpu.pci_bus_id, transfers.nominal_bytes(gpu))
"""
KEPT = {"h2d": [1e9], "d2h": [1e9], "both": [2e9]}
H200 = Gpu(0, "ok", pci_bus_id="00000000:18:00.0", pcie_gen_max=5, pcie_width_max=16)


def quick(**params: Any) -> SoloContext:
    return SoloContext(Transfers(**{"size_bytes": 8 * WORDS, "blocks": 2, "block_s": 0.001, **params}))


def harm(monkeypatch: pytest.MonkeyPatch, what: Callable[[module.Lane], object]) -> None:
    real = module.Lane.call

    def call(lane: module.Lane) -> None:
        real(lane)
        what(lane)

    monkeypatch.setattr(module.Lane, "call", call)


def on_gpu(monkeypatch: pytest.MonkeyPatch, gpu: Gpu | None, rate: float) -> SoloContext:
    """As if the CPU were this GPU, copying at this rate."""
    monkeypatch.setattr(module, "_own_gpu", lambda _ctx: gpu)
    monkeypatch.setattr(Cpu, "time_calls", lambda _self, call, count: [(call(), 8 * WORDS / rate)[1]] * count)
    return quick().run()


def test_every_way_gives_every_metric_and_all_bytes_arrive() -> None:
    ctx = quick().run()
    for metric in ("rate_bytes", "together_bytes", "node_rate_bytes"):
        assert ctx.variants(metric) == WAYS
    for metric in ("wrong_elements", "spread"):
        assert ctx.variants(metric) == WAYS | TOGETHER
    assert all(ctx.value("wrong_elements", way) == 0 for way in WAYS | TOGETHER)
    assert len(ctx.samples["rate_bytes", "h2d"]) == 2


def test_both_directions_count_the_bytes_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = on_gpu(monkeypatch, None, 1e9)
    assert ctx.samples["rate_bytes", "h2d"] == pytest.approx([1e9, 1e9])
    assert ctx.samples["rate_bytes", "both"] == pytest.approx([2e9, 2e9])


@pytest.mark.parametrize("bit", [0, 7, 31, 62])
def test_one_flipped_bit_is_one_wrong_element(monkeypatch: pytest.MonkeyPatch, bit: int) -> None:
    harm(monkeypatch, lambda lane: lane.target[WORDS - 1 :].bitwise_xor_(1 << bit))
    ctx = quick().run()
    assert {way: ctx.value("wrong_elements", way) for way in WAYS} == {"h2d": 1, "d2h": 1, "both": 2}


def test_only_the_direction_that_harms_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    d2h = pattern_of(1)
    harm(monkeypatch, lambda lane: lane.target[5:6].zero_() if lane.table[0] == d2h else None)
    ctx = quick().run()
    assert [ctx.value("wrong_elements", way) for way in ("h2d", "d2h", "both")] == [0, 1, 1]


def pattern_of(seed: int) -> Any:
    return pattern.words(seed, "cpu")[0]


def test_a_copy_that_copies_nothing_is_wrong_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Lane, "call", lambda _lane: None)
    assert quick().run().value("wrong_elements", "d2h") == WORDS


def test_a_copy_that_stops_half_way_is_wrong_in_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    def half(lane: module.Lane) -> None:
        lane.target[: WORDS // 2].copy_(lane.source[: WORDS // 2])

    monkeypatch.setattr(module.Lane, "call", half)
    assert quick().run().value("wrong_elements", "h2d") == WORDS // 2


@pytest.mark.parametrize(("rate", "share"), [(55.4e9, 0.879), (27.0e9, 0.4286)])
def test_the_share_of_the_link_is_the_rate_alone_over_its_nominal(
    monkeypatch: pytest.MonkeyPatch, rate: float, share: float
) -> None:
    ctx = on_gpu(monkeypatch, H200, rate)
    assert ctx.variants("link_share") == {"h2d", "d2h"}
    assert ctx.value("link_share", "h2d") == pytest.approx(share, rel=0.01)


def test_a_healthy_link_meets_the_limit_and_half_a_link_does_not() -> None:
    limit = Transfers.metric("link_share").limit  # type: ignore[union-attr]
    assert limit is not None
    assert all(limit.met_by(healthy) for healthy in (25.9 / 31.5, 55.06 / 63))
    assert not limit.met_by(0.5 * 0.88)


def test_a_link_at_0_bytes_per_second_is_never_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = on_gpu(monkeypatch, H200, 1e-3)
    limit = Transfers.metric("link_share").limit  # type: ignore[union-attr]
    assert limit is not None
    assert not limit.met_by(ctx.value("link_share", "d2h"))


def test_what_is_faster_than_pcie_is_not_judged_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = on_gpu(monkeypatch, H200, 359e9)
    assert not ctx.variants("link_share")
    assert "NVLink-C2C" in ctx.refused["link_share"]


@pytest.mark.parametrize("gpu", [Gpu(0, "ok"), Gpu(0, "ok", pcie_gen_max=9, pcie_width_max=16)])
def test_an_unknown_link_is_not_judged(monkeypatch: pytest.MonkeyPatch, gpu: Gpu) -> None:
    ctx = on_gpu(monkeypatch, gpu, 1e9)
    assert ctx.refused["link_share"] == "a CPU has no link to itself"
    assert not ctx.variants("link_share")


@pytest.mark.parametrize(
    ("gen", "lanes", "nominal"), [(3, 16, 15.75e9), (4, 16, 31.5e9), (5, 16, 63.0e9), (4, 8, 15.75e9)]
)
def test_nominal_rates_are_those_of_the_standard(gen: int, lanes: int, nominal: float) -> None:
    gpu = Gpu(0, "ok", pcie_gen_max=gen, pcie_width_max=lanes)
    assert module.nominal_bytes(gpu) == pytest.approx(nominal, rel=0.001)


def test_host_memory_is_made_while_the_rank_is_beside_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[bool] = []
    beside = False

    @contextlib.contextmanager
    def bound_near(_bus_id: str) -> Iterator[str]:
        nonlocal beside
        beside = True
        yield "bound to 8 processors of NUMA node 1"
        beside = False

    real = Cpu.host_buffer

    def host_buffer(cpu: Cpu, length: int) -> Any:
        inside.append(beside)
        return real(cpu, length)

    monkeypatch.setattr(module, "bound_near", bound_near)
    monkeypatch.setattr(Cpu, "host_buffer", host_buffer)
    ctx = quick().run()
    assert inside == [True] * 4
    assert not beside
    assert ctx.facts["numa"] == "bound to 8 processors of NUMA node 1"


def test_the_report_says_what_was_bound() -> None:
    assert quick().run().facts["numa"] == "not bound: no PCI address is known"


class Turns(SoloContext):
    """Local rank 1 of three, and a log of the barriers it passes."""

    def __init__(self) -> None:
        super().__init__(quick().check, size=3, rank=1, local_rank=1, node_ranks=(0, 1, 2))
        self.log: list[str] = []

    def barrier(self) -> None:
        self.log.append("barrier")

    def beat(self, phase: str) -> None:
        self.log.append(phase)

    def allgather(self, thing: Any) -> list[Any]:
        return [(self.node, 0, KEPT), thing, (self.node, 2, KEPT)]


def test_ranks_of_a_node_copy_alone_one_after_the_other() -> None:
    ctx = Turns()
    ctx.check.compare(ctx, KEPT)
    assert ctx.log == ["barrier", "h2d", "d2h", "both", "barrier", "barrier"]


def test_ranks_that_measured_in_turn_were_alone_already() -> None:
    ctx = Turns()
    ctx.in_turn = True
    ctx.check.compare(ctx, KEPT)
    assert ctx.log == ["barrier"] * 3
    assert ctx.refused["link_share"]


def test_a_rank_that_could_not_measure_lets_the_others_pass() -> None:
    ctx = Turns()
    ctx.check.compare(ctx, None)
    assert ctx.log == ["barrier"] * 3


def node_of(*ranks: dict[str, list[float]] | None, in_turn: bool = False) -> SoloContext:
    """What the first rank says of a node with these ranks."""
    ctx = quick()
    ctx.in_turn = in_turn
    module._emit_node(ctx, list(ranks))
    return ctx


def test_a_node_has_the_sum_of_what_its_gpus_reach_together_block_by_block() -> None:
    one, other = {way: [1e9, 2e9] for way in WAYS}, {way: [3e9, 5e9] for way in WAYS}
    assert node_of(one, other).samples["node_rate_bytes", "both"] == [4e9, 7e9]


def test_a_node_whose_ranks_did_not_all_measure_has_no_sum() -> None:
    ctx = node_of(KEPT, None, KEPT)
    assert not ctx.samples
    assert ctx.refused["node_rate_bytes"] == "1 of 3 ranks could not measure"


def test_ranks_that_measure_in_turn_are_never_together() -> None:
    ctx = quick()
    ctx.in_turn = True
    ctx.run()
    assert ctx.variants("rate_bytes") == ctx.variants("wrong_elements") == WAYS
    assert not ctx.variants("together_bytes") | ctx.variants("node_rate_bytes")
    assert "one after another" in ctx.refused["node_rate_bytes"]


def test_a_rank_that_breaks_in_its_turn_lets_the_others_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = Turns()
    monkeypatch.setattr(module.Lane, "call", lambda _lane: torch.zeros(1)[5])
    with pytest.raises(IndexError):
        ctx.check.compare(ctx, KEPT)
    assert ctx.log.count("barrier") == 3


def test_a_rank_asks_for_the_gpu_that_cuda_gives_it(tmp_path: Path) -> None:
    """Through the real pynvml: cuda:1 is GPU 0 where CUDA_VISIBLE_DEVICES=2,0."""
    gpus = [h100(0, pcie_width_max="8"), h100(1), h100(2)]
    env = environment(build(tmp_path / "lib"), describe(tmp_path / "node", gpus)) | {"CUDA_VISIBLE_DEVICES": "2,0"}
    done = subprocess.run(
        [sys.executable, "-c", OWN], check=True, capture_output=True, text=True, env={**os.environ, **env}
    )
    bus_id, nominal = done.stdout.split()
    assert bus_id == gpus[0]["pci_bus_id"]
    assert float(nominal) == pytest.approx(31.5e9, rel=0.001)


def test_a_cpu_and_a_machine_without_a_driver_have_no_gpu_to_be_near() -> None:
    ctx = quick()
    assert module._own_gpu(ctx) is None
    ctx.device = "cuda:7"
    assert module._bus_id(ctx) == ""
