"""How wide the units of a run are, told by all of its comparisons."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.detection.widths import few
from hpcaccept.judge.statistics.peer_rule import Peers
from hpcaccept.judge.statistics.run_width import Told, freedom, mean_square, wider_than_class


def told(count: int, metrics: int, width: float, seed: int = 1, *, slow: float = 0.0) -> list[Told]:
    """Metrics of so many units (one a node), in class widths; the first one is slower in all."""
    dice = np.random.default_rng(seed)
    found = []
    for number in range(metrics):
        value = 100 + width * dice.standard_normal(count)
        value[0] -= slow
        peers = Peers.of(value, True)
        gain = -peers.loss * 100
        fast = np.where(gain > 0, gain**2 / (1 + np.pi / 2 / (count - 1)), np.nan)
        found.append(Told(f"check{number}", count - 1, (peers.sigma * 100) ** 2, fast))
    return found


@pytest.mark.parametrize("count", [3, 4, 8, 16])
@pytest.mark.parametrize("width", [1.0, 2.0, 4.0])
def test_thirty_metrics_tell_how_wide_the_units_are(count: int, width: float) -> None:
    wider, _, square = wider_than_class(told(count, 30, width))
    assert np.sqrt(np.median(square)) == pytest.approx(width, rel=0.25)
    # Three units are two degrees of freedom: the class still counts.
    assert np.median(wider) == pytest.approx(width, rel=0.3)


def test_quiet_units_are_judged_by_their_class() -> None:
    assert (wider_than_class(told(8, 30, 0.5))[0] == 1).all()


def test_a_node_that_is_slow_in_everything_is_no_evidence_against_itself() -> None:
    wider, _, _ = wider_than_class(told(3, 30, 1.0, slow=20.0))
    assert wider[:, 0].max() < 1.5
    assert wider[:, 1:].min() > 3


def test_one_metric_with_a_faulty_unit_hides_no_fault_in_another() -> None:
    found = told(8, 6, 1.0)
    found[0] = told(8, 1, 1.0, slow=50.0)[0]
    assert np.median(wider_than_class(found)[0][1:]) < 1.6


def test_few_metrics_are_less_sure_than_many() -> None:
    few, many = (wider_than_class(told(3, metrics, 2.0))[1] for metrics in (3, 30))
    assert few.max() < many.min()


def test_one_comparison_has_only_its_class() -> None:
    wider, df, square = wider_than_class(told(3, 1, 5.0))
    assert (wider == 1).all()
    assert np.isnan(square).all()
    assert (df > 4).all()


def test_variants_of_one_check_count_for_few_metrics() -> None:
    alike = [Told("matmul", one.others, one.square, one.fast) for one in told(3, 30, 2.0)]
    assert wider_than_class(alike)[1].max() < wider_than_class(told(3, 30, 2.0))[1].min()


@pytest.mark.parametrize("others", [2, 3, 4, 5, 6, 7, 8, 12, 24, 64])
def test_mean_square_and_degrees_of_freedom_are_those_of_simulated_widths(others: int) -> None:
    mean, df = few(others, 60_000)
    assert mean == pytest.approx(mean_square(others), rel=0.03)
    assert df == pytest.approx(freedom(others), rel=0.05 if others < 8 else 0.1)


def test_few_values_have_the_numbers_that_a_million_draws_of_each_gave() -> None:
    assert [mean_square(others) for others in range(2, 8)] == [1.286, 1.281, 1.278, 1.238, 1.183, 1.152]
    assert [freedom(others) for others in range(2, 8)] == [1.0, 2.0, 3.0, 3.8, 4.4, 5.1]
    assert mean_square(8) == pytest.approx(1 + 1.05 / 8)
    assert freedom(8) == pytest.approx(5.8)
