"""Slower than its device model is known to be? And what a run teaches."""

from __future__ import annotations

import random
from dataclasses import replace
from statistics import NormalDist
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.builders import (
    CATALOGUE,
    H100,
    baseline,
    entry,
    every,
    evidence,
    fleet,
    judged,
    nodes,
    of,
    plan,
    record,
    suite,
)

from hpcaccept.judge.baseline.learn import learn, suspects
from hpcaccept.judge.statistics.aggregate import values_of
from hpcaccept.judge.statistics.learned_rule import Law
from hpcaccept.judge.statistics.peer_rule import chance_of_each, cut
from hpcaccept.model.baseline import Baseline, BaselineEntry, Peak
from hpcaccept.model.suite import CheckSpec, Suite
from hpcaccept.model.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from hpcaccept.model.evidence import Evidence

SETTING = "8 threads, all at once"


def verdicts(
    rate: float = 95.0, known: Baseline | None = None, the_suite: Suite | None = None, **more: object
) -> list[Verdict]:
    """Against the baseline alone, of one node."""
    found = evidence(
        [record("speed", "node0", {"rate_flops": rate, "wrong_elements": 0}, **more)],
        plan(the_suite or suite("speed"), nodes=1),
    )
    judgement = judged(found, {H100: known} if known else {})
    return [
        v for v in every(judgement)
        if v.metric == "rate_flops" and (v.limit or "baseline" in v.reason) and "like unit" not in v.reason
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rate", "outcome"), [(89.9, Outcome.FAIL), (90.0, Outcome.PASS), (100.0, Outcome.PASS), (1e6, Outcome.PASS)]
)
def test_a_value_is_held_against_the_limit_of_its_model(rate: float, outcome: Outcome) -> None:
    (verdict,) = verdicts(rate, baseline())
    assert verdict.outcome is outcome
    assert verdict.limit is not None
    assert (verdict.limit.lower, verdict.limit.origin) == (90.0, "baseline")
    assert bool(verdict.remedy) == (outcome is Outcome.FAIL)


@pytest.mark.parametrize("time_s", [1.0, 3.0])
def test_where_lower_is_better_the_upper_limit_counts(time_s: float) -> None:
    known = baseline(entry("speed.latency_s", unit="s", direction="lower", center=1.0, lower=None, upper=2.0))
    found = evidence([record("speed", "node0", {"rate_flops": 1.0, "latency_s": time_s})], plan(nodes=1))
    failed = [v.metric for v in of(judged(found, {H100: known}).verdicts, Outcome.FAIL)]
    assert failed == (["latency_s"] if time_s > 2.0 else [])


@pytest.mark.parametrize(
    ("known", "why"),
    [
        (None, f"no baseline of {H100}"),
        (baseline(entry("speed.rate_flops[fp64]")), "has no speed.rate_flops"),
        (baseline(entry(revision=2)), "revision 2 of the method, this run has 1"),
        (baseline(setting="1 threads, in turn"), "measured with 1 threads, in turn, this run with 8 threads"),
        (baseline(entry(unit="GFLOP/s")), "unit"),
    ],
)
def test_unlike_things_refuse_to_be_compared_and_say_why(known: Baseline | None, why: str) -> None:
    (verdict,) = verdicts(95.0, known)
    assert verdict.outcome is Outcome.NO_BASELINE
    assert why in verdict.reason
    assert verdict.value == 95.0


@pytest.mark.parametrize("known", [True, False])
def test_a_model_without_a_baseline_is_told_from_a_baseline_that_does_not_fit(known: bool) -> None:
    found = judged(fleet([95.0]), {H100: baseline(entry(revision=2))} if known else {})
    assert [column.unknown_model for column in found.table.answering("baseline")] == [not known]


def test_another_model_is_not_compared() -> None:
    (verdict,) = verdicts(1.0, baseline(), device_model="NVIDIA A100-SXM4-80GB")
    assert verdict.outcome is Outcome.NO_BASELINE
    assert "NVIDIA A100-SXM4-80GB" in verdict.reason


@pytest.mark.parametrize(
    ("mode", "spec", "required", "code"),
    [
        # One subject has no peers: nothing has judged it, whatever the suite says of baselines. Four judge each other.
        ("optional", CheckSpec("speed"), True, 0),
        ("required", CheckSpec("speed"), True, 3),
        ("required", CheckSpec("speed", required=False), False, 0),
    ],
)
def test_a_missing_baseline_counts_where_the_suite_requires_one(
    mode: str, spec: CheckSpec, required: bool, code: int
) -> None:
    the_suite = suite(spec, baseline=mode)
    (verdict,) = verdicts(95.0, None, the_suite)
    assert (verdict.outcome, verdict.required) == (Outcome.NO_BASELINE, required)
    assert "baseline learn" in verdict.remedy
    found = fleet([100.0] * 4, plan(the_suite))
    assert judged(found).exit_code == code


