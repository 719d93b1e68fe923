"""Slower than the peers in this run? Who is slow is blamed, who is not is not, and nobody passes for want of numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.builders import (
    CATALOGUE,
    every,
    evidence,
    fleet,
    judged,
    nodes,
    of,
    plan,
    rank_started,
    record,
    suite,
    where,
)

from hpcaccept.judge.questions.peers import answer_of
from hpcaccept.judge.statistics.aggregate import values_of
from hpcaccept.judge.statistics.peer_rule import Compared
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.suite import CheckSpec, PeerRule
from hpcaccept.model.verdict import CODE, Outcome, Verdict

if TYPE_CHECKING:
    import random

    from hpcaccept.judge import Judgement


def peers(found: Judgement) -> list[Verdict]:
    """The verdicts of this question alone."""
    return [v for v in every(found) if v.metric in ("rate_flops", "latency_s", "cores") and not _baseline(v)]


def _baseline(verdict: Verdict) -> bool:
    return "baseline of" in verdict.reason


def rule(**more: object) -> PeerRule:
    return PeerRule(**more)  # type: ignore[arg-type]


# --- who is blamed ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 4, 5, 8, 32, 33, 64])
@pytest.mark.parametrize("slow", [0.9, 0.5, 0.01])
def test_one_slow_subject_among_equal_ones_is_a_fail_and_the_others_are_not(count: int, slow: float) -> None:
    found = judged(fleet([100.0] * (count - 1) + [100.0 * slow]))
    assert where(peers(found), Outcome.FAIL) == {f"node{count - 1}"}
    assert where(peers(found), Outcome.WARN) == set()
    # Of two others that differ by half nobody can say which one is right.
    assert where(peers(found), Outcome.PASS) == set(nodes(count - 1)) or count == 3
    assert found.exit_code == 1


@pytest.mark.parametrize(("fail_at", "decided"), [(0.999, True), (1.0, False), (1.001, False), (np.inf, False)])
def test_where_not_even_a_rate_of_nothing_could_be_blamed_nobody_passes(fail_at: float, decided: bool) -> None:
    values = values_of(fleet([100.0] * 3).samples, CATALOGUE)
    (column,) = [one for one in values if one.metric.name == "rate_flops"]
    one = np.ones(3)
    compared = Compared(100 * one, 0 * one, 0.5 * one, fail_at * one, 0.1 * one)
    answer = answer_of("peers", column, np.arange(3), compared, "median", "loss", required=True)
    assert set(answer.outcome.tolist()) == {CODE[Outcome.PASS if decided else Outcome.NO_BASELINE]}


def test_what_another_launch_has_not_confirmed_is_a_warning_and_who_needed_none_passes() -> None:
    """node5 was slow in both launches, node4 in the only one that it had; the others were never in doubt."""
    slow = {4: 90.0, 5: 40.0}
    first = [record("speed", f"node{i}", {"rate_flops": slow.get(i, 100.0)}) for i in range(12)]
    second = [record("speed", f"node{i}", {"rate_flops": slow.get(i, 100.0)}, step="01") for i in (0, 1, 5)]
    found = peers(judged(evidence([*first, *second], plan(nodes=12))))
    assert where(found, Outcome.FAIL) == {"node5"}
    (warning,) = of(found, Outcome.WARN)
    assert (warning.subject.node, warning.code) == ("node4", FindingCode.PEERS_UNCONFIRMED)
    assert "measured in one launch only" in warning.reason
    assert where(found, Outcome.PASS) == {f"node{i}" for i in range(12)} - {"node4", "node5"}


@pytest.mark.parametrize(("share", "blamed"), [(0.76, False), (0.74, True)])
def test_a_cpu_is_blamed_from_a_loss_of_a_quarter_on_and_warned_of_for_none(share: float, blamed: bool) -> None:
    records = [
        record("speed", f"node{i}", {"rate_flops": 100.0 * (share if i == 7 else 1)}, device="cpu", device_model="CPU")
        for i in range(8)
    ]
    found = peers(judged(evidence(records, plan(nodes=8, gpus_per_node=0))))
    assert where(found, Outcome.FAIL) == ({"node7"} if blamed else set())
    assert where(found, Outcome.WARN) == set()


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(3, 40),
    rate=st.floats(1e-3, 1e15),
    loss=st.floats(0.045, 0.99),
    at=st.integers(0, 39),
)
def test_whoever_is_slower_than_the_floor_among_at_least_three_equal_ones_is_the_only_fail(
    count: int, rate: float, loss: float, at: int
) -> None:
    at %= count + 1
    rates = [rate] * count
    rates.insert(at, rate * (1 - loss))
    found = judged(fleet(rates))
    assert where(peers(found), Outcome.FAIL) == {f"node{at}"}


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 40), st.floats(1e-3, 1e15), st.floats(0.0, 0.015))
def test_who_loses_less_than_half_of_the_floor_passes(count: int, rate: float, loss: float) -> None:
    found = judged(fleet([rate] * count + [rate * (1 - loss)]))
    assert {v.outcome for v in peers(found)} == {Outcome.PASS}


def test_between_half_of_the_floor_and_the_floor_lies_a_warning() -> None:
    found = judged(fleet([100.0, 100.0, 100.0, 97.0]))
    assert where(peers(found), Outcome.WARN) == {"node3"}
    assert found.exit_code == 3


@pytest.mark.parametrize(("fast", "told"), [(1.02, None), (1.09, None), (1.5, Outcome.WARN), (100.0, Outcome.ERROR)])
def test_nobody_fails_for_being_fast_and_what_no_like_part_reaches_is_told(fast: float, told: Outcome | None) -> None:
    found = judged(fleet([100.0] * 7 + [100.0 * fast]))
    assert where(peers(found), Outcome.FAIL) == set()
    # A hundred times what its like reach is a fault of the measurement; neither accepts anybody.
    for outcome in (Outcome.WARN, Outcome.ERROR):
        assert where(peers(found), outcome) == ({"node7"} if told is outcome else set())
    assert found.exit_code == (3 if told else 0)


@pytest.mark.parametrize(("slowest", "blamed"), [(2.0, {"node3"}), (1.0, set()), (0.1, set())])
def test_where_lower_is_better_the_higher_one_is_slow(slowest: float, blamed: set[str]) -> None:
    records = [
        record(
            "speed", node, {"rate_flops": 1.0, "latency_s": slowest if node == "node3" else 1.0, "wrong_elements": 0}
        )
        for node in nodes(4)
    ]
    found = judged(evidence(records))
    assert {v.subject.node for v in of(found.verdicts, Outcome.FAIL)} == blamed


def test_two_slow_subjects_among_eight_are_both_blamed() -> None:
    assert where(peers(judged(fleet([100.0] * 6 + [60.0, 70.0]))), Outcome.FAIL) == {"node6", "node7"}


def test_one_slow_gpu_of_eight_is_named_with_its_device() -> None:
    the_plan = plan(suite("speed"), nodes=2, gpus_per_node=8, ranks_per_node=8)
    records = [
        record(
            "speed", node, {"rate_flops": 50.0 if (node, gpu) == ("node1", 5) else 100.0, "wrong_elements": 0},
            device=f"cuda:{gpu}", rank=gpu,
        )
        for node in nodes(2)
        for gpu in range(8)
    ]  # fmt: skip
    (fail,) = of(judged(evidence(records, the_plan)).verdicts, Outcome.FAIL)
    assert str(fail.subject) == "node1 cuda:5"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(1.0, 100.0), min_size=3, max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_the_subjects_changes_no_verdict(rates: list[float], dice: random.Random) -> None:
    records = [
        record("speed", f"node{number}", {"rate_flops": rate, "wrong_elements": 0}) for number, rate in enumerate(rates)
    ]
    shuffled = list(records)
    dice.shuffle(shuffled)
    the_plan = plan(nodes=len(rates))
    one, other = (judged(evidence(rows, the_plan)) for rows in (records, shuffled))
    assert set(peers(one)) == set(peers(other))
    assert one.exit_code == other.exit_code
    (mine, theirs) = (found.sensitivity["peers"] for found in (one, other))
    assert (mine.comparisons, mine.z, mine.fewest) == (theirs.comparisons, theirs.z, theirs.fewest)
    assert (mine.smallest_loss or (0.0, 0.0)) == pytest.approx(theirs.smallest_loss or (0.0, 0.0))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(1.0, 100.0), min_size=3, max_size=12), st.integers(0, 11))
def test_who_gets_slower_is_never_judged_better(rates: list[float], at: int) -> None:
    at %= len(rates)
    order = [Outcome.ERROR, Outcome.PASS, Outcome.NO_BASELINE, Outcome.WARN, Outcome.FAIL]

    def of_subject(rate: float) -> int:
        changed = [*rates[:at], rate, *rates[at + 1 :]]
        (verdict,) = [v for v in peers(judged(fleet(changed))) if v.subject.node == f"node{at}"]
        # To be told that one is too fast is no blame for being slow.
        return 0 if "faster than its like" in verdict.reason else order.index(verdict.outcome)

    assert of_subject(rates[at] * 0.5) >= of_subject(rates[at])


@pytest.mark.parametrize(
    "rates", [[8, 9, 41.75, 41.75, 41.1875], [4, 9, 41.75, 41.75, 41.1875], [2, 9, 41.75, 41.75, 41.1875]]
)
def test_two_of_five_that_are_wrecks_are_never_a_pass_because_they_differ(rates: list[float]) -> None:
    found = {v.subject.node: v.outcome for v in peers(judged(fleet(rates)))}
    assert Outcome.PASS not in (found["node0"], found["node1"])
    assert judged(fleet(rates)).exit_code != 0


# --- what cannot be said is not said ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_like_subjects_cannot_say_who_is_slow(count: int) -> None:
    found = judged(fleet([100.0, 1.0][:count]))
    assert {v.outcome for v in peers(found)} == {Outcome.NO_BASELINE}
    assert all(not v.required and "needed to say who is slow" in v.reason for v in peers(found))


@pytest.mark.parametrize("what", ["device_model", "setting"])
def test_models_are_not_compared_and_what_a_fault_can_change_is_no_kind(what: str) -> None:
    found = fleet([100.0, 100.0, 100.0, 10.0])
    subjects = list(found.samples.subjects)
    odd = next(i for i, subject in enumerate(subjects) if subject.node == "node3")
    subjects[odd] = replace(subjects[odd], **{"model" if what == "device_model" else what: "another"})
    judgement = judged(replace(found, samples=replace(found.samples, subjects=tuple(subjects))))
    (lonely,) = [v for v in peers(judgement) if v.subject.node == "node3"]
    # Fewer threads than the others have may be the very fault that makes it slow; without peers it is not accepted either.
    assert lonely.outcome is (Outcome.NO_BASELINE if what == "device_model" else Outcome.FAIL)
    assert judgement.exit_code == (3 if what == "device_model" else 1)


@pytest.mark.parametrize("rates", [[0.0] * 4, [0.0] * 3 + [100.0], [0.0, 0.0, 100.0, 100.0]])
def test_gpus_at_0_flops_are_never_called_healthy(rates: list[float]) -> None:
    found = judged(fleet(rates))
    passed = {v.subject.node for v in peers(found) if v.outcome is Outcome.PASS}
    assert not passed & {f"node{i}" for i, rate in enumerate(rates) if rate == 0}
    assert found.exit_code != 0


def test_a_negative_rate_is_no_measurement() -> None:
    found = judged(fleet([-5.0] * 4))
    assert Outcome.PASS not in {v.outcome for v in peers(found)}


def test_when_peers_differ_wildly_nobody_passes_by_their_noise() -> None:
    found = judged(fleet([1.0, 100.0, 10_000.0, 1_000_000.0]))
    (slowest,) = [v for v in peers(found) if v.subject.node == "node0"]
    assert slowest.outcome is not Outcome.PASS


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 100.0, 10_000.0, 1_000_000.0],
        # Two groups that the width of four does not tell from one wide one.
        [100.0, 90.0, 40.0, 35.0],
        # Not even a rate of 0 is far enough out, and less than half of the middle of the others is not.
        [100.0, 30.0, 70.0],
    ],
)
def test_who_is_undecided_is_told_why_and_what_to_do_whatever_the_cause(values: list[float]) -> None:
    found = [v for v in peers(judged(fleet(values))) if v.code is FindingCode.PEERS_APART]
    assert found
    for verdict in found:
        assert "differ too much, or are two groups" in verdict.reason
        assert "measure again on quiet nodes, with more nodes, or against a baseline" in verdict.reason
        assert "blamed by" not in verdict.reason


def test_a_suite_may_switch_the_question_off() -> None:
    found = judged(fleet([100.0, 100.0, 100.0, 1.0], plan(suite("speed", peers=rule(enabled=False)))))
    assert peers(found) == []
    assert found.sensitivity["peers"].comparisons == 0


@pytest.mark.parametrize("metric", ["busbw_bytes", "spread"])
def test_what_is_no_rate_of_a_device_is_not_compared(metric: str) -> None:
    check = "fabric" if metric == "busbw_bytes" else "speed"
    records = [
        record(
            check,
            node,
            {metric: 1.0 if node == "node0" else 100.0, **({"rate_flops": 1.0} if check == "speed" else {})},
        )
        for node in nodes(4)
    ]
    found = judged(evidence(records, plan(suite(check))))
    assert [v for v in found.verdicts if v.metric == metric and v.outcome is Outcome.FAIL] == []


# --- floors -----------------------------------------------------------------------------------------------------------

CPU = {"gpus_per_node": 0}


def blamed(
    loss: float, the_plan_more: dict[str, int], *, shared: bool = False, the_rule: PeerRule | None = None
) -> bool:
    the_plan = plan(suite("speed", peers=the_rule or PeerRule()), **the_plan_more)
    rank_starts = tuple(rank_started(r, n, boot_id="one" if shared else n) for r, n in enumerate(nodes(4)))
    found = judged(fleet([100.0, 100.0, 100.0, 100.0 * (1 - loss)], the_plan, rank_starts=rank_starts))
    return bool(where(peers(found), Outcome.FAIL))


@pytest.mark.parametrize(
    ("loss", "more", "shared", "expected"),
    [
        (0.05, {}, False, True),
        (0.03, {}, False, False),
        (0.20, CPU, False, False),
        (0.30, CPU, False, True),
        (0.40, CPU, True, False),
        (0.60, CPU, True, True),
        # GPUs of nodes that share a kernel (one host, several groups of ranks) are timed by themselves.
        (0.05, {}, True, True),
    ],
)
def test_the_floor_follows_from_what_can_be_trusted(
    loss: float, more: dict[str, int], shared: bool, expected: bool
) -> None:
    assert blamed(loss, more, shared=shared) is expected


@pytest.mark.parametrize("rule", [PeerRule(floor=0.999), PeerRule(floor=0.51)])
def test_a_floor_that_only_a_wreck_would_miss_is_no_question_and_no_pass(rule: PeerRule) -> None:
    found = judged(fleet([100.0] * 7 + [10.0], plan(suite(peers=rule), nodes=8)))
    said = [v for v in found.verdicts if v.question == "peers"]
    assert len(said) == 8
    assert {v.outcome for v in said} == {Outcome.NO_BASELINE}
    assert all("nobody was asked" in v.reason for v in said)
    assert found.exit_code == 3


@pytest.mark.parametrize(("floor", "expected"), [(0.01, True), (0.2, False)])
def test_a_suite_may_set_the_floor(floor: float, expected: bool) -> None:
    assert blamed(0.1, {}, the_rule=rule(floor=floor)) is expected
    assert blamed(0.1, CPU, the_rule=rule(floor=floor)) is expected


@pytest.mark.parametrize("cores", [7.0, 4.0])
def test_a_missing_core_is_seen_even_on_a_shared_host(cores: float) -> None:
    the_plan = plan(suite("identity"), gpus_per_node=0)
    records = [record("identity", node, {"cores": cores if node == "node1" else 8.0}) for node in nodes(4)]
    rank_starts = tuple(rank_started(r, n, boot_id="one") for r, n in enumerate(nodes(4)))
    found = judged(evidence(records, the_plan, rank_starts=rank_starts))
    assert where(found.verdicts, Outcome.FAIL) == {"node1"}


# --- how sure ---------------------------------------------------------------------------------------------------------


def test_what_the_comparison_could_see_is_stated() -> None:
    sensitivity = judged(fleet([100.0, 100.0, 100.0, 90.0])).sensitivity["peers"]
    assert sensitivity.comparisons == 4
    assert sensitivity.false_alarm_rate == 0.01
    assert sensitivity.z is not None
    assert 2.5 < sensitivity.z < 3.5
    assert sensitivity.smallest_loss is not None
    assert pytest.approx(sensitivity.smallest_loss[0]) == 0.04


def test_more_comparisons_need_a_wider_cut() -> None:
    few, many = (judged(fleet([100.0] * count)).sensitivity["peers"].z or 0.0 for count in (4, 400))
    assert 0 < few < many


@pytest.mark.parametrize("rate", [0.5, 1e-3, 1e-9, 1e-17, 1e-300])
def test_any_false_alarm_rate_has_a_cut(rate: float) -> None:
    found = judged(fleet([100.0] * 4, plan(suite("speed", peers=rule(false_alarm_rate=rate)))))
    assert np.isfinite(found.sensitivity["peers"].z or np.nan)


@pytest.mark.parametrize(("count", "sigma"), [(4, 0.005), (8, 0.01), (64, 0.01), (512, 0.01)])
def test_healthy_noise_is_hardly_ever_blamed(count: int, sigma: float) -> None:
    # Below half of a metric's floor, as its floor was chosen; the stated chance is 1 in 1000 runs.
    rng = np.random.default_rng(20261122)
    alarms, runs = 0, 8 if count == 512 else 80
    the_plan = plan(nodes=count)
    for _ in range(runs):
        rates = 100.0 * (1 + sigma * rng.standard_normal(count))
        alarms += bool(where(peers(judged(fleet(rates.tolist(), the_plan))), Outcome.FAIL))
    assert alarms <= 1


def test_a_real_loss_is_found_in_healthy_noise() -> None:
    rng = np.random.default_rng(7)
    for _ in range(30):
        rates = (100.0 * (1 + 0.005 * rng.standard_normal(64))).tolist()
        rates[13] = 90.0
        assert "node13" in where(peers(judged(fleet(rates))), Outcome.FAIL)


def test_it_holds_at_16384_nodes() -> None:
    names = nodes(16_384)
    records = [record("speed", node, {"rate_flops": 80.0 if node == "node12345" else 100.0}) for node in names]
    found = judged(evidence(records, plan(nodes=len(names)), rank_starts=()))
    assert where(peers(found), Outcome.FAIL) == {"node12345"}


def test_a_check_that_is_not_required_is_compared_without_effect_on_what_is_required() -> None:
    the_plan = plan(suite(CheckSpec("speed", required=False)))
    found = judged(fleet([100.0] * 4, the_plan))
    assert all(not v.required for v in peers(found))
