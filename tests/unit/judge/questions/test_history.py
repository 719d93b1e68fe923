"""Slower than it used to be? Who is, who is not, and what a new driver does to everybody."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.builders import CATALOGUE, UNIQUE, every, evidence, fleet, nodes, of, plan, record, where

from hpcaccept.judge import Judgement, judge
from hpcaccept.judge.questions.history import _Question, suspected_by_past
from hpcaccept.judge.questions.offenders import offenders
from hpcaccept.judge.statistics.aggregate import values_of
from hpcaccept.judge.statistics.grouping import alike_of
from hpcaccept.model.history import FAILED, PASSED, Past, PastRun, environment_digest
from hpcaccept.model.verdict import CODE, Outcome, Verdict

if TYPE_CHECKING:
    from hpcaccept.model.evidence import Evidence

KEY = "speed.rate_flops"
ENVIRONMENT = {"driver": "550.54"}


def past(values: np.ndarray, *, facts: dict[str, str] | None = None, outcomes: np.ndarray | None = None) -> Past:
    """float64[r, u] of node0, node1, …, one run a day."""
    runs, subjects = values.shape
    facts = facts or {}
    return Past(
        runs=tuple(
            PastRun(
                f"run-{i}", f"2026-{10 + i // 30}-{i % 30 + 1:02d}T02:00:00+00:00", environment_digest(facts), "test"
            )
            for i in range(runs)
        ),
        subjects=tuple(f"{node}/cuda:0" for node in nodes(subjects)),
        values={KEY: values},
        outcomes={} if outcomes is None else {KEY: outcomes.astype(np.uint8)},
        facts=(facts,) * runs if facts else (),
    )


def steady(runs: int = 8, subjects: int = 8, rate: float = 100.0, width: float = 0.001) -> np.ndarray:
    """What healthy units repeat: within a tenth of a percent."""
    return np.asarray(rate * (1 + width * np.random.default_rng(4).standard_normal((runs, subjects))))


def now(rates: list[float], *, launches: int = 1, driver: str = "") -> Evidence:
    """A run of these rates; the same in each launch."""
    records = [
        record("speed", f"node{i}", {"rate_flops": rate, "wrong_elements": 0}, step=f"{launch:02d}")
        for launch in range(launches)
        for i, rate in enumerate(rates)
    ]
    if driver:
        records += [record("identity", node, {"cores": 8}, facts={"driver": driver}) for node in nodes(len(rates))]
    return evidence(records, plan(nodes=len(rates)))


def judged(found: Evidence, before: Past | None) -> Judgement:
    return judge(found, CATALOGUE, {}, UNIQUE, before)


def said(judgement: Judgement) -> list[Verdict]:
    return [v for v in every(judgement) if v.question == "history"]


def one_slow(loss: float, subjects: int = 8) -> list[float]:
    return [100.0] * (subjects - 1) + [100.0 * (1 - loss)]


def test_a_small_loss_that_no_peer_could_show_is_a_fail_against_the_own_past() -> None:
    judgement = judged(now(one_slow(0.02), launches=2), past(steady()))
    (fail,) = of(said(judgement), Outcome.FAIL)
    assert fail.subject.node == "node7"
    assert fail.limit is not None
    assert fail.limit.origin == "history"
    assert "own median of 8 earlier runs" in fail.reason
    assert fail.remedy
    assert judgement.exit_code == 1
    assert where([v for v in every(judgement) if v.question == "peers"], Outcome.FAIL) == set()


def test_what_was_seen_in_one_launch_only_is_a_warning() -> None:
    (warning,) = of(said(judged(now(one_slow(0.02)), past(steady()))), Outcome.WARN)
    assert warning.subject.node == "node7"
    assert "seen in one launch only" in warning.reason


def test_what_was_so_in_the_run_before_too_is_a_fail() -> None:
    before = steady(9)
    before[-1, 7] = 98.0
    assert where(said(judged(now(one_slow(0.02)), past(before))), Outcome.FAIL) == {"node7"}


def test_what_failed_in_the_run_before_too_is_a_fail_although_its_value_is_not_taken_for_normal() -> None:
    before, outcomes = steady(9), np.full((9, 8), PASSED)
    before[-1, 7], outcomes[-1, 7] = np.nan, FAILED
    assert where(said(judged(now(one_slow(0.02)), past(before, outcomes=outcomes))), Outcome.FAIL) == {"node7"}


def test_healthy_subjects_pass_and_the_number_of_comparisons_is_stated() -> None:
    judgement = judged(now([100.0] * 8, launches=2), past(steady()))
    assert {v.outcome for v in said(judgement)} == {Outcome.PASS}
    sensitivity = judgement.sensitivity["history"]
    assert (sensitivity.comparisons, sensitivity.fewest, sensitivity.false_alarm_rate) == (8, 8, 0.0025)
    assert sensitivity.smallest_loss is not None
    assert sensitivity.smallest_loss[0] < 0.02


def test_without_a_past_nothing_is_asked_of_it() -> None:
    judgement = judged(now([100.0] * 4), None)
    assert said(judgement) == []
    assert "history" not in judgement.sensitivity


@pytest.mark.parametrize("runs", [1, 4])
def test_a_short_past_says_nothing(runs: int) -> None:
    assert said(judged(now(one_slow(0.5), launches=2), past(steady(runs)))) == []


def test_a_subject_without_a_past_is_not_judged_by_that_of_others() -> None:
    before = past(steady(8, 7))
    assert "node7" not in {v.subject.node for v in said(judged(now(one_slow(0.5), launches=2), before))}


@pytest.mark.parametrize(
    "numbers", [[0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 7, 8]], ids=["swapped", "one left, one new"]
)
def test_each_unit_is_compared_with_its_own_past_whatever_the_order_of_the_nodes(numbers: list[int]) -> None:
    """In the past node2 and node3 stand the other way round, and every unit has a speed of its own."""
    speeds = {node: 100.0 + 10 * i for i, node in enumerate(nodes(9))}
    of_old = [f"node{i}" for i in (0, 1, 3, 2, 4, 5, 6, 7)]
    table = steady() * [speeds[node] / 100 for node in of_old]
    before = replace(past(table), subjects=tuple(f"{node}/cuda:0" for node in of_old))
    names = tuple(f"node{i}" for i in numbers)
    for slow in (None, "node2", "node7"):
        records = [
            record("speed", n, {"rate_flops": speeds[n] * (0.98 if n == slow else 1), "wrong_elements": 0}, step=launch)
            for launch in ("00", "01")
            for n in names
        ]
        found = said(judged(evidence(records, plan(nodes=8), names=names), before))
        assert {v.subject.node for v in found} == set(names) - {"node8"}
        assert {v.subject.node for v in found if v.outcome is not Outcome.PASS} == ({slow} if slow else set())


def test_a_subject_that_got_faster_is_not_blamed() -> None:
    assert {v.outcome for v in said(judged(now(one_slow(-0.3), launches=2), past(steady())))} == {Outcome.PASS}


def test_a_slow_decline_is_a_warning_that_says_since_when() -> None:
    before = steady(20)
    before[:, 7] *= 1 - 0.0012 * np.arange(20).clip(min=8) + 0.0012 * 8
    rates = [100.0] * 7 + [before[-1, 7]]
    judgement = judged(now(rates), past(before))
    warnings = of(said(judgement), Outcome.WARN)
    assert {v.subject.node for v in warnings} == {"node7"}
    assert warnings[0].reason.endswith("1.4% since 2026-10-10"), "a day, and no instant"


def test_who_is_better_today_than_ever_does_not_decline() -> None:
    before = steady(20)
    before[5:, 7] *= 1 - 0.002 * np.arange(15)
    rates = [100.0] * 7 + [100.3]
    assert {v.outcome for v in said(judged(now(rates), past(before)))} == {Outcome.PASS}


def test_a_fleet_that_rises_does_not_decline() -> None:
    before = steady(20, subjects=32, width=0.004) * (1 + 0.001 * np.arange(20))[:, None]
    rates = (before[-1] * 1.001).tolist()
    assert {v.outcome for v in said(judged(now(rates), past(before)))} == {Outcome.PASS}


def test_a_healthy_fleet_with_wide_noise_stays_green() -> None:
    """128 units, noise of 0.4 % where 1 % is a loss, five to eight runs: each tenth of them was a "slow decline" once."""
    rng = np.random.default_rng(11)
    told = 0
    for runs in (5, 6, 7, 8):
        table = 100 * (1 + 0.004 * rng.standard_normal((runs + 1, 128)))
        judgement = judged(now(table[-1].tolist()), past(table[:-1]))
        told += len(of(said(judgement), Outcome.WARN)) + len(of(said(judgement), Outcome.FAIL))
    assert told == 0


def test_a_decline_of_half_a_sigma_per_run_finds_its_subject() -> None:
    before = steady(40, subjects=32, width=0.002)
    before[:, 7] *= 1 - 0.0006 * np.arange(40).clip(min=15) + 0.0006 * 15
    judgement = judged(now([100.0] * 7 + [before[-1, 7]] + [100.0] * 24), past(before))
    assert {v.subject.node for v in said(judgement) if v.outcome is not Outcome.PASS} == {"node7"}


def test_a_subject_that_failed_again_and_again_is_named_whatever_it_does_today() -> None:
    outcomes = np.full((8, 8), PASSED)
    outcomes[[2, 5], 3] = FAILED
    judgement = judged(now([100.0] * 8), past(steady(), outcomes=outcomes))
    (warning,) = of(said(judgement), Outcome.WARN)
    assert warning.subject.node == "node3"
    assert "failed in 2 of its last 8 runs, at last in run-5 (2026-10-06)" in warning.reason
    assert judgement.exit_code == 3, "in doubt is neither accepted nor failed"


@pytest.mark.parametrize(
    ("runs", "subjects", "needed"), [(20, 1, 3), (20, 8, 3), (20, 16, 2), (20, 32_768, 2), (8, 8, 2), (200, 8, 4)]
)
def test_an_offender_failed_in_more_runs_than_chance_makes_of_so_few_units(
    runs: int, subjects: int, needed: int
) -> None:
    outcomes = np.full((runs, subjects), PASSED)
    place = np.arange(subjects)
    for failures, offender in ((needed - 1, False), (needed, True)):
        outcomes[:failures, 0] = FAILED
        before = past(np.full((runs, subjects), 100.0), outcomes=outcomes)
        assert bool(offenders(before, place, 0.00125, 0.01)) is offender


def test_who_failed_in_every_run_is_an_offender_however_little_the_rate_leaves() -> None:
    before = past(np.full((3, 1), 100.0), outcomes=np.full((3, 1), FAILED))
    assert offenders(before, np.arange(1), 1e-9, 0.5)
    assert not offenders(
        past(np.full((3, 1), 100.0), outcomes=np.array([[FAILED], [PASSED], [FAILED]])), np.arange(1), 1e-9, 0.5
    )


def test_one_failed_run_makes_no_offender() -> None:
    outcomes = np.full((8, 8), PASSED)
    outcomes[2, 3] = FAILED
    assert of(said(judged(now([100.0] * 8), past(steady(), outcomes=outcomes))), Outcome.WARN) == []


# --- launches -----------------------------------------------------------------------------------------------------------


def test_a_past_of_the_best_of_three_launches_is_no_reason_to_doubt_one() -> None:
    """Noise of 0.3 % where half a percent is a loss: the best of three is a quarter of a percent above one."""
    rng, told = np.random.default_rng(5), []
    for _ in range(10):
        best = 100 * (1 + 0.003 * rng.standard_normal((20, 3, 32)).max(axis=1))
        rates = (100 * (1 + 0.003 * rng.standard_normal(32))).tolist()
        before = past(best)
        several = replace(before, launches={KEY: np.full(best.shape, 3, np.uint8)})
        told.append(
            [sum(v.outcome is not Outcome.PASS for v in said(judged(now(rates), one))) for one in (several, before)]
        )
    with_launches, without = np.sum(told, axis=0)
    assert with_launches == 0
    assert without > 0, "nobody knows of how many launches the old values are the best"


def test_a_first_look_suspects_who_is_low_once_whatever_went_by() -> None:
    """Each eighth unit had a bad night: low once is no evidence against anybody, and is launched again all the same."""
    before = steady(12, 16)
    before[[2, 5], [3, 9]] *= 0.9
    found = now(one_slow(0.02, 16))
    assert of(said(judged(found, past(before))), Outcome.WARN) == []
    values = values_of(found.samples, CATALOGUE)
    (answer,) = suspected_by_past(found, values, alike_of(found.samples.subjects), past(before))
    assert [found.samples.subjects[s].node for s in answer.subject[answer.outcome != CODE[Outcome.PASS]]] == ["node15"]


def test_numbers_of_few_digits_blame_nobody_for_a_step() -> None:
    before = np.round(steady(20, 32, width=0.0004) * 3.35 / 100, 2)
    rates = np.full(32, 3.35)
    rates[5] = 3.34
    judgement = judged(now(rates.tolist()), past(before))
    assert {v.outcome for v in said(judgement)} == {Outcome.PASS}


# --- the environment --------------------------------------------------------------------------------------------------


def test_what_a_new_driver_costs_everybody_is_said_once_and_blamed_on_nobody() -> None:
    judgement = judged(now([97.9] * 8, launches=2, driver="570.10"), past(steady(), facts=ENVIRONMENT))
    assert of(said(judgement), Outcome.FAIL) == []
    (note,) = judgement.notes
    assert "driver 550.54 → 570.10" in note
    assert "-2.1%" in note


def test_what_a_new_driver_costs_everybody_is_a_warning_of_the_run_that_says_what_changed() -> None:
    judgement = judged(now([80.0] * 8, launches=2, driver="570.10"), past(steady(), facts=ENVIRONMENT))
    (warning,) = of(said(judgement), Outcome.WARN)
    assert warning.subject.node == ""
    assert "all 8 units together" in warning.reason
    assert "-20.0%" in warning.reason
    assert "driver 550.54 → 570.10" in warning.reason
    assert warning.remedy
    assert judgement.exit_code == 3


def test_what_nobody_has_said_of_the_environment_has_not_changed() -> None:
    silent = now([97.9] * 8, launches=2)
    silent = replace(silent, records=tuple(r for r in silent.records if r.check != "identity"))
    judgement = judged(silent, past(steady(), facts=ENVIRONMENT))
    (note,) = judgement.notes
    assert note.startswith("No node of this run said in which environment it ran: ")
    assert "→" not in note


def test_of_a_run_that_has_measured_nothing_no_change_is_told() -> None:
    nothing = replace(now([97.9] * 8), records=(), samples=now([]).samples)
    assert judged(nothing, past(steady(), facts=ENVIRONMENT)).notes == ()


def test_few_runs_of_todays_environment_and_no_word_of_the_others_are_told_as_a_change() -> None:
    before = past(steady(8))
    new = environment_digest({"driver": "570.10"})
    runs = (*before.runs[:-3], *(replace(run, environment=new) for run in before.runs[-3:]))
    judgement = judged(now([100.0] * 8, driver="570.10"), replace(before, runs=runs))
    assert {v.outcome for v in said(judgement)} == {Outcome.PASS}
    assert "the past runs name none" in judgement.notes[0]


def test_it_is_so_in_the_second_run_with_the_new_driver_too() -> None:
    before = past(steady(9), facts=ENVIRONMENT)
    before.values[KEY][-1] = 80.0
    runs = (*before.runs[:-1], replace(before.runs[-1], environment=environment_digest({"driver": "570.10"})))
    judgement = judged(now([80.0] * 8, driver="570.10"), replace(before, runs=runs))
    assert [v.subject.node for v in of(said(judgement), Outcome.WARN)] == [""]


@pytest.mark.parametrize("rate", [99.8, 103.0])
def test_a_new_driver_that_costs_nothing_is_a_note(rate: float) -> None:
    judgement = judged(now([rate] * 8, launches=2, driver="570.10"), past(steady(), facts=ENVIRONMENT))
    assert {v.outcome for v in said(judgement)} == {Outcome.PASS}
    assert len(judgement.notes) == 1


def test_after_a_new_driver_nobody_declines() -> None:
    """Three runs with the new one, which costs 2 %: the last three of each unit are lower than its first ones."""
    before = past(steady(18), facts=ENVIRONMENT)
    before.values[KEY][-3:] *= 0.98
    new = environment_digest({"driver": "570.10"})
    runs = (*before.runs[:-3], *(replace(run, environment=new) for run in before.runs[-3:]))
    judgement = judged(now([98.0] * 8, driver="570.10"), replace(before, runs=runs))
    assert {v.subject.node for v in said(judgement) if v.outcome is not Outcome.PASS} == {""}


def test_who_loses_more_than_the_new_driver_costs_everybody_is_still_found() -> None:
    rates = [97.9] * 7 + [95.0]
    judgement = judged(now(rates, launches=2, driver="570.10"), past(steady(), facts=ENVIRONMENT))
    assert where(said(judgement), Outcome.FAIL) == {"node7"}


def test_with_the_same_driver_a_common_loss_is_a_loss() -> None:
    judgement = judged(now([97.9] * 8, launches=2, driver="550.54"), past(steady(), facts=ENVIRONMENT))
    assert len(of(said(judgement), Outcome.FAIL)) == 8
    assert judgement.notes == ()


def test_too_few_subjects_cannot_tell_a_new_driver_from_a_slow_subject() -> None:
    judgement = judged(now([97.9] * 2, launches=2, driver="570.10"), past(steady(8, 2), facts=ENVIRONMENT))
    assert said(judgement) == []
    assert "too few units" in judgement.notes[0]
    found, before = now([97.9] * 2, driver="570.10"), past(steady(8, 2), facts=ENVIRONMENT)
    values = values_of(found.samples, CATALOGUE)
    assert suspected_by_past(found, values, alike_of(found.samples.subjects), before) == []


def test_nobody_is_a_suspect_for_the_past_of_another_metric() -> None:
    before = past(steady())
    other = Past(before.runs, before.subjects, {"speed.latency_s": before.values[KEY]})
    assert said(judged(now(one_slow(0.5), launches=2), other)) == []


def test_the_fleet_of_other_tests_is_judged_alike_with_and_without_a_past() -> None:
    found = fleet([100.0, 100.0, 100.0, 50.0])
    without, with_one = judged(found, None), judged(found, past(steady(8, 4)))
    assert where(without.verdicts, Outcome.FAIL) <= where(with_one.verdicts, Outcome.FAIL)


def test_what_went_by_in_one_metric_makes_one_sighting_in_another_no_evidence() -> None:
    """What disturbs a launch disturbs any metric: with a bad night of each eighth unit in one, a loss in the other must be seen twice."""
    quiet, restless = past(steady(12, 16)), steady(12, 16)
    restless[[2, 5], [3, 9]] *= 0.9
    other = "speed.other_flops"
    metrics = {**CATALOGUE["speed"], "other_flops": replace(CATALOGUE["speed"]["rate_flops"], name="other_flops")}
    rates = one_slow(0.02, 16)
    records = [
        record("speed", f"node{i}", {"rate_flops": rate, "other_flops": 100.0, "wrong_elements": 0})
        for i, rate in enumerate(rates)
    ]
    catalogue = {**CATALOGUE, "speed": metrics}
    found = evidence(records, plan(nodes=16), catalogue=catalogue)
    for table, expected in ((steady(12, 16), {"node15"}), (restless, set())):
        before = replace(quiet, values={**quiet.values, other: table})
        assert where(said(judge(found, catalogue, {}, UNIQUE, before)), Outcome.WARN) == expected


# --- a loss for good ----------------------------------------------------------------------------------------------------


def test_who_failed_from_its_first_runs_on_is_not_taken_for_normal() -> None:
    """Three good runs, nine that failed, six at the same level that nobody else blamed: nobody but a person makes that normal."""
    table, outcomes = steady(18), np.full((18, 8), PASSED)
    outcomes[3:12, 7], table[3:12, 7], table[12:, 7] = FAILED, np.nan, 98.0
    judgement = judged(now(one_slow(0.02)), past(table, outcomes=outcomes))
    (waits,) = of(said(judgement), Outcome.NO_BASELINE)
    assert waits.subject.node == "node7"
    assert "failed in its earlier runs" in waits.reason
    assert "history accept node7" in waits.remedy
    assert "node7" not in {v.subject.node for v in of(said(judgement), Outcome.PASS)}
    assert waits.required
    assert judgement.exit_code == 3, "what failed, and can no longer be asked about, is not accepted"


def test_one_failed_night_leaves_the_question_answered() -> None:
    table, outcomes = steady(9), np.full((9, 8), PASSED)
    outcomes[2, 7], table[2, 7] = FAILED, np.nan
    assert of(said(judged(now([100.0] * 8), past(table, outcomes=outcomes))), Outcome.NO_BASELINE) == []


def test_the_fewest_past_values_of_any_metric_are_told() -> None:
    some = steady(8)
    some[:2, 3] = np.nan
    known = replace(past(steady(8)), values={KEY: steady(8), "speed.latency_s": some})
    records = [
        record("speed", node, {"rate_flops": 100.0, "latency_s": 100.0, "wrong_elements": 0}) for node in nodes(8)
    ]
    sensitivity = judged(evidence(records, plan(nodes=8)), known).sensitivity["history"]
    assert (sensitivity.comparisons, sensitivity.fewest) == (16, 6)


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_what_all_gained_from_run_to_run_is_taken_out_after_a_change_or_on_a_shared_machine(
    shared: bool, changed: bool
) -> None:
    runs = steady() * np.linspace(1.0, 1.2, 8)[:, None]
    changes = {"driver": ("1", "2")} if changed else {}
    this_run: Any = SimpleNamespace(shared_host=shared)
    none: Any = None
    found = _Question(this_run, none, none, changes, none, 1)._levelled(runs)
    if shared or changed:
        assert found == pytest.approx(np.broadcast_to(runs[-1], runs.shape), rel=0.01)
    else:
        assert found is runs


def test_what_changed_is_told_by_the_last_run_of_before_and_not_by_the_first_one_with_the_new_driver() -> None:
    new = {"driver": "570.10"}
    before = past(steady(9), facts=ENVIRONMENT)
    before.values[KEY][-1] = 80.0
    runs = (*before.runs[:-1], replace(before.runs[-1], environment=environment_digest(new)))
    judgement = judged(now([80.0] * 8, driver="570.10"), replace(before, runs=runs, facts=(*before.facts[:-1], new)))
    (told,) = of(said(judgement), Outcome.WARN)
    assert "550.54" in told.reason
    assert "570.10" in told.reason