def test_with_a_baseline_a_required_one_is_there() -> None:
    found = fleet([100.0] * 4, plan(suite("speed", baseline="required")))
    assert judged(found, {H100: baseline()}).exit_code == 0


def test_all_equally_slow_nodes_pass_their_peers_and_fail_the_baseline() -> None:
    found = judged(fleet([50.0] * 4), {H100: baseline()})
    assert {v.subject.node for v in of(found.verdicts, Outcome.FAIL)} == set(nodes(4))
    assert found.exit_code == 1


def test_a_number_of_all_ranks_together_is_held_against_the_baseline_too() -> None:
    known = baseline(entry("fabric.busbw_bytes", unit="B/s", center=100.0, lower=90.0), setting="")
    records = [record("fabric", node, {"busbw_bytes": 10.0} if node == "node0" else {}) for node in nodes(4)]
    the_plan = plan(suite("fabric"))
    found = evidence(records, the_plan)
    subject = found.samples.subjects[0]
    known = replace(known, provenance=replace(known.provenance, setting=subject.setting))
    failed = of(judged(found, {H100: known}).verdicts, Outcome.FAIL)
    assert [str(v.subject) for v in failed] == ["all nodes"]


@pytest.mark.parametrize(("driver", "outcome"), [("580.1", Outcome.PASS), ("570.1", Outcome.NO_BASELINE)])
def test_a_number_of_the_node_is_judged_under_the_facts_of_its_device(driver: str, outcome: Outcome) -> None:
    known = replace(baseline(entry("identity.cores", unit="cores", center=8.0, lower=8.0)), strict=True)
    found = evidence(
        [record("identity", "node0", {"cores": 8}, facts={"driver": driver})], plan(suite("identity"), nodes=1)
    )
    answers = [v for v in every(judged(found, {H100: known})) if v.question == "baseline"]
    assert [(v.key, v.outcome) for v in answers] == [("identity.cores", outcome)]
    if outcome is Outcome.NO_BASELINE:
        assert "strict, and driver 570.1, baseline 580.1" in answers[0].reason


# --- learning ---------------------------------------------------------------------------------------------------------


def learned(found: Evidence, left_out: dict[str, str] | None = None, shared: float = 0.0) -> dict[str, BaselineEntry]:
    values = values_of(found.samples, CATALOGUE)
    return learn(values, H100, SETTING, left_out or {}, {"speed": 1}, shared)[0]


def test_a_run_teaches_centre_spread_and_limit_of_each_rate() -> None:
    found = learned(fleet([98.0, 100.0, 102.0, 100.0]))
    (one,) = found.values()
    assert (one.key, one.center, one.subjects, one.revision, one.unit) == ("speed.rate_flops", 100.0, 4, 1, "FLOP/s")
    assert one.lower is not None
    assert (one.rate, one.comparisons, one.floor) == (0.0025, 4, 0.04)
    law = Law(one.width, one.freedom, one.tail)
    assert one.lower == pytest.approx(100.0 - 100.0 * law.loss_at(chance_of_each(4, 0.0025)))
    assert one.upper is None


def test_subjects_that_agree_too_well_do_not_blame_the_next_healthy_one() -> None:
    # Of 64 the floor of 4 % rules; of four it is known less well what a unit of the class does.
    (one,) = learned(fleet([100.0] * 64)).values()
    assert one.lower == pytest.approx(96.0)
    (few,) = learned(fleet([100.0] * 4)).values()
    assert few.lower is not None
    assert 95.0 < few.lower < 96.0


def test_where_lower_is_better_the_limit_is_an_upper_one() -> None:
    records = [record("speed", node, {"rate_flops": 1.0, "latency_s": 1.0}) for node in nodes(4)]
    one = learned(evidence(records))["speed.latency_s"]
    assert one.lower is None
    assert one.upper is not None
    assert 1.1 <= one.upper < 1.13


def test_virtual_nodes_teach_wide_limits() -> None:
    (one,) = learned(fleet([100.0] * 4), shared=0.5).values()
    assert one.lower == pytest.approx(50.0)


def test_suspects_are_not_learned_from() -> None:
    (one,) = learned(fleet([100.0, 100.0, 100.0, 10.0]), {"node3": "FAIL"}).values()
    assert (one.center, one.subjects) == (100.0, 3)


@pytest.mark.parametrize("what", ["model", "setting"])
def test_unlike_subjects_are_not_learned_together(what: str) -> None:
    found = fleet([100.0, 100.0, 100.0, 10.0])
    subjects = tuple(replace(u, **{what: "other"}) if u.node == "node3" else u for u in found.samples.subjects)
    (one,) = learned(replace(found, samples=replace(found.samples, subjects=subjects))).values()
    assert one.subjects == 3


