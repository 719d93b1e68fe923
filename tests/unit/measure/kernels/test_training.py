from __future__ import annotations

import hashlib
import math
import sys

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from hpcaccept.measure.kernels import training


def test_the_stream_is_the_one_that_numpy_promises_to_keep() -> None:
    """Philox4x64-10 with key (1, 2), first words; a change here would change the reference curve of ``train``."""
    drawn = training.uniform((1, 2), 3)
    raw = np.random.Philox(key=np.array([1, 2], dtype=np.uint64)).random_raw(3)
    assert drawn.tolist() == [(int(word) >> 11) * 2.0**-52 - 1.0 for word in raw]


def test_data_and_weights_are_the_bits_of_the_reference() -> None:
    inputs = training.uniform((20261124, 0), 256, 32)
    assert hashlib.blake2b(inputs.tobytes(), digest_size=8).hexdigest() == "4b2b22b1fa2cfe19"
    assert training.samples()[0].tobytes() == inputs.tobytes()
    first, _ = training.weights()[0]
    assert hashlib.blake2b(np.ascontiguousarray(first).tobytes(), digest_size=8).hexdigest() == "2618f1c1a43af6f4"


def test_another_rank_has_other_samples() -> None:
    assert not np.any(training.samples(0)[0] == training.samples(1)[0])


def test_the_model_starts_from_the_recipe_s_weights() -> None:
    model = training.model(torch.float64, "cpu")
    for layer, (weight, bias) in zip([m for m in model if hasattr(m, "weight")], training.weights(), strict=True):
        assert np.array_equal(layer.weight.detach().numpy(), weight.T)
        assert np.array_equal(layer.bias.detach().numpy(), bias)


def test_momentum_is_torch_s_sgd_bit_for_bit() -> None:
    ours, theirs = (torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64, requires_grad=True) for _ in range(2))
    mine = training.Momentum([ours])
    sgd = torch.optim.SGD([theirs], lr=training.LEARNING_RATE, momentum=training.MOMENTUM)
    for _ in range(5):
        (ours**3).sum().backward()
        mine.step()
        sgd.zero_grad()
        (theirs**3).sum().backward()
        sgd.step()
    assert training.digest([ours]) == training.digest([theirs])


def test_one_flipped_bit_changes_the_digest() -> None:
    numbers = torch.arange(100, dtype=torch.float32)
    before = training.digest([numbers])
    numbers.view(torch.int32)[50] ^= 1
    assert training.digest([numbers]) != before


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_becomes_the_largest_one(value: float) -> None:
    assert training.as_number(value) == sys.float_info.max


def test_the_training_s_operations_exist_on_a_gpu() -> None:
    with FakeTensorMode():
        weight = torch.empty(4, 32, device="cuda", requires_grad=True)
        weight.grad = torch.empty_like(weight)
        training.Momentum([weight]).step()
        assert weight.grad is None
        made = torch.nn.Sequential(torch.nn.Linear(32, 128, device="cuda"), torch.nn.Tanh())
        loss = torch.nn.functional.mse_loss(
            made(torch.empty(256, 32, device="cuda")), torch.empty(256, 128, device="cuda")
        )
        assert loss.device.type == "cuda"


def test_a_rate_of_its_own_replaces_the_recipe_s() -> None:
    numbers = torch.tensor([1.0], requires_grad=True)
    numbers.grad = torch.tensor([2.0])
    training.Momentum([numbers], rate=0.25).step()
    assert numbers.tolist() == [0.5]
