from __future__ import annotations

import itertools
import re
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from support.solo_context import SoloContext

from hpcaccept import checks
from hpcaccept.checks import ddp_train as module
from hpcaccept.checks.ddp_train import DdpTrain, wrong_gradients
from hpcaccept.errors import UsageError
from hpcaccept.measure.kernels import training
from hpcaccept.model.check import Unavailable

if TYPE_CHECKING:
    from hpcaccept.model.metric import Limit

pytestmark = pytest.mark.slow


class TwinBench(SoloContext):
    """Rank 0 of two that do exactly the same, so that a real group of one stands for both."""

    def __init__(self, other_gradient: float = 1.0) -> None:
        super().__init__(DdpTrain(blocks=2, block_s=0.02), size=2, node_ranks=(0, 1))
        self.other_gradient = other_gradient

    def allgather(self, thing: Any) -> list[Any]:
        return [thing, thing]

    def reduce_sum(self, buffer: np.ndarray) -> None:
        buffer += buffer * self.other_gradient


def test_one_rank_alone_cannot_be_measured() -> None:
    with pytest.raises(Unavailable, match="at least two ranks"):
        SoloContext(DdpTrain()).run()


def test_a_healthy_training_meets_every_limit() -> None:
    ctx = TwinBench().run()
    for (name, variant), values in ctx.samples.items():
        metric = DdpTrain.metric(name)
        assert metric is not None
        assert metric.limit is None or all(metric.limit.met_by(v) for v in values), (name, variant, values)
    assert ctx.value("replica_mismatch", "peers") == 0
    assert ctx.value("loss_drop") < 0.2


def test_gradients_that_were_not_averaged_are_wrong() -> None:
    """The group of one hands back its own gradient; here the mean with rank 1's would have been another."""
    assert TwinBench(other_gradient=1.001).run().value("wrong_elements") > 1000


def test_only_what_is_beyond_rounding_is_wrong() -> None:
    mean, bound = np.array([1.0, 1.0, 1.0]), np.array([1e-7, 1e-7, 1e-7])
    assert wrong_gradients(mean + np.array([0.0, 0.9e-7, -2e-7]), mean, bound) == 1


def test_a_nan_gradient_is_wrong() -> None:
    assert wrong_gradients(np.array([np.nan]), np.array([0.0]), np.array([1.0])) == 1


def test_the_bound_is_of_n_rounded_additions_and_a_division() -> None:
    mean, bound = module.mean_gradient(TwinBench(), np.array([-3.0, 0.0]))
    assert mean.tolist() == [-3.0, 0.0]
    assert bound.tolist() == [4 * 2.0**-24 * 3.0, 0.0]


def test_the_world_s_numbers_are_emitted_by_rank_0_only() -> None:
    """As rank 1 of the two, in a group of one."""
    ctx = TwinBench()
    ctx.rank = 1
    ctx.check.measure(ctx)
    world = {m.name for m in DdpTrain.metrics if m.scope == "world"}
    assert world == {"loss_drop", "samples_per_s"}
    assert not world & {name for name, _ in ctx.samples}
    assert ctx.variants("step_s") == {"p50", "p99", "worst"}


@pytest.mark.parametrize("step", [5, 29])
def test_one_step_that_goes_wrong_late_leaves_the_loss_falling_and_is_seen_all_the_same(
    monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """What a collective does that forgets one of 64 ranks in one of the steps before the last."""
    real, number = training.Momentum.step, itertools.count()

    def harmed(self: Any) -> None:
        wrapped = next(number)  # training and reference take turns: an even number is the training's
        if wrapped == 2 * (step - 1):
            for parameter in self._parameters:
                parameter.grad *= 63 / 64
        real(self)

    monkeypatch.setattr(training.Momentum, "step", harmed)
    ctx = TwinBench().run()
    limit = _limit("loss_error")
    assert not limit.met_by(ctx.value("loss_error"))
    assert _limit("loss_drop").met_by(ctx.value("loss_drop"))
    assert ctx.value("wrong_elements") == 0
    assert ctx.value("replica_mismatch", "peers") == 0


def _limit(metric: str) -> Limit:
    found = DdpTrain.metric(metric)
    assert found is not None
    assert found.limit is not None
    return found.limit


class SlowAmongFour(TwinBench):
    """This rank's own time against three others that take half of it; their steps last as long as its own."""

    def allgather(self, thing: Any) -> list[Any]:
        if isinstance(thing, list) and len(thing) == 3:
            node, own_s, whole_s = thing
            return [thing, *([f"{node}{n}", own_s / 2, whole_s] for n in range(3))]
        return [thing] * 4


def test_a_rank_that_computes_twice_as_long_as_the_others_is_named() -> None:
    ctx = SlowAmongFour().run()
    assert ctx.value("straggler_share") == pytest.approx(2.0)
    assert ctx.facts["slowest"].startswith("rank 0 on solo: its own part of a step takes 2.00 times")


def test_own_time_is_judged_against_peers_and_baseline_and_whole_steps_are_not() -> None:
    """Ranks that are all slow have no slow peer: only a baseline can tell, so it must be a rate that baselines know."""
    own, whole, share = (DdpTrain.metric(name) for name in ("own_step_s", "step_s", "straggler_share"))
    assert own is not None
    assert own.is_rate
    assert own.peer_floor is not None
    assert not any(metric is None or metric.is_rate for metric in (whole, share))


def test_own_time_ends_before_the_collective_and_lies_within_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The optimizer stands for what comes after a rank's own part: it must lengthen the step and not the own time."""
    healthy = TwinBench().run()
    real = training.Momentum.step

    def late(self: Any) -> None:
        time.sleep(0.02)
        real(self)

    monkeypatch.setattr(training.Momentum, "step", late)
    ctx = TwinBench().run()
    assert ctx.value("step_s", "p50") >= 0.02
    assert 0 < min(ctx.samples["own_step_s", ""]) < 0.02
    assert 0 < min(healthy.samples["own_step_s", ""]) < healthy.value("step_s", "worst")


def test_a_slow_forward_pass_is_a_rank_s_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.nn.functional.mse_loss

    def late(*words: Any) -> Any:
        time.sleep(0.02)
        return real(*words)

    monkeypatch.setattr(torch.nn.functional, "mse_loss", late)
    assert min(TwinBench().run().samples["own_step_s", ""]) >= 0.02


def test_heartbeats_tell_the_step() -> None:
    ctx = TwinBench().run()
    assert any(re.fullmatch(r"step \d+ of \d+", beat) for beat in ctx.beats)


def test_without_a_block_nothing_would_be_timed() -> None:
    with pytest.raises(UsageError, match="'blocks' of check 'ddp_train' is 0"):
        checks.build("ddp_train", {"blocks": 0})