def test_what_has_a_limit_of_its_own_or_no_better_side_is_not_learned() -> None:
    found = evidence([record("speed", "node0", {"rate_flops": 1.0, "wrong_elements": 0, "spread": 0.1})])
    assert set(learned(found)) == {"speed.rate_flops"}


def test_nothing_is_learned_from_nobody() -> None:
    assert learned(fleet([100.0]), {"node0": "FAIL"}) == {}


def test_a_rate_of_0_teaches_nothing() -> None:
    # A limit of "at least 0" would be met by every broken device.
    assert learned(fleet([0.0] * 4)) == {}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(1.0, 1e15), min_size=1, max_size=8))
def test_what_is_learned_can_be_missed_and_is_met_by_its_centre(rates: list[float]) -> None:
    for one in learned(fleet(rates)).values():
        assert one.lower is not None
        assert one.center is not None
        assert one.lower <= one.center
        assert one.lower > 0, "a limit at or below 0 passes everything"


@settings(max_examples=40, deadline=None)
@given(st.floats(1.0, 1e15), st.integers(1, 8))
def test_equal_subjects_pass_what_they_taught(rate: float, count: int) -> None:
    found = fleet([rate] * count)
    known = Baseline(H100, baseline().provenance, learned(found))
    outcomes = {v.outcome for v in every(judged(found, {H100: known})) if v.limit and v.limit.origin == "baseline"}
    assert outcomes == {Outcome.PASS}


def test_suspects_are_nodes_with_a_fail_or_a_warning_and_the_first_reason() -> None:
    found = suspects(judged(fleet([100.0, 100.0, 100.0, 97.0, 100.0, 10.0])).verdicts)
    assert set(found) == {"node3", "node5"}
    assert found["node3"].startswith("WARN speed.rate_flops: ")
    assert found["node5"].startswith("FAIL speed.rate_flops: ")


def test_a_subject_whose_value_cannot_be_true_is_not_learned_from() -> None:
    known = replace(baseline(), peaks=(Peak("speed.*", "FLOP/s", 100.0, "a data sheet", ""),))
    found = suspects(judged(fleet([100.0, 200.0, 100.0, 100.0]), {H100: known}).verdicts)
    assert set(found) == {"node1"}
    assert found["node1"].startswith("ERROR speed.rate_flops: ")


def test_a_baseline_says_from_how_many_values_of_how_many_subjects() -> None:
    (one,) = learned(fleet([100.0] * 4)).values()
    assert "4 values of 4 unit(s)" in one.source
    assert one.spread == 0.0


# --- what was learned, in runs of any size ----------------------------------------------------------------------------


def taught(rates: list[float]) -> Baseline:
    """An approved baseline that ``learn`` has made of a run."""
    return replace(baseline(), entries=learned(fleet(rates)))


def fleet_of(units: int, width: float, seed: int) -> list[float]:
    """Healthy units around 100, evenly drawn from the quantiles of a normal distribution."""
    drawn = [100.0 + width * NormalDist().inv_cdf((number + 0.5) / units) for number in range(units)]
    return random.Random(seed).sample(drawn, units)


def by_baseline(rates: list[float], known: Baseline) -> dict[str, Outcome]:
    """Node → what the baseline alone says."""
    found = judged(fleet(rates), {H100: known})
    return {v.subject.node: v.outcome for v in every(found) if v.question == "baseline" and v.metric == "rate_flops"}


def test_a_healthy_fleet_is_not_blamed_by_what_a_few_even_units_have_taught() -> None:
    """Four units that agree by chance; of 256 like them, which differ by 1.5 %, the slowest is 4.3 % below their middle."""
    known, rates = taught([100.0, 100.3, 99.8, 100.1]), fleet_of(256, 1.5, 1)
    assert min(rates) < 96.0, "a floor of 4 % alone would blame it"
    assert set(by_baseline(rates, known).values()) == {Outcome.PASS}
    assert judged(fleet(rates), {H100: known}).exit_code == 0


def test_the_fleet_that_taught_it_is_not_blamed_by_it() -> None:
    rates = fleet_of(512, 1.4, 2)
    assert min(rates) < 96.0
    found = judged(fleet(rates), {H100: taught(rates)})
    assert found.exit_code == 0
    assert not of(found.verdicts, Outcome.FAIL)


@pytest.mark.parametrize("teachers", [8, 16, 64, 256])
def test_a_gpu_that_is_a_tenth_slower_fails_what_was_learned_and_is_named(teachers: int) -> None:
    rates = [*fleet_of(63, 1.0, 3), 90.0]
    assert by_baseline(rates, taught(fleet_of(teachers, 1.0, 4)))["node63"] is Outcome.FAIL
    found = judged(fleet(rates), {H100: taught(fleet_of(teachers, 1.0, 4))})
    assert found.exit_code == 1
    assert {v.subject.node for v in of(found.verdicts, Outcome.FAIL)} == {"node63"}


