from __future__ import annotations

import itertools
import math
import sys
from typing import Any

import numpy as np
import pytest
from support.solo_context import SoloContext

from hpcaccept import checks
from hpcaccept.checks import train as module
from hpcaccept.checks.train import REFERENCE, Train
from hpcaccept.errors import UsageError
from hpcaccept.measure.kernels import training

pytestmark = pytest.mark.slow


def curve_by_numpy() -> list[float]:
    """The whole training in numpy float64, gradients by hand: where REFERENCE comes from."""
    layers = [[weight.copy(), bias.copy()] for weight, bias in training.weights()]
    velocities = [[np.zeros_like(part) for part in layer] for layer in layers]
    inputs, targets = training.samples()
    losses = []
    for _ in range(training.STEPS):
        outputs = [inputs]
        for depth, (weight, bias) in enumerate(layers):
            linear = outputs[-1] @ weight + bias
            outputs.append(linear if depth == len(layers) - 1 else np.tanh(linear))
        error = outputs[-1] - targets
        losses.append(float((error * error).mean()))
        slope = 2 * error / error.size
        for depth in reversed(range(len(layers))):
            if depth < len(layers) - 1:
                slope = slope * (1 - outputs[depth + 1] ** 2)
            gradients = outputs[depth].T @ slope, slope.sum(0)
            slope = slope @ layers[depth][0].T
            for part, gradient in enumerate(gradients):
                velocities[depth][part] = training.MOMENTUM * velocities[depth][part] + gradient
                layers[depth][part] = layers[depth][part] - training.LEARNING_RATE * velocities[depth][part]
    return losses


def test_the_reference_is_what_numpy_computes() -> None:
    found = curve_by_numpy()
    shown = "\n".join(f"    {loss!r}," for loss in found)
    assert found == pytest.approx(REFERENCE, rel=1e-13), f"REFERENCE in hpcaccept/checks/train.py should be\n{shown}"


def test_a_healthy_training_meets_every_limit() -> None:
    ctx = SoloContext(Train(repeats=1)).run()
    for (name, variant), values in ctx.samples.items():
        metric = Train.metric(name)
        assert metric is not None
        assert metric.limit is None or all(metric.limit.met_by(v) for v in values), (name, variant, values)
    assert ctx.variants("steps_per_s") == {"fp64", "fp32"}
    assert ctx.variants("replica_mismatch") == {"repeat"}
    assert ctx.facts["replicas"] == "no other rank is like this one"


