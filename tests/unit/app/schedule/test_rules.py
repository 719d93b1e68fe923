from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from hpcaccept.app.schedule.rules import passed_s, stop_of, with_gpu_use, with_readings
from hpcaccept.model.schedule.progress import Looked, Progress, Readings
from hpcaccept.model.schedule.recipe import MetricRule, StopRules
from hpcaccept.parse.metric_log import Reading

NOW = dt.datetime(2026, 12, 1, 12, 0, tzinfo=dt.timezone.utc)
RULE = MetricRule("val_loss", pattern="(?P<value>.*)", patience=3)


def after(values: list[float], rule: MetricRule = RULE, known: Readings | None = None, first: int = 1) -> Readings:
    found = [Reading(value, float(step)) for step, value in enumerate(values, first)]
    return with_readings(known or Readings(), found, rule)


def stopped(values: list[float], rule: MetricRule = RULE) -> bool:
    progress = Progress(metric=after(values, rule))
    return stop_of(StopRules(metric=rule), progress, NOW, 0.0) is not None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], False),
        ([3, 2, 1], False),
        ([1, 2, 2], False),
        ([1, 2, 2, 2], True),
        ([1, 1, 1, 1], True),
        ([1, 2, 2, 0.9, 1, 1], False),
        ([1, float("nan"), float("nan"), float("nan")], True),
        ([float("nan")] * 4, True),
        ([float("nan"), 5, 4, 3], False),
    ],
)
def test_a_metric_that_does_not_improve_for_its_patience_stops(values: list[float], expected: bool) -> None:
    assert stopped(values) is expected


def test_more_may_be_better() -> None:
    assert stopped([0.5, 0.4, 0.4, 0.4], replace(RULE, mode="max"))
    assert not stopped([0.1, 0.2, 0.3, 0.4], replace(RULE, mode="max"))


def test_an_improvement_below_min_delta_is_none() -> None:
    assert stopped([1.0, 0.999, 0.998, 0.997], replace(RULE, min_delta=0.01))


def test_patience_counts_steps_and_not_lines() -> None:
    coarse = with_readings(Readings(), [Reading(1.0, 10.0), Reading(1.0, 20.0)], replace(RULE, patience=10))
    assert stop_of(StopRules(metric=replace(RULE, patience=10)), Progress(metric=coarse), NOW, 0.0)


def test_steps_that_come_again_after_a_pause_do_not_count_twice() -> None:
    known = after([1.0, 1.1, 1.2])
    again = after([1.1, 1.2], known=known, first=2)
    assert stop_of(StopRules(metric=RULE), Progress(metric=again), NOW, 0.0) is None


def test_the_evidence_names_best_last_and_steps() -> None:
    stop = stop_of(StopRules(metric=RULE), Progress(metric=after([1, 2, 2, 2])), NOW, 0.0)
    assert stop
    assert stop.rule == "metric val_loss (min) does not improve for 3 steps"
    assert stop.evidence == "best 1 at step 1, none better by more than 0 up to step 4 (last: 2)"


@pytest.mark.parametrize(
    ("rules", "progress", "word"),
    [
        (StopRules(deadline="2026-12-01T13:00+01:00"), Progress(), "deadline"),
        (StopRules(max_hours=2), Progress(ran_s=7200), "max_hours"),
        (StopRules(max_usd=1), Progress(usd=0.4), "max_usd"),
        (StopRules(idle_gpu_minutes=10), Progress(idle_s=600), "idle_gpu_minutes"),
    ],
)
def test_each_rule_stops_at_its_limit(rules: StopRules, progress: Progress, word: str) -> None:
    stop = stop_of(rules, progress, NOW, 0.6)
    assert stop
    assert stop.rule.startswith(word)
    assert stop.evidence
    before = replace(progress, ran_s=progress.ran_s - 1, usd=progress.usd - 0.01, idle_s=progress.idle_s - 1)
    assert stop_of(rules, before, NOW - dt.timedelta(seconds=1), 0.6) is None


def test_a_used_gpu_ends_idleness() -> None:
    idle = with_gpu_use(Progress(), [(15, 0), (15, 3)])
    assert idle.idle_s == 30
    assert with_gpu_use(idle, [(15, 80), (15, 0)]).idle_s == 15


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (None, Looked(1000, "a", 10), 0.0),
        (Looked(1000, "a", 10), Looked(1060, "a", 70), 60.0),
        # The wall clock jumps, forwards and backwards; the boot's own clock does not.
        (Looked(1000, "a", 10), Looked(90_000, "a", 70), 60.0),
        (Looked(1000, "a", 10), Looked(10, "a", 70), 60.0),
        (Looked(1000, "a", 5000), Looked(1060, "b", 5), 60.0),
        (Looked(1000, "a", 5000), Looked(900, "b", 5), 0.0),
    ],
)
def test_time_passes_by_the_clock_that_nobody_sets(before: Looked | None, now: Looked, expected: float) -> None:
    assert passed_s(before, now) == expected
