"""What exactly ``train`` and ``ddp_train`` train.

A small perceptron learns a simple function of random inputs. Inputs and weights come from the raw 64-bit stream of
Philox4x64, which numpy promises never to change (unlike its distributions), so every platform trains on the same bits.
In the hidden layers tanh rather than ReLU: a kink could turn a difference in the last bit into a visible one.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

#: Inputs, two hidden layers, outputs: 22,000 parameters.
LAYERS = (32, 128, 128, 8)
#: Samples in a step, all of them in every step.
BATCH = 256
STEPS = 30
LEARNING_RATE = 0.1
MOMENTUM = 0.9
#: First words of the Philox keys. The second word of a data key is the rank.
_WEIGHTS, _INPUTS = 20261122, 20261124


def uniform(key: tuple[int, int], *shape: int) -> Array:
    """Numbers in [-1, 1) from the raw stream: https://numpy.org/doc/stable/reference/random/compatibility.html."""
    import numpy as np

    raw = np.random.Philox(key=np.array(key, dtype=np.uint64)).random_raw(math.prod(shape))
    numbers: Array = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0
    return numbers.reshape(shape)


def weights() -> list[tuple[Array, Array]]:
    """Weight (inputs × outputs) and bias of each layer, uniform with variance 1/inputs."""
    layers = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(LAYERS)):
        both = uniform((_WEIGHTS, index), inputs + 1, outputs) * math.sqrt(3 / inputs)
        layers.append((both[:-1], both[-1]))
    return layers


def samples(rank: int = 0) -> tuple[Array, Array]:
    """Inputs and what is to be learned of them; another rank has other inputs.

    Element by element, without a sum, a matrix product or a library function: those may differ in the last bit from one
    host to the next, and the GPUs in them would seem to differ.
    """
    inputs = uniform((_INPUTS, rank), BATCH, LAYERS[0])
    a, b, c, d = (inputs[:, part : part + LAYERS[-1]] for part in range(0, LAYERS[0], LAYERS[-1]))
    return inputs, 0.6 * a - 0.4 * b + 0.2 * (c * d)


def model(dtype: Any, device: str) -> Any:  # torch's types are not checked here
    """The perceptron in torch, with its initial weights."""
    import torch
    from torch import nn

    parts: list[Any] = []
    for weight, bias in weights():
        layer = nn.Linear(*weight.shape, dtype=dtype, device=device)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight.T.copy()))
            layer.bias.copy_(torch.from_numpy(bias.copy()))
        parts += [layer, nn.Tanh()]
    return nn.Sequential(*parts[:-1])


class Momentum:
    """Plain SGD with momentum: v ← m·v + g, p ← p - r·v.

    ``torch.optim`` does the same, and imports torch's compiler for it (2 s) although nothing is compiled. Over all
    parameters at once, as it does: one launch instead of hundreds.

    Args:
        parameters: to be moved.
        rate: r; the recipe's by default.
    """

    def __init__(self, parameters: Iterable[Any], rate: float | None = None) -> None:
        import torch

        self.rate = LEARNING_RATE if rate is None else rate
        self._parameters = list(parameters)
        self._velocities = [torch.zeros_like(p) for p in self._parameters]

    def step(self) -> None:
        """Move the parameters against their gradients, and forget those."""
        import torch

        with torch.no_grad():
            torch._foreach_mul_(self._velocities, MOMENTUM)
            torch._foreach_add_(self._velocities, [p.grad for p in self._parameters])
            torch._foreach_add_(self._parameters, self._velocities, alpha=-self.rate)
        for parameter in self._parameters:
            parameter.grad = None


def digest(tensors: Iterable[Any]) -> str:
    """128 bits over the bytes of tensors, in order: as good as equal when and only when every bit is."""
    state = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        state.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()


def as_number(value: float) -> float:
    """The value, or 1.8e308 for what is no finite number: a diverged training must miss its limit, not vanish."""
    return value if math.isfinite(value) else sys.float_info.max


def largest_deviation(losses: Sequence[float], reference: Sequence[float]) -> float:
    """Largest ``abs(loss / reference - 1)``; a NaN among the losses gives 1.8e308, not silence."""
    return max(as_number(abs(a / b - 1)) for a, b in zip(losses, reference, strict=True))
