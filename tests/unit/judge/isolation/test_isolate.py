"""Small fleets, isolated from the first round to the answer."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpcaccept.judge.isolation import believe, conclude, next_round, update
from hpcaccept.model.isolation import (
    Budget,
    Conclusion,
    GroupTest,
    IsolationSettings,
    Outcome,
    Stop,
    Topology,
)

NAMES = tuple(f"n{number:02d}" for number in range(24))


def answer_of(fails, settings=None, topology=None, rounds=30, first=(), names=NAMES) -> tuple[Conclusion, int]:  # type: ignore[no-untyped-def]
    """The answer of tests without noise, and the rounds that it took."""
    belief = update(believe(names, settings or IsolationSettings(), topology), first)
    rng = np.random.default_rng(1)
    for number in range(rounds):
        planned = next_round(belief, Budget(), rng)
        if isinstance(planned, Stop):
            return conclude(belief), number
        belief = update(belief, [Outcome(test, "failed" if fails(set(test.nodes)) else "passed") for test in planned])
    return conclude(belief), rounds


def test_nothing_is_wrong() -> None:
    answer, rounds = answer_of(lambda nodes: False)
    assert answer.decided
    assert answer.suspicions == ()
    assert answer.nothing_wrong > 0.95
    assert answer.missable.untested == ()
    assert rounds <= 4


@pytest.mark.parametrize("bad", [{"n03"}, {"n00", "n23"}, {"n05", "n06", "n07"}])
def test_bad_nodes_are_named_and_nobody_else(bad: set[str]) -> None:
    answer, _ = answer_of(lambda nodes: bool(nodes & bad))
    assert {one.fault.where[0] for one in answer.blamed} == bad
    assert all(one.confirmed and one.posterior >= 0.95 and one.evidence_for for one in answer.blamed)
    assert answer.unattributed == ()


def test_a_link_is_named_and_both_its_ends_are_cleared() -> None:
    whole = Outcome(GroupTest("r0g1", 0, NAMES), "failed")
    answer, _ = answer_of(lambda nodes: nodes >= {"n04", "n17"}, first=[whole])
    assert [(one.fault.kind, one.fault.where) for one in answer.blamed] == [("link", ("n04", "n17"))]
    assert max(answer.posterior["n04"], answer.posterior["n17"]) < 0.05


def test_a_pair_of_leaves_is_named() -> None:
    leaves = {name: f"leaf{number // 4}" for number, name in enumerate(NAMES)}
    whole = Outcome(GroupTest("r0g1", 0, NAMES), "failed")
    answer, rounds = answer_of(
        lambda nodes: {leaves[node] for node in nodes} >= {"leaf1", "leaf4"}, topology=Topology(leaves), first=[whole]
    )
    assert [(one.fault.kind, one.fault.where) for one in answer.blamed] == [("leaf_pair", ("leaf1", "leaf4"))]
    assert rounds <= 7


def test_what_fails_only_at_size_is_said_to() -> None:
    whole = Outcome(GroupTest("r0g1", 0, NAMES), "failed")
    answer, _ = answer_of(lambda nodes: len(nodes) >= 10, first=[whole])
    assert [one.fault.kind for one in answer.blamed] == ["scale"]
    assert answer.at_scale
    assert 10 <= len(answer.unattributed) <= 20


def test_a_slow_node_is_found_by_values() -> None:
    settings = IsolationSettings(values=True)
    belief, rng, noise = believe(NAMES, settings), np.random.default_rng(1), np.random.default_rng(2)
    for _ in range(9):
        planned = next_round(belief, Budget(), rng)
        if isinstance(planned, Stop):
            break
        values = [(0.95 if "n11" in test.nodes else 1.0) * (1 + 0.01 * noise.standard_normal()) for test in planned]
        belief = update(
            belief, [Outcome(one, "passed", value=value) for one, value in zip(planned, values, strict=True)]
        )
    blamed = conclude(belief).blamed
    assert [one.fault.where for one in blamed] == [("n11",)]
    assert blamed[0].fault.loss == pytest.approx(0.05, abs=0.02)


def test_groups_of_a_round_have_no_common_node() -> None:
    belief, rng = believe(NAMES, IsolationSettings()), np.random.default_rng(1)
    for _ in range(6):
        planned = next_round(belief, Budget(), rng)
        assert not isinstance(planned, Stop)
        nodes = [node for test in planned for node in test.nodes]
        assert len(nodes) == len(set(nodes))
        assert all(len(test.nodes) > 1 for test in planned)
        belief = update(
            belief, [Outcome(test, "failed" if {"n03", "n09"} & set(test.nodes) else "passed") for test in planned[:1]]
        )


def test_the_same_seed_gives_the_same_groups() -> None:
    belief = believe(NAMES, IsolationSettings())
    first, second = (next_round(belief, Budget(), np.random.default_rng(7)) for _ in range(2))
    assert first == second


def test_a_spent_budget_ends_the_search() -> None:
    stop = next_round(believe(NAMES, IsolationSettings()), Budget(rounds=0), np.random.default_rng(1))
    assert isinstance(stop, Stop)
    assert stop.reason == "budget"


def test_few_rounds_take_more_groups() -> None:
    names = [f"n{number}" for number in range(232)]
    belief = believe(names, IsolationSettings())
    many, few = (next_round(belief, Budget(rounds=rounds), np.random.default_rng(1)) for rounds in (math.inf, 2))
    assert not isinstance(many, Stop)
    assert not isinstance(few, Stop)
    assert len(few) > len(many)


def test_one_end_of_a_pair_alone_is_not_blamed() -> None:
    """Two nodes that fail only with each other have no distinct partner: it may be their link."""
    belief = believe(NAMES, IsolationSettings())
    rest = Outcome(GroupTest("r1g2", 1, NAMES[2:]), "passed")
    belief = update(belief, [Outcome(GroupTest("r1g1", 1, NAMES[:2]), "failed"), rest])
    assert conclude(belief).blamed == ()
