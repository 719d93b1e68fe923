"""hpcaccept.judge.statistics.history_rule: slower than it used to be, suddenly or slowly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from hpcaccept.judge.statistics.history_rule import ComparedWithPast, Repeats, compare_with_past, levelled, one_offs
from hpcaccept.judge.statistics.peer_rule import cut

Floats = npt.NDArray[np.float64]
FLOORS = (0.0025, 0.005)


def series(runs: int, subjects: int, sigma: float = 0.002, seed: int = 1) -> Floats:
    """Units that differ by 2 %, and repeat themselves within sigma."""
    rng = np.random.default_rng(seed)
    return np.asarray((1 + 0.02 * rng.standard_normal(subjects)) * (1 + sigma * rng.standard_normal((runs, subjects))))


def failed(found: ComparedWithPast) -> list[int]:
    rows: list[int] = np.flatnonzero(found.compared.loss > found.compared.fail_at).tolist()
    return rows


# --- one run against the past -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("higher", [True, False])
def test_two_percent_are_found_although_subjects_differ_by_more(higher: bool) -> None:
    runs = series(6, 64)
    runs[-1, 9] *= 0.98 if higher else 1.02
    found = compare_with_past(runs[:5], runs[5], higher, FLOORS, cut(64, 0.01))
    assert failed(found) == [9]
    assert found.compared.loss[9] == pytest.approx(0.02, abs=0.005)


def test_too_short_a_past_says_nothing() -> None:
    runs = series(6, 4)
    runs[:2, 1] = np.nan
    runs[5] = 0.1
    found = compare_with_past(runs[:5], runs[5], True, FLOORS, 4.0)
    assert np.isnan(found.compared.center[1])
    assert found.compared.fail_at[1] == np.inf
    assert failed(found) == [0, 2, 3]


def test_nobody_has_a_past() -> None:
    found = compare_with_past(np.full((3, 5), np.nan), np.ones(5), True, FLOORS, 4.0)
    assert np.isnan(found.compared.loss).all()
    assert np.isinf(found.compared.fail_at).all()
    assert (compare_with_past(np.empty((0, 2)), np.ones(2), True, FLOORS, 4.0).compared.fail_at == np.inf).all()


def test_one_bad_night_in_the_past_hides_nothing() -> None:
    runs = series(7, 64)
    runs[2, 9] *= 0.8
    runs[-1, 9] *= 0.98
    z = cut(64, 0.01)
    # What went by once in six runs of these units is no evidence the first time; in the second run it is.
    assert failed(compare_with_past(runs[:6], runs[6], True, FLOORS, z)) == []
    runs[-2, 9] *= 0.98
    assert failed(compare_with_past(runs[:6], runs[6], True, FLOORS, z)) == [9]


@pytest.mark.parametrize(("floor", "told"), [(0.005, True), (0.05, False)])
def test_a_loss_of_a_quarter_is_told_at_once_whatever_went_by(floor: float, told: bool) -> None:
    runs = series(7, 64)
    runs[2, 20:24] *= 0.7
    runs[-1, 9] *= 0.7
    found = compare_with_past(runs[:6], runs[6], True, (floor / 2, floor), cut(64, 0.01))
    assert failed(found) == ([9] if told else []), "storage varies by more"


def test_widths_of_like_subjects_are_put_together() -> None:
    # Five runs that happen to agree do not make a unit exact: its limit is near that of the others.
    runs = series(5, 64)
    runs[:, 3] = 1.0
    found = compare_with_past(runs, np.ones(64), True, (0.0, 0.0), 4.0)
    assert found.compared.fail_at[3] > 0.5 * np.median(found.compared.fail_at)


def test_a_restless_subject_keeps_a_wider_limit() -> None:
    runs = series(40, 64)
    runs[:, 3] = 1 + 0.02 * np.random.default_rng(2).standard_normal(40)
    found = compare_with_past(runs, np.ones(64), True, (0.0, 0.0), 4.0)
    assert found.compared.fail_at[3] > 3 * np.median(found.compared.fail_at)


def noise(kind: str, runs: int, subjects: int, rng: np.random.Generator) -> Floats:
    """Run noise as wide as a normal one in the middle."""
    if kind.startswith("t("):
        return np.asarray(rng.standard_t(int(kind[2:-1]), (runs, subjects)))
    made = rng.standard_normal((runs, subjects))
    if kind == "AR(1) 0.5":
        for run in range(1, runs):
            made[run] = 0.5 * made[run - 1] + 0.75**0.5 * made[run]
    if kind == "1 % disturbed":
        made -= (rng.random(made.shape) < 0.01) * rng.uniform(15, 75, made.shape)
    return made


@pytest.mark.parametrize("runs", [5, 20])
@pytest.mark.parametrize("kind", ["normal", "t(5)", "t(3)", "1 % disturbed", "AR(1) 0.5"])
def test_the_stated_rate_is_held_whatever_the_noise(kind: str, runs: int) -> None:
    # 60 healthy fleets of 64 units, stated 10 %: 6 are expected at most; 12 are seen in one of 80 tests of a rate that is held.
    rng, z = np.random.default_rng(3), cut(64, 0.1)
    blamed = 0
    for _ in range(60):
        table = (1 + 0.02 * rng.standard_normal(64)) * (1 + 0.002 * noise(kind, runs + 1, 64, rng))
        blamed += bool(failed(compare_with_past(table[:-1], table[-1], True, (0.0, 0.0), z)))
    assert blamed <= 11


def test_the_limit_of_one_sighting_is_that_of_half_the_stated_chance() -> None:
    # Half of a chance of one in a thousand for each unit, of a normal value against the median of 20 and a width known well.
    runs = series(20, 512)
    found = compare_with_past(runs, np.ones(512), True, (0.0, 0.0), cut(1, 0.001)).compared
    assert np.median(found.fail_at) == pytest.approx(3.29 * 0.002 * 1.04, rel=0.05)


def test_a_small_loss_is_told_when_it_stays() -> None:
    """Four widths are no evidence once among 4,096 units, and are in the second run."""
    runs = series(22, 4096)
    runs[-2:, 9] = np.median(runs[:20, 9]) * (1 - 4.3 * 0.002)
    z = cut(4096, 0.01)
    assert failed(compare_with_past(runs[:-2], runs[-2], True, FLOORS, z)) == []
    assert failed(compare_with_past(runs[:-1], runs[-1], True, FLOORS, z)) == [9]


def test_what_failed_in_the_last_runs_is_a_sighting() -> None:
    runs = series(21, 4096)
    runs[-1, 9] = np.median(runs[:20, 9]) * (1 - 4.3 * 0.002)
    runs[-2, 9] = np.nan
    none = np.zeros((20, 4096), bool)
    seen = none.copy()
    seen[-1, 9] = True
    found = [compare_with_past(runs[:-1], runs[-1], True, FLOORS, cut(4096, 0.01), failed=f) for f in (none, seen)]
    assert [failed(one) for one in found] == [[], [9]]


def test_runs_that_resemble_each_other_take_more_to_blame() -> None:
    rng = np.random.default_rng(5)
    limits = []
    for kind in ("normal", "AR(1) 0.5"):
        table = 1 + 0.002 * noise(kind, 20, 256, rng)
        table[-1, 7] = 0.985  # a sighting
        limits.append(
            compare_with_past(table, np.full(256, 0.985), True, (0.0, 0.0), cut(256, 0.01)).compared.fail_at[7]
        )
    assert limits[1] > 1.1 * limits[0]


@pytest.mark.parametrize("higher", [True, False])
def test_a_new_driver_that_moves_units_unequally_widens_the_limits(higher: bool) -> None:
    rng = np.random.default_rng(6)
    runs = 1 + 0.001 * rng.standard_normal((10, 64))
    moved = (0.97 if higher else 1.03) * (1 + 0.004 * rng.standard_normal(64))
    found = compare_with_past(runs, moved, higher, FLOORS, cut(64, 0.01), moved=True)
    assert failed(found) == []
    assert found.shift == pytest.approx(-0.03 if higher else 0.03, abs=0.002)
    equal = compare_with_past(runs, np.full(64, 0.97), higher, FLOORS, cut(64, 0.01), moved=True)
    assert np.median(found.compared.fail_at) > 2 * np.median(equal.compared.fail_at)


def test_a_new_driver_that_moves_few_units_unequally_blames_none_of_them() -> None:
    """32 units tell roughly how unequally: 1 of 10 nights blamed somebody when the width was taken for known."""
    blamed = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        runs = 1 + 0.002 * rng.standard_normal((20, 32))
        moved = 0.99 * (1 + 0.003 * rng.standard_normal(32)) * (1 + 0.002 * rng.standard_normal(32))
        found = compare_with_past(runs, moved, True, FLOORS, cut(160, 0.0025), moved=True, first_look=True)
        blamed += bool(failed(found))
    assert blamed <= 1


def test_a_first_look_takes_one_sighting_whatever_went_by() -> None:
    runs = series(20, 64)
    runs[[3, 9, 14], [5, 11, 20]] *= 0.9
    now = np.median(runs, axis=0)
    now[7] *= 0.98
    looks = [
        compare_with_past(runs, now, True, FLOORS, cut(64, 0.01), first_look=first, gone_by=(3, runs.size))
        for first in (False, True)
    ]
    assert [failed(look) for look in looks] == [[], [7]]


def test_the_unit_of_measure_changes_nothing() -> None:
    runs = series(6, 20)
    one, other = (compare_with_past(runs[:5] * s, runs[5] * s, True, FLOORS, 4.0).compared for s in (1.0, 3e12))
    np.testing.assert_allclose(one.loss, other.loss, atol=1e-9)
    np.testing.assert_allclose(one.fail_at, other.fail_at, rtol=1e-6)


def test_what_was_low_once_and_went_by_is_counted_among_all_values() -> None:
    past, now = series(12, 64), series(13, 64)[-1]
    z = cut(64, 0.01)
    known = Repeats.of(past, FLOORS[1])
    before = one_offs(known, past, now, True, z)
    assert before == (0, 12 * 64)
    past[4, 7] *= 0.9
    past[6, 9] *= 1.1
    past[2, 3] = np.nan
    assert one_offs(Repeats.of(past, FLOORS[1]), past, now, True, z) == (1, 12 * 64 - 1)
    assert one_offs(Repeats.of(past, FLOORS[1]), past, now, False, z) == (1, 12 * 64 - 1)


def test_a_run_in_which_nobody_reached_anything_says_nothing_of_the_others() -> None:
    runs = np.full((8, 8), 100.0) * np.linspace(1.0, 1.07, 8)[:, None]
    runs[2] = 0.0
    found = levelled(runs)
    assert (found[2] == 0).all()
    assert np.delete(found, 2, axis=0) == pytest.approx(np.full((7, 8), 107.0))
