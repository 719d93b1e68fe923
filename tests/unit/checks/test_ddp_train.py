from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from solo_bench import SoloBench

from hpcaccept.checks import ddp_train as module
from hpcaccept.checks.ddp_train import DdpTrain, wrong_gradients
from hpcaccept.model.check import Unavailable


class TwinBench(SoloBench):
    """Rank 0 of two that do exactly the same, so that a real group of one stands for both."""

    def __init__(self, other_gradient: float = 1.0) -> None:
        super().__init__(DdpTrain(blocks=1), size=2, node_ranks=(0, 1))
        self.other_gradient = other_gradient

    def allgather(self, thing: Any) -> list[Any]:
        return [thing, thing]

    def reduce_sum(self, buffer: np.ndarray) -> None:
        buffer += buffer * self.other_gradient


def test_one_rank_alone_cannot_be_measured() -> None:
    with pytest.raises(Unavailable, match="nobody to train with"):
        SoloBench(DdpTrain()).run()


def test_a_healthy_training_meets_every_limit() -> None:
    bench = TwinBench().run()
    for (name, variant), values in bench.samples.items():
        metric = DdpTrain.metric(name)
        assert metric is not None
        assert metric.limit is None or all(metric.limit.met_by(v) for v in values), (name, variant, values)
    assert bench.value("replica_mismatch", "peers") == 0
    assert bench.value("loss_drop") < 0.2


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


def test_ranks_other_than_0_leave_the_world_s_numbers_to_it() -> None:
    bench = TwinBench()
    bench.rank = 0
    names = {m.name for m in DdpTrain.metrics if m.scope == "world"}
    assert names == {"loss_drop", "samples_per_s"}
