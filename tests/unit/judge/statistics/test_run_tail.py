"""Is normal noise the noise of a run's units?"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pytest

from hpcaccept.judge.statistics.peer_rule import robust
from hpcaccept.judge.statistics.run_tail import _KINDS, Kind, Noise, noise_of


def slow(family: str, count: int = 2000, seed: int = 1) -> npt.NDArray[np.float64]:
    """Distances in widths."""
    dice = np.random.default_rng(seed)
    if family == "skew":
        return (np.exp(0.5 * dice.standard_normal(count)) - 1) / 0.498
    if family == "t":
        return dice.standard_t(3, count) / 1.212
    return dice.standard_normal(count)


def test_normal_noise_is_normal_and_nothing_is_said() -> None:
    found = noise_of([(64, slow("normal"))])
    assert found.weights[0] > 0.99
    assert found.said == ""
    assert found.beyond(1e-5) < 5


@pytest.mark.parametrize(("family", "said"), [("t", "a t of 3"), ("skew", "a longer slow side")])
def test_heavy_noise_is_told_and_has_a_cut_of_its_own(family: str, said: str) -> None:
    found = noise_of([(64, slow(family))])
    assert found.said.startswith(said)
    beyond = np.mean(slow(family, 2_000_000, 5) > found.beyond(1e-4))
    assert beyond == pytest.approx(1e-4, rel=0.5)


def test_faults_are_no_tail() -> None:
    values = slow("normal")
    values[:60] += 20
    assert noise_of([(64, values)]).said == ""


def test_few_values_leave_what_was_known_before() -> None:
    assert noise_of([]).weights == pytest.approx([kind.before for kind in _KINDS])
    assert sum(kind.before for kind in _KINDS) == pytest.approx(1)


def test_no_kinds_have_no_tail() -> None:
    assert Noise(()).said == ""
    assert Noise(()).beyond(1e-5) == 0


@pytest.mark.parametrize("kind", _KINDS, ids=lambda kind: kind.words)
def test_the_width_of_a_kind_is_what_is_found_for_it(kind: Kind) -> None:
    chances = (np.arange(20_000) + 0.5) / 20_000
    if kind.skew:
        values = np.exp(kind.skew * np.array([NormalDist().inv_cdf(chance) for chance in chances.tolist()]))
    elif math.isfinite(kind.df):
        values = np.random.default_rng(1).standard_t(kind.df, 400_000)
    else:
        values = np.array([NormalDist().inv_cdf(chance) for chance in chances.tolist()])
    assert robust(values[None, :], 1e-5)[1][0] == pytest.approx(kind.width, rel=0.01)


@pytest.mark.parametrize("kind", _KINDS, ids=lambda kind: kind.words)
def test_a_density_has_the_tail_that_is_stated(kind: Kind) -> None:
    grid = np.linspace(-60, 2.0, 400_001)
    density = np.exp(kind.log_density(grid, 0.0))
    density[density <= math.exp(-12.0) * 1.001] = 0
    assert 1 - density.sum() * (grid[1] - grid[0]) == pytest.approx(kind.tail(2.0), abs=2e-3)
