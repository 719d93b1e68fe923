"""A small GPT: what exactly the check ``llm`` trains, how many operations a token takes, and which losses are right.

Pre-norm blocks of causal attention (``scaled_dot_product_attention``, whatever kernel torch chooses on the device) and a perceptron of four times the width
with GELU, learned places, output by the transposed embedding. Weights and tokens follow from a counter by whole-number arithmetic, made on the device itself:
the same bits on every platform, without a generator and without copying. The autocast format is that of products and attention; norms, the loss and the
weights themselves stay float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcaccept.measure.kernels import pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Tensor = Any
    Module = Any
    Linear = Callable[[Tensor, Tensor], Tensor]

#: Each tensor takes its numbers from a stretch of the counter of its own.
_STRETCH = 1 << 36
#: Tokens come from this share of the vocabulary, so that a few steps have something to learn.
_SEEN = 8
#: Strides by which sequences count up.
_STRIDES = 7
#: Largest finite value of the formats of fp8: e4m3 for weights and activations, e5m2 for gradients.
_E4M3_MAX, _E5M2_MAX = 448.0, 57344.0
#: fp8's products want both sides in multiples of this.
FP8_MULTIPLE = 16


@dataclass(frozen=True)
class Shape:
    """How large a GPT and its batch are.

    Attributes:
        layers: blocks.
        width: of the model.
        heads: of the attention; divides the width.
        tokens: of a sequence.
        vocabulary: different tokens.
        batch: sequences in a step of one rank.
    """

    layers: int
    width: int
    heads: int
    tokens: int
    vocabulary: int
    batch: int

    @property
    def parameters(self) -> int:
        """Weights in products with every token: twelve times the width squared a block, and the output."""
        return 12 * self.layers * self.width**2 + self.vocabulary * self.width

    @property
    def step_tokens(self) -> int:
        """Tokens that one rank trains on in a step."""
        return self.batch * self.tokens

    @property
    def flops_per_token(self) -> float:
        """Forward and backward, by the convention of PaLM (arXiv 2204.02311, appendix B): 6N + 12·layers·width·tokens, the causal half not taken off."""
        return 6.0 * self.parameters + 12.0 * self.layers * self.width * self.tokens


#: Of the losses that are held to ``REFERENCE``: seconds on one core, and every product in it takes part.
SMALL = Shape(layers=2, width=64, heads=4, tokens=64, vocabulary=256, batch=4)
STEPS = 12
#: Of one step of ``SMALL``, whose gradients are some tenths.
RATE = 0.05
#: Losses of ``SMALL`` before each of the steps in float64, attention written out (``tests/unit/measure/test_gpt.py`` computes them anew).
REFERENCE: tuple[float, ...] = (
    5.960885788585, 5.353894535988, 4.970075699198, 4.702330276112, 4.490088423103, 4.307265649249,
    4.140537823225, 3.982161990726, 3.827754269571, 3.675061675193, 3.523075410179, 3.371454788221,
)  # fmt: skip


def numbers(key: int, count: int, device: str) -> Tensor:
    """float32[count] in [-1, 1), multiples of 2^-23: exact, and so alike everywhere."""
    import torch

    counter = torch.arange(count, dtype=torch.int64, device=device) + key * _STRETCH
    return (pattern.mixed(counter) >> 40).to(torch.float32) * 2.0**-23


def sequences(shape: Shape, rank: int, device: str) -> Tensor:
    """int64[batch, tokens + 1]: each counts up from a place of its own by a stride of its own, in an eighth of the vocabulary."""
    import torch

    seen = shape.vocabulary // _SEEN
    row = torch.arange(shape.batch, dtype=torch.int64, device=device) + (rank + 1) * _STRETCH // 2
    start, stride = (pattern.mixed(row) >> 8) % seen, (pattern.mixed(row) >> 32) % _STRIDES + 1
    place = torch.arange(shape.tokens + 1, dtype=torch.int64, device=device)
    return (start[:, None] + stride[:, None] * place) % seen


def model(shape: Shape, device: str, linear: Linear | None = None, dtype: Any = None) -> Module:
    """The network with its initial weights; called with ``sequences`` it gives the mean loss of predicting each next token.

    Args:
        shape: of it.
        device: as torch calls it.
        linear: product of activations with a transposed weight; None: torch's own.
        dtype: of the weights; None: float32.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    product = linear or functional.linear
    # A variance of 1/width, as GPT-2's 0.02 is at its size: attention and perceptron weigh in the loss from the first step on.
    deviation = math.sqrt(3.0 / shape.width)
    keys = iter(range(1, 1 << 10))

    def weight(*size: int, scale: float = 1.0) -> Any:
        values = numbers(next(keys), math.prod(size), device).view(*size) * (deviation * scale)
        return nn.Parameter(values.to(dtype or torch.float32))

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            width = shape.width
            kind = {"device": device, "dtype": dtype or torch.float32}
            self.first, self.second = nn.LayerNorm(width, **kind), nn.LayerNorm(width, **kind)
            # What adds to the residual is smaller the more of it there are, as in GPT-2.
            small = 1.0 / math.sqrt(2.0 * shape.layers)
            self.mixed, self.out = weight(3 * width, width), weight(width, width, scale=small)
            self.up, self.down = weight(4 * width, width), weight(width, 4 * width, scale=small)

        def forward(self, x: Tensor) -> Tensor:
            batch, tokens, width = x.shape
            three = product(self.first(x), self.mixed).view(batch, tokens, 3, shape.heads, -1)
            query, key, value = three.permute(2, 0, 3, 1, 4)
            heard = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            x = x + product(heard.transpose(1, 2).reshape(batch, tokens, width), self.out)
            return x + product(functional.gelu(product(self.second(x), self.up)), self.down)

    class Gpt(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = weight(shape.vocabulary, shape.width), weight(shape.tokens, shape.width)
            self.blocks = nn.ModuleList(Block() for _ in range(shape.layers))
            self.last = nn.LayerNorm(shape.width, device=device, dtype=dtype or torch.float32)

        def forward(self, told: Tensor) -> Tensor:
            x = functional.embedding(told[:, :-1], self.words) + self.places
            for block in self.blocks:
                x = block(x)
            # The output stays in the autocast format, as fp8 recipes leave it.
            scores = functional.linear(self.last(x), self.words)
            return functional.cross_entropy(scores.flatten(0, 1).to(self.words.dtype), told[:, 1:].flatten())

    return Gpt()


def fp8_linear() -> Linear:
    """A product in fp8 forward and backward: e4m3 with e4m3, gradients in e5m2, a scale for each tensor and call."""
    import torch

    eight, five = torch.float8_e4m3fn, torch.float8_e5m2

    def scaled(x: Tensor, kind: Any, largest: float) -> tuple[Tensor, Tensor]:
        scale = (x.detach().abs().amax().float() / largest).clamp(min=1e-12)
        return (x.float() / scale).to(kind), scale

    def product(left: Tensor, right: Tensor, scales: tuple[Tensor, Tensor]) -> Tensor:
        """``left`` row by row, ``right`` column by column: the one layout that the tensor cores of every part take."""
        return torch._scaled_mm(
            left.contiguous(), right.t().contiguous().t(), scale_a=scales[0], scale_b=scales[1], out_dtype=torch.bfloat16
        )  # fmt: skip

    class Eight(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
            narrow, of_x = scaled(x, eight, _E4M3_MAX)
            factor, of_weight = scaled(weight, eight, _E4M3_MAX)
            ctx.save_for_backward(narrow, of_x, factor, of_weight)
            return product(narrow, factor.t(), (of_x, of_weight))

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
            narrow, of_x, factor, of_weight = ctx.saved_tensors
            gradient, scale = scaled(gradients[0], five, _E5M2_MAX)
            back = product(gradient, factor, (scale, of_weight))
            return back.float(), product(gradient.t(), narrow, (scale, of_x)).float()

    def linear(x: Tensor, weight: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            flat = x.reshape(-1, x.shape[-1]).float()
            return Eight.apply(flat, weight).view(*x.shape[:-1], -1)

    return linear


def learn(loss_of: Callable[[], Tensor], parameters: Sequence[Any], steps: int, rate: float) -> list[float]:
    """Losses before each of so many steps of plain gradient descent."""
    import torch

    losses = []
    for _ in range(steps):
        loss = loss_of()
        loss.backward()
        losses.append(float(loss.detach()))
        with torch.no_grad():
            for parameter in parameters:
                parameter -= rate * parameter.grad
                parameter.grad = None
    return losses
