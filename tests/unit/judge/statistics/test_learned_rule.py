"""How far from what was learned may a healthy unit lie: the rule by itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpcaccept.judge.statistics.learned_rule import Law, centre_scatter, fleet_against_class, laws_of
from hpcaccept.judge.statistics.peer_rule import WIDTHS_IN_FLOOR, chance_of_each
from hpcaccept.judge.statistics.student_t import t_tail
from hpcaccept.judge.statistics.tail import HEAVIEST, width_of_tail

FLOOR = 0.02
USUAL = FLOOR / WIDTHS_IN_FLOOR


def deviations(
    rng: np.random.Generator, units: int, metrics: int, width: float, df: float = math.inf
) -> list[np.ndarray]:
    """Of each metric, relative to its median; ``width`` times what the class lets expect."""
    drawn = rng.standard_normal((metrics, units)) if math.isinf(df) else rng.standard_t(df, (metrics, units)) / 1.291
    value = 1 + width * USUAL * drawn
    return list(value / np.median(value, axis=1, keepdims=True) - 1)


def test_the_chances_of_all_values_together_are_the_stated_one() -> None:
    each = chance_of_each(15_360, 0.01)
    assert 1 - (1 - each) ** 15_360 == pytest.approx(0.01)
    assert chance_of_each(1, 0.01) == pytest.approx(0.01)
    assert chance_of_each(0, 0.01) == pytest.approx(0.01), "nothing is compared: no division by nothing"


@pytest.mark.parametrize("width", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("units", [3, 4, 8, 16, 64])
def test_a_further_healthy_unit_lies_beyond_as_often_as_was_stated_or_less(units: int, width: float) -> None:
    """One value in a thousand is asked for; 20,000 further units for each of 40 fleets of 5 metrics. The centre and the width are shared by all of
    them, so that fleets differ, and it is the mean over fleets that the chance is about.
    """
    rng = np.random.default_rng([units, round(10 * width)])
    beyond, of = 0, 0
    for _ in range(40):
        value = 1 + width * USUAL * rng.standard_normal((5, units))
        center = np.median(value, axis=1, keepdims=True)
        laws = laws_of(list(value / center - 1), [FLOOR] * 5, [0.0] * 5)
        further = (1 + width * USUAL * rng.standard_normal((5, 20_000))) / center - 1
        limits = np.array([law.loss_at(1e-3) for law in laws])[:, None]
        beyond, of = beyond + int((further < -limits).sum()), of + further.size
    assert beyond / of < 1.6e-3


def test_more_values_and_fewer_units_put_the_limit_further_out() -> None:
    rng = np.random.default_rng(5)
    few, many = (laws_of(deviations(rng, units, 5, 1.0), [FLOOR] * 5, [0.0] * 5)[0] for units in (4, 512))
    for law in (few, many):
        assert law.loss_at(1e-7) > law.loss_at(1e-3) > 0
    assert few.loss_at(1e-5) > many.loss_at(1e-5)


def test_units_that_are_all_equal_are_given_the_width_of_their_class() -> None:
    (law,) = laws_of([np.zeros(4)], [FLOOR], [0.0])
    assert 0.8 * USUAL < law.width < 1.3 * USUAL
    assert law.freedom == pytest.approx(16 + 2.9)


def test_a_width_that_the_class_does_not_let_expect_is_believed_alone() -> None:
    one = np.array([-0.2, -0.1, 0.0, 0.1, 0.2, -0.15, 0.15, 0.05])
    laws = laws_of([one, *([np.linspace(-USUAL, USUAL, 8)] * 6)], [FLOOR] * 7, [0.0] * 7)
    assert laws[0].freedom < 16 < laws[1].freedom
    assert laws[0].width > 0.1


def test_what_all_metrics_show_is_what_the_class_means() -> None:
    ratios, freedom = np.array([2.0] * 9 + [0.5]), np.full(10, 20.0)
    assert fleet_against_class(ratios, freedom) == pytest.approx(2.0, rel=0.05)
    assert fleet_against_class(ratios / 4, freedom) == 1.0, "a quiet fleet is not asked for more than the class"
    assert fleet_against_class(np.array([9.0]), np.array([0.5])) == 1.0, "one unit has no width"


def test_numbers_of_all_ranks_together_say_nothing_of_each_other() -> None:
    wide = [np.array([-0.02, 0.0, 0.02, 0.01])] * 5
    apart, together = (
        laws_of([*wide, np.zeros(4)], [FLOOR] * 6, [0.0] * 6, of_a_fleet=fleet)[-1].width for fleet in (False, True)
    )
    assert apart < together


@pytest.mark.parametrize(("units", "metrics"), [(512, 5), (64, 30), (32, 30)])
def test_heavy_tails_of_the_fleet_are_read_off_all_its_metrics(units: int, metrics: int) -> None:
    """Of t(5) in 20 fleets nearly always, of normal noise hardly ever."""
    rng = np.random.default_rng(units)
    found = {
        df: sum(
            laws_of(deviations(rng, units, metrics, 1.0, df), [FLOOR] * metrics, [0.0] * metrics)[0].tail > 0.5
            for _ in range(20)
        )
        for df in (5.0, math.inf)
    }
    assert found[5.0] >= 18
    assert found[math.inf] <= 2


def test_one_slow_unit_that_was_vouched_for_is_no_tail() -> None:
    rng = np.random.default_rng(8)
    of = deviations(rng, 64, 30, 1.0)
    of[3][7] = -0.10
    assert laws_of(of, [FLOOR] * 30, [0.0] * 30)[0].tail < 1e-6


def test_a_heavy_tail_puts_the_limit_further_out() -> None:
    normal, doubtful, heavy = (Law(0.005, 100.0, tail).loss_at(1e-5) for tail in (0.0, 0.1, 1.0))
    assert normal < 0.8 * doubtful < 0.8 * heavy
    assert heavy > 2 * normal


def test_the_limit_of_a_mixture_is_beyond_what_its_chance_says() -> None:
    """Of a million units, a tenth of which are of a t(5) whose robust width is 1."""
    rng = np.random.default_rng(11)
    drawn = np.where(
        rng.random(1_000_000) < 0.1, rng.standard_t(5, 1_000_000) / width_of_tail(5.0), rng.standard_normal(1_000_000)
    )
    limit = Law(1.0, math.inf, 0.1).loss_at(1e-3)
    assert (drawn > limit).mean() == pytest.approx(1e-3, rel=0.1)


@pytest.mark.parametrize(("units", "metrics"), [(4, 5), (8, 30), (12, 5)])
def test_few_units_leave_the_chance_of_heavy_tails_where_it_was(units: int, metrics: int) -> None:
    rng = np.random.default_rng(12)
    laws = laws_of(deviations(rng, units, metrics, 1.0), [FLOOR] * metrics, [0.0] * metrics)
    assert {law.tail for law in laws} == {0.1}
    runs = laws_of(deviations(rng, units, metrics, 1.0), [FLOOR] * metrics, [0.0] * metrics, of_a_fleet=False)
    assert {law.tail for law in runs} == {0.0}, "runs of all ranks together are no units"


@pytest.mark.parametrize(("units", "share"), [(1, 1.0), (4, math.pi / 8), (400, math.pi / 800)])
def test_the_centre_scatters_as_a_median_does(units: int, share: float) -> None:
    law = Law(USUAL * math.sqrt(1 + share), 20.0)
    assert centre_scatter(law, units) == pytest.approx(USUAL * math.sqrt(share))


def test_no_metric_no_law() -> None:
    assert laws_of([], [], []) == []


@pytest.mark.parametrize("chance", [1e-2, 1e-4, 1e-7])
@pytest.mark.parametrize(("freedom", "tail"), [(8.0, 0.1), (60.0, 0.5), (1e6, 0.9)])
def test_beyond_a_limit_lies_the_mixture_s_share_of_both_laws(chance: float, freedom: float, tail: float) -> None:
    at = Law(0.01, freedom, tail).loss_at(chance) / 0.01
    heavy = t_tail(at * width_of_tail(HEAVIEST), HEAVIEST)
    assert (1 - tail) * t_tail(at, freedom) + tail * heavy == pytest.approx(chance, rel=1e-6)