def test_a_fleet_that_is_slow_as_a_whole_fails_what_was_learned() -> None:
    known = taught(fleet_of(64, 1.0, 5))
    found = judged(fleet(fleet_of(64, 1.0, 6)), {H100: known})
    assert found.exit_code == 0
    slow = judged(fleet([0.9 * rate for rate in fleet_of(64, 1.0, 6)]), {H100: known})
    assert slow.exit_code == 1
    assert len({v.subject.node for v in of(slow.verdicts, Outcome.FAIL)}) > 50


def test_the_same_value_fails_among_few_and_passes_among_many() -> None:
    known = taught(fleet_of(64, 1.2, 7))
    few, many = ([94.9, *[100.0] * (units - 1)] for units in (2, 2048))
    assert by_baseline(few, known)["node0"] is Outcome.FAIL
    assert by_baseline(many, known)["node0"] is Outcome.PASS


def test_a_limit_that_nothing_could_miss_in_so_large_a_run_is_no_baseline_and_says_why() -> None:
    known = taught([90.0, 100.0, 110.0, 97.0, 103.0, 93.0, 107.0, 100.0])
    many = by_baseline([100.0] * 512, known)
    assert set(many.values()) == {Outcome.NO_BASELINE}
    (said,) = {v.reason for v in every(judged(fleet([100.0] * 512), {H100: known})) if v.question == "baseline"}
    assert "the units differ so much that a loss of" in said
    assert "among 512 values" in said


def test_learned_limits_state_their_rate_and_limits_from_outside_are_counted_apart() -> None:
    known = taught(fleet_of(64, 1.0, 8))
    rated = judged(fleet([100.0] * 16), {H100: known}).sensitivity["baseline"]
    assert (rated.comparisons, rated.false_alarm_rate, rated.unrated) == (16, 0.0025, 0)
    assert rated.z == pytest.approx(cut(16, 0.0025))
    both = replace(
        known,
        entries={
            **known.entries,
            "speed.latency_s": entry("speed.latency_s", unit="s", direction="lower", lower=None, upper=200.0),
        },
    )
    records = [record("speed", node, {"rate_flops": 100.0, "latency_s": 100.0}) for node in nodes(16)]
    mixed = judged(evidence(records, plan(nodes=16)), {H100: both}).sensitivity["baseline"]
    assert (mixed.comparisons, mixed.false_alarm_rate, mixed.unrated) == (32, 0.0025, 16)
    exact = judged(fleet([100.0] * 16), {H100: baseline()}).sensitivity["baseline"]
    assert (exact.comparisons, exact.false_alarm_rate, exact.unrated) == (16, None, 16)


def test_what_earlier_files_have_learned_blames_no_healthy_fleet_of_any_size() -> None:
    """Their limit was 4 of 1 % whatever the number of values: of 2,048 healthy units one or two lie beyond."""
    old = entry(lower=96.0, spread=1.0, subjects=64, values=64, nodes=64, floor=0.04)
    known, rates = baseline(old), fleet_of(2048, 1.2, 9)
    assert min(rates) < 96.0
    assert set(by_baseline(rates, known).values()) == {Outcome.PASS}
    assert by_baseline([95.9, 100.0], known)["node0"] is Outcome.FAIL


# --- more than the part can do ----------------------------------------------------------------------------------------


def test_a_rate_that_no_part_of_the_model_can_reach_is_an_error_and_leaves_the_run_unjudged() -> None:
    peak = Peak("speed.*", "FLOP/s", 100.0, "a data sheet", "2026-11-22")
    known = replace(baseline(), peaks=(peak,))
    judgement = judged(fleet([109.0, 111.0, 100.0, 99.0]), {H100: known})
    (told,) = [v for v in of(judgement.verdicts, Outcome.ERROR) if v.metric == "rate_flops"]
    assert told.subject.node == "node1"
    assert "is more than the part can do: 100 FLOP/s (a data sheet)" in told.reason
    assert told.required
    assert judgement.exit_code == 3
    by_baseline = [v for v in every(judgement) if v.limit and v.limit.origin == "baseline" and v.metric == "rate_flops"]
    assert sorted(v.subject.node for v in by_baseline if v.outcome is Outcome.PASS) == ["node0", "node2", "node3"]


def test_without_a_limit_it_is_an_error_all_the_same() -> None:
    known = replace(
        baseline(entry("speed.latency_s", unit="s")), peaks=(Peak("speed.rate_flops", "FLOP/s", 1.0, "x", ""),)
    )
    judgement = judged(fleet([111.0] * 2), {H100: known})
    assert {v.subject.node for v in of(judgement.verdicts, Outcome.ERROR)} == {"node0", "node1"}
    assert judgement.exit_code == 3
