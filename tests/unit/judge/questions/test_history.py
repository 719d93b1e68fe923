"""Slower than it used to be? Who is, who is not, and what a new driver does to everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.builders import CATALOGUE, UNIQUE, every, evidence, fleet, nodes, of, plan, record, where

from hpcaccept.judge import Judgement, judge
from hpcaccept.model.history import FAILED, PASSED, Past, PastRun, environment_digest
from hpcaccept.model.verdict import Outcome, Verdict

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
    assert (sensitivity.comparisons, sensitivity.fewest, sensitivity.false_alarm_rate) == (8, 8, 0.01)
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


def test_a_subject_that_got_faster_is_not_blamed() -> None:
    assert {v.outcome for v in said(judged(now(one_slow(-0.3), launches=2), past(steady())))} == {Outcome.PASS}


def test_a_slow_decline_is_a_warning_that_says_since_when() -> None:
    before = steady(20)
    before[:, 7] *= 1 - 0.0012 * np.arange(20).clip(min=8) + 0.0012 * 8
    rates = [100.0] * 7 + [before[-1, 7]]
    judgement = judged(now(rates), past(before))
    warnings = of(said(judgement), Outcome.WARN)
    assert {v.subject.node for v in warnings} == {"node7"}
    assert "1.4% since 2026-10-10" in warnings[0].reason


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


def test_one_failed_run_makes_no_offender() -> None:
    outcomes = np.full((8, 8), PASSED)
    outcomes[2, 3] = FAILED
    assert of(said(judged(now([100.0] * 8), past(steady(), outcomes=outcomes))), Outcome.WARN) == []


# --- the environment --------------------------------------------------------------------------------------------------


def test_what_a_new_driver_costs_everybody_is_said_once_and_blamed_on_nobody() -> None:
    judgement = judged(now([97.9] * 8, launches=2, driver="570.10"), past(steady(), facts=ENVIRONMENT))
    assert of(said(judgement), Outcome.FAIL) == []
    (note,) = judgement.notes
    assert "driver 550.54 → 570.10" in note
    assert "-2.1%" in note


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


def test_nobody_is_a_suspect_for_the_past_of_another_metric() -> None:
    before = past(steady())
    other = Past(before.runs, before.subjects, {"speed.latency_s": before.values[KEY]})
    assert said(judged(now(one_slow(0.5), launches=2), other)) == []


def test_the_fleet_of_other_tests_is_judged_alike_with_and_without_a_past() -> None:
    found = fleet([100.0, 100.0, 100.0, 50.0])
    without, with_one = judged(found, None), judged(found, past(steady(8, 4)))
    assert where(without.verdicts, Outcome.FAIL) <= where(with_one.verdicts, Outcome.FAIL)
