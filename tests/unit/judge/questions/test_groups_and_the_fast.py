"""Whole runs in which a share of the fleet is slow, or one unit is fast: never a silent PASS, never a name that nobody knows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.builders import (
    H100,
    baseline,
    entry,
    evidence,
    judged,
    nodes,
    of,
    plan,
    rank_started,
    record,
    suite,
    where,
)

from hpcaccept.judge.questions.peers import _without_wonders
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.suite import PeerRule
from hpcaccept.model.verdict import CODE, Outcome

if TYPE_CHECKING:
    from hpcaccept.judge import Judgement
    from hpcaccept.model.baseline import Baseline

WIDTH = 0.0075  # a quarter of the floor of ``speed``


def run(count: int, gpus: int, slow: dict[int, float], known: Baseline | None = None, fast: float = 0.0) -> Judgement:
    """Nodes × GPUs at 100, the slow nodes (number → share) less; the first GPU of the first node faster."""
    dice = np.random.default_rng(3)
    records = []
    for number, node in enumerate(nodes(count)):
        for gpu in range(gpus):
            rate = 100.0 * slow.get(number, 1.0) * (1 + WIDTH * dice.standard_normal())
            if number == gpu == 0:
                rate *= 1 + fast
            numbers = {"rate_flops": rate, "wrong_elements": 0.0}
            records.append(record("speed", node, numbers, device=f"cuda:{gpu}", rank=number * gpus + gpu))
    the_plan = plan(suite(), nodes=count, gpus_per_node=gpus, ranks_per_node=gpus)
    starts = tuple(rank_started(n * gpus + g, node) for n, node in enumerate(nodes(count)) for g in range(gpus))
    return judged(evidence(records, the_plan, rank_starts=starts), {H100: known} if known else None)


@pytest.mark.parametrize(
    ("count", "gpus", "slow"),
    [
        (2, 8, {1: 0.8}),
        (8, 8, dict.fromkeys(range(4), 0.8)),
        (8, 1, dict.fromkeys(range(4), 0.8)),
        (64, 8, dict.fromkeys(range(20), 0.9)),
        (64, 1, dict.fromkeys(range(26), 0.7)),
        (6, 1, {0: 0.7, 1: 0.7}),
    ],
)
def test_a_fleet_of_two_groups_is_never_accepted_and_both_are_listed(
    count: int, gpus: int, slow: dict[int, float]
) -> None:
    found = run(count, gpus, slow)
    assert found.exit_code != 0
    assert where(found.verdicts, Outcome.FAIL) <= {f"node{n}" for n in slow}
    if found.exit_code == 3:
        said = {v.reason for v in of(found.verdicts, Outcome.NO_BASELINE) if v.question == "peers"}
        assert any("two groups" in reason and " against " in reason for reason in said)


def test_one_slow_node_of_three_is_named() -> None:
    found = run(3, 8, {0: 0.8})
    assert found.exit_code == 1
    assert where(found.verdicts, Outcome.FAIL) == {"node0"}


def test_a_baseline_says_which_of_two_groups_is_right() -> None:
    found = run(2, 8, {1: 0.8}, baseline(entry(lower=90.0)))
    assert found.exit_code == 1
    assert where(found.verdicts, Outcome.FAIL) == {"node1"}


def test_a_limit_that_both_groups_meet_does_not_say_it() -> None:
    assert run(2, 8, {1: 0.8}, baseline(entry(lower=50.0))).exit_code == 3


def test_virtual_nodes_of_one_kernel_are_not_asked() -> None:
    records = [
        record("speed", node, {"rate_flops": 100.0 if n < 2 else 30.0, "wrong_elements": 0.0})
        for n, node in enumerate(nodes(4))
    ]
    starts = tuple(rank_started(n, node, boot_id="one kernel") for n, node in enumerate(nodes(4)))
    found = judged(evidence(records, rank_starts=starts))
    assert not [v for v in found.verdicts if "two groups" in v.reason]


@pytest.mark.parametrize("fast", [0.04, 0.3])
def test_one_fast_unit_does_not_hide_a_slow_one(fast: float) -> None:
    found = run(64, 1, {5: 0.95}, fast=fast)
    assert where(found.verdicts, Outcome.FAIL) == {"node5"}


def test_a_unit_far_faster_than_its_like_is_told() -> None:
    found = run(16, 1, {}, fast=0.3)
    (told,) = of(found.verdicts, Outcome.WARN)
    assert told.subject.node == "node0"
    assert "faster than its like" in told.reason
    assert found.exit_code == 3


@pytest.mark.parametrize(("fast", "told"), [(0.08, False), (0.1, True)])
def test_a_tenth_more_than_its_like_is_far_faster(fast: float, told: bool) -> None:
    found = run(64, 1, {}, fast=fast)
    assert where([v for v in found.verdicts if v.code is FindingCode.PEERS_FAST], Outcome.WARN) == (
        {"node0"} if told else set()
    )


def test_one_failure_elsewhere_does_not_decide_between_two_groups() -> None:
    """The baseline fails one of the six slow ones: the other five, and the six fast ones, are owed an answer all the same."""
    known = baseline(entry(lower=55.0))
    records = []
    for number, node in enumerate(nodes(12)):
        rate = 50.0 if number == 0 else 60.0 if number < 6 else 100.0
        records.append(record("speed", node, {"rate_flops": rate * (1 + WIDTH / 20 * number), "wrong_elements": 0.0}))
    found = judged(evidence(records, plan(suite(), nodes=12)), {H100: known})
    assert where(found.verdicts, Outcome.FAIL) == {"node0"}
    owed = [a for a in found.table.answers if a.question == "peers" and a.owed is not None]
    assert owed, "eleven of them were judged by nobody who knows which group is right"
    assert found.coverage.percent == 0


def test_a_wonder_is_no_group() -> None:
    records = [
        record("speed", node, {"rate_flops": 300.0 if n < 2 else 100.0, "wrong_elements": 0.0})
        for n, node in enumerate(nodes(12))
    ]
    found = judged(evidence(records, plan(suite(), nodes=12)))
    assert where(found.verdicts, Outcome.ERROR) == {"node0", "node1"}
    assert not [v for v in found.verdicts if "two groups" in v.reason]


def test_a_comparison_that_was_not_made_is_not_counted() -> None:
    found = judged(
        evidence(
            [record("speed", node, {"rate_flops": 100.0, "wrong_elements": 0.0}) for node in nodes(4)],
            plan(suite(peers=PeerRule(floor=0.9))),
        )
    )
    assert found.sensitivity["peers"].comparisons == 0


def test_a_count_is_no_speed_of_a_part_however_large() -> None:
    class Answer(SimpleNamespace):
        def __len__(self) -> int:
            return len(self.value)

    value, passed = np.array([1.0, 1.0, 1.0, 1.0, 100.0]), CODE[Outcome.PASS]
    more = {"value": value, "center": np.ones(5), "outcome": np.full(5, passed)}
    counted: Any = Answer(metric=SimpleNamespace(noise="counted", direction="higher"), **more)
    assert _without_wonders(counted, 2.0) is counted
    few = {name: part[:3] for name, part in more.items()}
    rates: Any = Answer(metric=SimpleNamespace(noise="timed", direction="higher"), **few)
    assert _without_wonders(rates, 0.5) is rates, "of three nobody knows who is odd"
