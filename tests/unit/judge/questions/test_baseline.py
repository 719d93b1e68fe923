"""Slower than its device model is known to be? And what a run teaches."""

from __future__ import annotations

from dataclasses import replace
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


# --- learning ---------------------------------------------------------------------------------------------------------


def learned(found: Evidence, left_out: dict[str, str] | None = None, shared: float = 0.0) -> dict[str, BaselineEntry]:
    values = values_of(found.samples, CATALOGUE)
    return learn(values, H100, SETTING, left_out or {}, {"speed": 1}, shared)[0]


def test_a_run_teaches_centre_spread_and_limit_of_each_rate() -> None:
    found = learned(fleet([98.0, 100.0, 102.0, 100.0]))
    (one,) = found.values()
    assert (one.key, one.center, one.subjects, one.revision, one.unit) == ("speed.rate_flops", 100.0, 4, 1, "FLOP/s")
    assert one.lower is not None
    assert one.lower == pytest.approx(100.0 - max(4.0, 4 * 1.4826))
    assert one.upper is None


def test_subjects_that_agree_too_well_do_not_blame_the_next_healthy_one() -> None:
    (one,) = learned(fleet([100.0] * 4)).values()
    assert one.lower == pytest.approx(96.0)


def test_where_lower_is_better_the_limit_is_an_upper_one() -> None:
    records = [record("speed", node, {"rate_flops": 1.0, "latency_s": 1.0}) for node in nodes(4)]
    one = learned(evidence(records))["speed.latency_s"]
    assert one.lower is None
    assert one.upper == pytest.approx(1.1)


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
