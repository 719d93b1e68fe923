"""hpcaccept.judge.statistics.peer_rule and quantile: who is too slow among its like, and how often that is wrong."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcaccept.judge.statistics.peer_rule import Compared, compare_with_peers, cut, freedom_of, most_of_class, robust
from hpcaccept.judge.statistics.student_t import normal_tail, t_quantile, t_tail

Floats = npt.NDArray[np.float64]
NO_FLOORS = (0.0, 0.0)


def compared(value: Floats, floors: tuple[float, float] = (0.02, 0.04), z: float = 4.0, per_node: int = 1) -> Compared:
    return compare_with_peers(value, True, np.arange(len(value)) // per_node, floors, z)


def noise(count: int, sigma: float, seed: int = 1) -> Floats:
    return np.asarray(1 + sigma * np.random.default_rng(seed).standard_normal(count))


def failed(found: Compared) -> list[int]:
    rows: list[int] = np.flatnonzero(found.loss > found.fail_at).tolist()
    return rows


# --- quantiles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("df", "tail", "printed"),
    # Tables of Student's t, e.g. NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
    [
        (1, 0.001, 318.309),
        (2, 0.001, 22.327),
        (5, 0.001, 5.893),
        (10, 0.001, 4.144),
        (30, 0.001, 3.385),
        (100, 0.025, 1.984),
    ],
)
def test_quantiles_of_t_are_those_of_the_tables(df: float, tail: float, printed: float) -> None:
    assert t_quantile(tail, df) == pytest.approx(printed, abs=6e-4)


@given(st.floats(1e-12, 0.49), st.floats(0.6, 2e5))
@settings(max_examples=60, deadline=None)
def test_a_quantile_has_the_tail_it_was_asked_for(tail: float, df: float) -> None:
    value = t_quantile(tail, df)
    assert value > 1e11 or t_tail(value, df) == pytest.approx(tail, rel=1e-6)


def test_many_degrees_of_freedom_are_normal() -> None:
    assert t_tail(4.0, 1e6) == pytest.approx(normal_tail(4.0), rel=1e-9)
    assert t_tail(0.0, 3.0) == 0.5


# --- the cut ----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 10**6), st.floats(1e-6, 0.5))
def test_all_comparisons_together_have_the_stated_rate(comparisons: int, rate: float) -> None:
    each = normal_tail(cut(comparisons, rate))
    assert -math.expm1(comparisons * math.log1p(-each)) == pytest.approx(rate, rel=1e-6)


# --- width ------------------------------------------------------------------------------------------------------------


def test_the_width_is_the_standard_deviation_of_normal_noise_and_hardly_moved_by_bad_subjects() -> None:
    value = noise(20_000, 0.01)
    assert robust(value[None, :])[1][0] == pytest.approx(0.01, rel=0.03)
    value[:1000] *= 0.5  # one in twenty
    assert robust(value[None, :])[1][0] == pytest.approx(0.01, rel=0.12)


def test_rows_have_the_widths_that_each_has_alone() -> None:
    table = np.random.default_rng(3).standard_normal((300, 7))
    alone = [robust(row[None, :])[1][0] for row in table]
    np.testing.assert_allclose(robust(table)[1], alone, rtol=1e-2)


# --- who is blamed ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [4, 16, 64, 512])
def test_a_subject_far_out_is_blamed_and_nobody_else(count: int) -> None:
    value = noise(count, 0.002)
    value[2] = 0.9
    assert failed(compared(value)) == [2]


@pytest.mark.parametrize("higher", [True, False])
def test_lower_is_better_is_the_mirror(higher: bool) -> None:
    value = noise(40, 0.002)
    value[7] = 0.9 if higher else 1.1
    found = compare_with_peers(value, higher, np.arange(40), (0.02, 0.04), 4.0)
    assert failed(found) == [7]
    assert found.loss[7] == pytest.approx(0.1, abs=0.005)


def test_below_the_floor_nobody_is_blamed() -> None:
    value = np.ones(100)
    value[3] = 0.97
    found = compared(value)
    assert failed(found) == []
    assert found.loss[3] > found.warn_at[3]


@given(
    st.lists(st.floats(0.5, 2.0), min_size=3, max_size=40), st.floats(1e-3, 1e12), st.booleans(), st.floats(0.001, 0.3)
)
@settings(max_examples=60, deadline=None)
def test_the_unit_of_measure_changes_nothing(values: list[float], scale: float, higher: bool, floor: float) -> None:
    value, node = np.array(values), np.arange(len(values))
    one = compare_with_peers(value, higher, node, (floor / 2, floor), 3.5)
    other = compare_with_peers(value * scale, higher, node, (floor / 2, floor), 3.5)
    np.testing.assert_allclose(one.loss, other.loss, atol=1e-9)
    np.testing.assert_allclose(one.fail_at, other.fail_at, rtol=1e-6)
    assert (one.fail_at >= floor).all()
    assert (one.warn_at <= one.fail_at).all()


def test_few_subjects_pay_with_a_wider_cut() -> None:
    cuts = []
    for count in (6, 16, 64, 4096):
        found = compared(noise(count, 0.01), NO_FLOORS)
        cuts.append(float(np.median(found.fail_at / found.sigma)))
    assert cuts[0] > cuts[1] > max(cuts[2:])
    assert cuts[-1] == pytest.approx(4.0, rel=0.02)


def test_what_is_known_of_a_class_helps_few_subjects_unless_they_contradict_it() -> None:
    quiet, wild = noise(8, 0.005), noise(8, 0.05)
    assert np.median(compared(quiet).fail_at) < np.median(compared(quiet, NO_FLOORS).fail_at)
    assert np.median(compared(wild).fail_at) == pytest.approx(np.median(compared(wild, NO_FLOORS).fail_at))


def test_a_slow_node_is_seen_by_its_middle_subject() -> None:
    # 5 % of a metric whose GPUs differ by 1.2 %: few of the eight stand out of 512 by themselves.
    value = noise(512, 0.012)
    value[80:88] *= 0.95
    node_of = np.arange(512) // 8
    by_subjects = compare_with_peers(value, True, np.arange(512), (0.015, 0.03), 5.0)
    by_nodes = compare_with_peers(value, True, node_of, (0.015, 0.03), 5.0)
    assert len(failed(by_subjects)) <= 4
    found = failed(by_nodes)
    assert len(found) >= 7
    assert set(found) <= set(range(80, 88))


def test_one_bad_gpu_is_not_its_node() -> None:
    value = noise(512, 0.002)
    value[83] = 0.5
    assert failed(compared(value, per_node=8)) == [83]


# --- heavy tails ------------------------------------------------------------------------------------------------------


def test_heavy_tails_are_read_off_the_fast_side() -> None:
    rng = np.random.default_rng(5)
    heavy, normal = 1 + 0.01 * rng.standard_t(5, 4096), 1 + 0.01 * rng.standard_normal(4096)
    wide, narrow = (compared(value, NO_FLOORS) for value in (heavy, normal))
    assert wide.fail_at[0] / wide.sigma[0] > 1.5 * narrow.fail_at[0] / narrow.sigma[0]


def test_slow_subjects_do_not_look_like_a_heavy_tail() -> None:
    value = noise(4096, 0.01)
    value[:40] *= 0.8
    assert len(failed(compared(value, NO_FLOORS, z=5.0))) == 40


# --- calibration ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subjects", [3, 4, 5, 8, 16, 64, 512])
def test_the_stated_rate_is_the_real_one_within_a_factor_of_two(subjects: int) -> None:
    # 250 healthy runs, stated 10 %: 25 are expected, 50 is more than five standard deviations above.
    rng, runs, rate = np.random.default_rng(subjects), 250, 0.1
    z, node = cut(subjects, rate), np.arange(subjects)
    blamed = 0
    for _ in range(runs):
        found = compare_with_peers(1 + 0.01 * rng.standard_normal(subjects), True, node, NO_FLOORS, z)
        blamed += bool((found.loss > found.fail_at).any())
    assert blamed <= 2 * rate * runs
    assert blamed >= rate * runs / 2


@pytest.mark.parametrize("subjects", [4, 16, 256])
def test_a_floor_of_four_widths_makes_false_alarms_rare(subjects: int) -> None:
    rng, runs = np.random.default_rng(subjects), 200
    z, node = cut(subjects, 0.01), np.arange(subjects)
    blamed = 0
    for _ in range(runs):
        found = compare_with_peers(1 + 0.01 * rng.standard_normal(subjects), True, node, (0.02, 0.04), z)
        blamed += bool((found.loss > found.fail_at).any())
    # Stated: 2 of 200. More than 8 would come by chance once in five thousand.
    assert blamed <= 8


@pytest.mark.parametrize("others", [3, 7, 16])
def test_hardly_any_healthy_width_contradicts_its_class(others: int) -> None:
    """Of three others one in a thousand; of more fewer."""
    values = np.random.default_rng(others).standard_normal((40_000, others))
    beyond = np.mean(robust(np.sort(values, axis=1))[1] > most_of_class(1.0, freedom_of(others)[0]))
    assert beyond < 0.004
    assert most_of_class(0.01, 6.0) == pytest.approx(0.01 * 4 / 3 * math.sqrt(2))


# --- edges ------------------------------------------------------------------------------------------------------------


def test_subjects_that_are_all_alike_are_all_well() -> None:
    found = compared(np.full(50, 7.0))
    assert failed(found) == []


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_fewest_subjects_give_finite_answers(count: int) -> None:
    found = compared(noise(count, 0.01))
    assert np.isfinite(found.loss).all()
    assert (found.fail_at >= 0.04).all()


def test_where_nothing_is_compared_there_is_no_cut() -> None:
    assert cut(0, 0.01) == 0.0
    assert cut(1, 0.01) > 2
