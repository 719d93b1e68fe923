from __future__ import annotations

import contextlib
import itertools
from typing import Any

import pytest
import torch
from support.solo_context import SoloContext

from hpcaccept.checks import llm as module
from hpcaccept.checks.llm import Llm, peak_flops, reference_losses, weight_of
from hpcaccept.measure.device import Cpu
from hpcaccept.measure.kernels import gpt
from hpcaccept.model.check import Unavailable

pytestmark = pytest.mark.slow


def quick(**params: Any) -> SoloContext:
    return SoloContext(Llm(**{"blocks": 2, "block_s": 0.02, **params}))


class Twins(SoloContext):
    """Rank 0 of two that do exactly the same, so that a real group of one stands for both."""

    def __init__(self, **params: Any) -> None:
        super().__init__(Llm(**{"blocks": 2, "block_s": 0.02, **params}), size=2, node_ranks=(0, 1))

    def allgather(self, thing: Any) -> list[Any]:
        return [thing, thing]


def within(ctx: SoloContext) -> bool:
    return all(
        metric.limit is None or all(map(metric.limit.met_by, values))
        for (name, _), values in ctx.samples.items()
        if (metric := Llm.metric(name))
    )


def test_a_healthy_one_meets_every_limit_and_says_what_it_did() -> None:
    ctx = quick().run()
    assert within(ctx)
    assert ctx.value("loss_error", "bf16") < 2e-3
    assert ctx.value("bad_losses", "bf16") == 0
    assert len(ctx.samples["small_tokens_per_s", "bf16"]) == 2
    assert len(ctx.samples["rate_flops", "bf16"]) == 2
    assert ctx.variants("step_s") == {"bf16/p50", "bf16/p99", "bf16/worst"}
    assert ctx.value("step_spread", "bf16") >= 0
    assert set(ctx.refused) == {"fp8", "bf16/together", "mfu[bf16]"}
    assert ctx.facts["model"].startswith("0.115 million weights, 256 tokens a step")


def test_together_the_ranks_weighted_losses_are_the_references(monkeypatch: pytest.MonkeyPatch) -> None:
    # One process stands for both ranks: its weight is the mean of theirs.
    monkeypatch.setattr(module, "weight_of", lambda rank, ranks: 1.0)
    ctx = Twins().run()
    assert within(ctx)
    assert ctx.value("loss_error", "bf16/together") < 2e-3
    assert len(ctx.samples["small_tokens_per_s", "bf16/together"]) == 2


def test_gradients_that_are_not_averaged_miss_the_limit() -> None:
    """The group of one hands back rank 0's own gradient, one and a half times the mean."""
    ctx = Twins().run()
    assert ctx.value("loss_error", "bf16/together") > 10 * 2e-3


@pytest.mark.parametrize("ranks", [1, 2, 3, 8, 9])
def test_weights_are_one_in_the_mean_and_differ_between_neighbours(ranks: int) -> None:
    weights = [weight_of(rank, ranks) for rank in range(ranks)]
    assert sum(weights) == ranks
    assert all(a != b for a, b in itertools.pairwise(weights))


def test_a_device_that_computes_wrongly_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", lambda *a, **k: real(*a, **k) * 1.2)
    ctx = quick().run()
    assert ctx.value("loss_error", "bf16") > 2e-3


def test_losses_that_are_no_numbers_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RATE", float("nan"))
    ctx = quick().run()
    assert ctx.value("bad_losses", "bf16") > 0
    assert not within(ctx)


def test_a_gpu_has_its_share_of_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU is stood in for by the CPU, called ``cuda``: the same code, another device."""
    monkeypatch.setattr(module, "open_device", lambda _: Cpu(kind="cuda"))
    monkeypatch.setitem(module.SHAPES, "cuda", gpt.SMALL)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    ctx = quick(formats=("bf16",))
    ctx.model = "NVIDIA H100 80GB HBM3"
    ctx.run()
    form = next(iter(ctx.variants("tokens_per_s")))
    rate, shares = ctx.samples["rate_flops", form], ctx.samples["mfu", form]
    assert shares == [pytest.approx(each / 989e12) for each in rate]
    assert ctx.samples["tokens_per_s", form] == [pytest.approx(each / gpt.SMALL.flops_per_token) for each in rate]


def test_peaks_are_those_of_the_baselines() -> None:
    assert peak_flops("NVIDIA H100 80GB HBM3", "bf16") == 989e12
    assert peak_flops("NVIDIA H100 80GB HBM3", "fp8") == 1979e12
    assert peak_flops("Nobody's Accelerator 7", "bf16") == 0.0


def test_an_operation_that_a_device_lacks_is_said_and_blames_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise RuntimeError("fp8 is only supported on compute capability 8.9\nmore")

    monkeypatch.setattr(gpt, "learn", refused)
    with pytest.raises(Unavailable, match="only supported"):
        reference_losses(Cpu(), "fp8")
    with pytest.raises(Unavailable, match="None of the number formats"):
        quick().run()


@pytest.mark.parametrize("params", [{"width": 72}, {"width": 64, "heads": 7}, {"vocabulary": 100}])
def test_sizes_that_make_no_model_are_refused(params: dict[str, int]) -> None:
    with pytest.raises(Unavailable, match="make no model"):
        quick(**params).run()
