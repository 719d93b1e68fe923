"""The reference of the check ``llm`` is what its words say, and what is wrong with attention shows in the losses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.nn import functional

from hpcaccept.measure.kernels import gpt

if TYPE_CHECKING:
    from collections.abc import Callable

    Attention = Callable[..., torch.Tensor]

pytestmark = pytest.mark.slow
SDPA = functional.scaled_dot_product_attention


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def losses(dtype: Any = None, amp: Any = None, linear: Any = None, rank: int = 0) -> list[float]:
    model, tokens = gpt.model(gpt.SMALL, "cpu", linear, dtype), gpt.sequences(gpt.SMALL, rank, "cpu")

    def loss() -> torch.Tensor:
        with torch.autocast("cpu", amp or torch.bfloat16, enabled=amp is not None):
            return model(tokens)

    return gpt.learn(loss, list(model.parameters()), gpt.STEPS, gpt.RATE)


def deviation(found: list[float]) -> float:
    return max(abs(a / b - 1) for a, b in zip(found, gpt.REFERENCE, strict=True))


def written_out(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, is_causal: bool) -> torch.Tensor:
    """Attention as the paper has it."""
    assert is_causal
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(later, -math.inf).softmax(-1) @ value


def test_the_reference_is_float64_with_attention_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functional, "scaled_dot_product_attention", written_out)
    assert deviation(losses(torch.float64)) < 1e-9


@pytest.mark.parametrize(("amp", "most"), [(None, 1e-5), (torch.bfloat16, 6e-4), (torch.float16, 2e-4)])
def test_narrower_formats_stay_near_it(amp: Any, most: float) -> None:
    assert deviation(losses(amp=amp)) < most


def product_of_fp8(
    left: torch.Tensor, right: torch.Tensor, *, scale_a: torch.Tensor, scale_b: torch.Tensor, out_dtype: torch.dtype
) -> torch.Tensor:
    """What ``torch._scaled_mm`` computes; torch's own takes minutes on a processor."""
    assert left.is_contiguous()
    assert right.t().is_contiguous()
    return ((left.float() * scale_a) @ (right.float() * scale_b)).to(out_dtype)


def test_fp8_learns_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "_scaled_mm", product_of_fp8)
    found = losses(amp=torch.bfloat16, linear=gpt.fp8_linear())
    assert 1e-3 < deviation(found) < 0.015, "fp8 rounds more than bf16 does, and not everything"
    assert found[-1] < 0.6 * found[0]


def test_an_fp8_product_is_torchs_own_forward_and_backward() -> None:
    x, weight = (gpt.numbers(key, 32 * 16, "cpu").view(32, 16).requires_grad_() for key in (1, 2))
    try:
        found = gpt.fp8_linear()(x, weight)
        found.float().square().sum().backward()
    except (RuntimeError, NotImplementedError) as absent:
        pytest.skip(f"this torch emulates no fp8: {absent}")
    assert x.grad is not None
    exact = x.detach() @ weight.detach().t()
    assert torch.linalg.vector_norm(found.detach().float() - exact) < 0.05 * torch.linalg.vector_norm(exact)
    right = 2 * exact @ weight.detach()
    assert torch.linalg.vector_norm(x.grad - right) < 0.15 * torch.linalg.vector_norm(right)


WRONG: dict[str, Attention] = {
    "nothing is heard": lambda q, k, v, is_causal: v * 0,
    "no mask": lambda q, k, v, is_causal: SDPA(q, k, v),
    "another scale": lambda q, k, v, is_causal: SDPA(q, k, v, is_causal=True, scale=0.2),
    "the last position is left out": lambda q, k, v, is_causal: torch.cat([SDPA(q, k, v, is_causal=True)[:, :, :-1], v[:, :, -1:] * 0], 2),
}  # fmt: skip


@pytest.mark.parametrize("fault", WRONG)
def test_attention_that_is_wrong_misses_the_limit(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functional, "scaled_dot_product_attention", WRONG[fault])
    assert deviation(losses(amp=torch.bfloat16)) > 2 * 2e-3


def test_weights_and_tokens_are_the_same_bits_everywhere() -> None:
    found = gpt.numbers(3, 4, "cpu")
    assert [float(x) * 2**23 for x in found] == [float(round(float(x) * 2**23)) for x in found]
    many = gpt.numbers(5, 1 << 16, "cpu")
    assert abs(float(many.mean())) < 0.01
    assert float(many.std()) == pytest.approx(1 / math.sqrt(3), rel=0.01)
    assert not torch.equal(gpt.numbers(3, 8, "cpu"), gpt.numbers(4, 8, "cpu"))
    tokens = gpt.sequences(gpt.SMALL, 0, "cpu")
    assert tokens.shape == (4, 65)
    assert 0 <= int(tokens.min()) <= int(tokens.max()) < 256 // 8
    assert not torch.equal(tokens, gpt.sequences(gpt.SMALL, 1, "cpu"))


def test_operations_are_those_of_palm() -> None:
    shape = gpt.Shape(layers=6, width=2048, heads=16, tokens=1024, vocabulary=16384, batch=8)
    assert shape.parameters == 12 * 6 * 2048**2 + 16384 * 2048
    assert shape.flops_per_token == 6 * shape.parameters + 12 * 6 * 2048 * 1024
    model = gpt.model(gpt.SMALL, "cpu")
    weights = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2 and name != "places")
    assert weights == gpt.SMALL.parameters
