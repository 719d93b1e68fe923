"""What all comparisons of a run say together: who is no evidence of what healthy units are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from hpcaccept.judge.questions.peers_together import Comparison, _distances, _told, told_by_the_run
from hpcaccept.judge.statistics.peer_rule import PRIOR_DF, Peers

Floats = npt.NDArray[np.float64]
FLOOR = 0.04


def comparisons(loss: Floats, *, timed: bool = True, kind: str = "gpu", per_node: int = 1) -> list[Comparison]:
    """Of float64[metrics, units], in widths of the class: what each unit is slower than 100."""
    found = []
    for number, row in enumerate(loss):
        value, units = 100 * (1 - row * FLOOR / 4), np.arange(len(row))
        peers = Peers.of(value, True)
        node, unit = units // per_node, units.astype(np.int32)
        found.append(Comparison(f"check{number}", kind, value, True, node, unit, FLOOR, timed, peers))
    return found


def noise(metrics: int, units: int = 64, width: float = 0.5) -> Floats:
    return np.asarray(width * np.random.default_rng(3).standard_normal((metrics, units)))


def kept(loss: Floats) -> int:
    """How many values tell what the noise is."""
    return sum(len(slow) for _, slow in _distances(comparisons(loss), {}, loss.shape[1]))


@pytest.mark.parametrize(
    ("metrics", "far", "left_out"), [(30, 1, False), (30, 5, False), (30, 6, True), (3, 1, True), (3, 0, False)]
)
def test_who_is_far_out_in_a_fifth_of_the_metrics_is_no_evidence(metrics: int, far: int, left_out: bool) -> None:
    loss = noise(metrics)
    loss[:, 7] = 0.0
    loss[:far, 7] = 20.0
    assert kept(loss) == metrics * (63 if left_out else 64)


def test_far_out_on_the_fast_side_is_no_evidence_either() -> None:
    loss = noise(30)
    loss[:6, 7] = -20.0
    assert kept(loss) == 30 * 63


def test_far_out_within_the_floor_is_evidence() -> None:
    loss = noise(30, width=0.05)
    loss[:10, 7] = 0.9  # 18 widths of these units, and less than the floor
    assert kept(loss) == 30 * 64


@pytest.mark.parametrize(("widths", "left_out"), [(1.9, True), (1.1, False)])
def test_who_is_slow_in_the_mean_of_everything_is_no_evidence(widths: float, left_out: bool) -> None:
    loss = noise(30)
    loss[:, 7] = 0.5 * widths
    assert kept(loss) == 30 * (63 if left_out else 64)


def test_counts_tell_nothing_of_noise_and_are_told_nothing() -> None:
    counted = comparisons(noise(3, units=8), timed=False)
    told, found = told_by_the_run(counted, 8, 8)
    assert [(one.wider, one.df, one.timed) for one in told] == [(1.0, PRIOR_DF, False)] * 3
    assert found.weights[0] > 0.9


@pytest.mark.parametrize(("units", "is_told"), [(2, False), (3, True), (128, True), (129, False)])
def test_few_units_are_told_how_wide_the_others_are_and_many_know_it_themselves(units: int, is_told: bool) -> None:
    told, _ = told_by_the_run(comparisons(noise(10, units=units, width=3.0)), units, units)
    wider = [np.ndim(one.wider) > 0 for one in told]
    assert wider == [is_told] * 10
    if is_told:
        assert all((np.asarray(one.wider) > 1.5).all() for one in told)


def test_devices_of_another_model_tell_nothing() -> None:
    wide, quiet = comparisons(noise(10, 8, 4.0), kind="air-cooled"), comparisons(noise(10, 8, 0.9))
    told, _ = told_by_the_run([*wide, *quiet], 8, 8)
    assert min(float(np.min(one.wider)) for one in told[:10]) > 2
    assert max(float(np.max(one.wider)) for one in told[10:]) < 1.5


def test_a_node_is_told_by_the_other_nodes() -> None:
    """A node of four GPUs that is out of order in everything widens the limits of the others, not its own."""
    loss = noise(10, 16, 0.5)
    loss[:, :4] += np.linspace(-15, 15, 4)
    told, _ = told_by_the_run(comparisons(loss, per_node=4), 4, 16)
    for one in told:
        assert np.asarray(one.wider)[:4].max() < np.asarray(one.wider)[4:].min()


def test_what_a_comparison_tells_is_the_square_of_its_width_in_those_of_its_class_on_its_nodes() -> None:
    (one,) = comparisons(noise(1, units=6, width=3.0))
    apart = replace(one, node=one.node + 2)
    told = _told(apart, 10)
    assert np.isnan(told.square[[0, 1, 8, 9]]).all()
    widths = one.peers.sigma / (FLOOR / 4)
    assert told.square[2:8] == pytest.approx(widths * widths)
    assert told.others == 5


def test_only_the_fast_side_of_single_units_tells_of_tails() -> None:
    (one,) = comparisons(noise(1, units=9, width=3.0))
    told = _told(one, 9)
    faster = one.peers.loss < 0
    assert faster.any()
    assert not faster.all()
    assert (np.isfinite(told.fast) == faster).all()
    gain = -one.peers.loss[faster] / (FLOOR / 4)
    ratio = told.fast[faster] / gain**2
    assert ratio == pytest.approx(np.full(len(ratio), ratio[0]))
    assert 0.5 < ratio[0] < 1, "the centre has a scatter of its own"