def test_measuring_calls_no_collective(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks may measure one after another: waiting for a rank whose turn has not come would last forever."""

    def deadlock(*_: Any) -> Any:
        raise AssertionError("a collective inside measure()")

    for name in ("barrier", "allgather", "bcast", "reduce_sum", "process_group"):
        monkeypatch.setattr(SoloContext, name, deadlock)
    kept = Train(repeats=1).measure(SoloContext(Train()))
    assert set(kept) == {"like", "digest"}


def flip_a_weight(monkeypatch: pytest.MonkeyPatch, runs: tuple[int, ...]) -> None:
    """Flip the last bit of one initial weight in these trainings."""
    import torch

    real, number = training.model, itertools.count()

    def model(dtype: Any, device: str) -> Any:
        made = real(dtype, device)
        if next(number) in runs:
            made[0].weight.detach().view(torch.int64 if dtype is torch.float64 else torch.int32)[3, 4] ^= 1
        return made

    monkeypatch.setattr(training, "model", model)


def test_one_flipped_bit_in_one_repetition_is_a_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    flip_a_weight(monkeypatch, runs=(1,))
    assert SoloContext(Train(repeats=1)).run().value("replica_mismatch", "repeat") == 1


def test_one_flipped_bit_in_every_run_gives_another_digest_and_no_other_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    healthy = Train(repeats=1).measure(SoloContext(Train()))
    flip_a_weight(monkeypatch, runs=(0, 1, 2, 3))
    ctx = SoloContext(Train(repeats=1))
    odd = ctx.check.measure(ctx)
    assert odd["like"] == healthy["like"]
    assert odd["digest"] != healthy["digest"]
    assert ctx.value("replica_mismatch", "repeat") == 0


class ThreeRanks(SoloContext):
    """Ranks 1 and 2 agree with each other on another result."""

    def allgather(self, thing: Any) -> list[Any]:
        return [thing, *({**thing, "digest": "other"} if thing else {"like": "x", "digest": "y"} for _ in range(2))]


def test_the_odd_rank_of_three_is_a_mismatch() -> None:
    assert ThreeRanks(Train(repeats=1)).run().value("replica_mismatch", "peers") == 1


class OneOfMany(SoloContext):
    """A rank among others whose results are known."""

    def __init__(self, rank: int, everyone: list[Any]) -> None:
        super().__init__(Train(), rank=rank, size=len(everyone))
        self.everyone = everyone

    def allgather(self, thing: Any) -> list[Any]:
        assert thing == self.everyone[self.rank]
        return self.everyone


def mismatches(monkeypatch: pytest.MonkeyPatch, ranks: int, flipped: tuple[int, ...]) -> list[float]:
    """Of each rank, when these are trained for real with one flipped bit, the others without."""
    healthy = Train(repeats=1).measure(SoloContext(Train()))
    with monkeypatch.context() as patch:
        flip_a_weight(patch, runs=(0, 1, 2, 3))
        harmed = Train(repeats=1).measure(SoloContext(Train()))
    everyone = [harmed if rank in flipped else healthy for rank in range(ranks)]
    benches = [OneOfMany(rank, everyone) for rank in range(ranks)]
    for ctx, kept in zip(benches, everyone, strict=True):
        ctx.check.compare(ctx, kept)
    return [ctx.value("replica_mismatch", "peers") for ctx in benches]


@pytest.mark.parametrize("flipped", [0, 2, 3])
def test_the_rank_with_a_flipped_bit_is_named_and_the_others_are_not_blamed(
    monkeypatch: pytest.MonkeyPatch, flipped: int
) -> None:
    assert mismatches(monkeypatch, 4, (flipped,)) == [float(rank == flipped) for rank in range(4)]


def test_of_two_ranks_that_differ_nobody_can_say_who_is_wrong_and_nobody_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert mismatches(monkeypatch, 2, (1,)) == [1.0, 1.0]


def test_a_training_of_one_step_has_no_verdict_to_pass_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "STEPS", 1)
    ctx = SoloContext(Train(repeats=1))
    with pytest.raises(ValueError, match="zip"):
        ctx.run()
    assert "loss_error" not in {name for name, _ in ctx.samples}


def test_a_loss_that_only_went_down_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less momentum: a curve that falls as a healthy one does, and is another one."""
    monkeypatch.setattr(training, "MOMENTUM", 0.8)
    ctx = SoloContext(Train(repeats=1)).run()
    drop, error = Train.metric("loss_drop"), Train.metric("loss_error")
    assert drop is not None
    assert error is not None
    assert drop.limit is not None
    assert error.limit is not None
    assert drop.limit.met_by(ctx.value("loss_drop"))
    assert not error.limit.met_by(ctx.value("loss_error"))


def test_a_rank_that_could_not_measure_takes_part_and_says_nothing() -> None:
    ctx = ThreeRanks(Train())
    ctx.check.compare(ctx, None)
    assert ctx.samples == {}


def test_a_wrong_start_misses_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "LEARNING_RATE", training.LEARNING_RATE * 1.001)
    ctx = SoloContext(Train(repeats=1)).run()
    assert ctx.value("loss_error") > 1e-6
    assert ctx.value("loss_error_fp32") > 1e-5


def test_float32_in_place_of_float64_misses_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.train_once
    monkeypatch.setattr(module, "train_once", lambda device, _: real(device, "fp32"))
    assert SoloContext(Train(repeats=1)).run().value("loss_error") > 1e-8


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_misses_its_limit_instead_of_vanishing(loss: float) -> None:
    assert training.largest_deviation([1.0, loss], [1.0, 1.0]) == sys.float_info.max


def test_it_is_built_from_its_name() -> None:
    assert checks.build("train", {"repeats": 5}) == Train(repeats=5)


def test_without_a_repetition_there_would_be_nothing_to_compare() -> None:
    with pytest.raises(UsageError, match="'repeats' of check 'train' is 0"):
        checks.build("train", {"repeats": 0})
