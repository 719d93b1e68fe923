"""Groups of one get a partner where a check needs two, and no node is in two groups."""

from __future__ import annotations

from hpcaccept.launch.job.isolation.drive import with_partners
from hpcaccept.model.isolation import GroupTest

BEST_FIRST = ("node3", "node1", "node0", "node2")


def groups(*tests: str) -> tuple[GroupTest, ...]:
    return tuple(GroupTest(f"r1g{n}", 1, tuple(names.split())) for n, names in enumerate(tests))


def members(tests: tuple[GroupTest, ...]) -> list[tuple[str, ...]]:
    return [test.nodes for test in tests]


def test_a_node_alone_gets_the_best_node_that_is_free() -> None:
    assert members(with_partners(groups("node2"), BEST_FIRST)) == [("node2", "node3")]


def test_two_alone_do_not_share_a_partner() -> None:
    assert members(with_partners(groups("node2", "node0"), BEST_FIRST)) == [("node2", "node3"), ("node0", "node1")]


def test_who_has_met_the_best_gets_another() -> None:
    met = {frozenset(("node2", "node3"))}
    assert members(with_partners(groups("node2"), BEST_FIRST, met)) == [("node2", "node1")]


def test_where_all_are_alone_they_are_each_others_partners() -> None:
    alone = groups("node0", "node1", "node2", "node3")
    assert members(with_partners(alone, BEST_FIRST)) == [("node2", "node3"), ("node0", "node1")]


def test_where_nobody_is_free_a_large_group_gives_its_best() -> None:
    tests = groups("node2", "node0 node1 node3")
    assert members(with_partners(tests, BEST_FIRST)) == [("node0", "node1"), ("node2", "node3")]


def test_of_three_nodes_one_waits_and_pairs_that_have_not_met_go_first() -> None:
    three = ("node1", "node0", "node2")
    assert members(with_partners(groups("node2", "node0 node1"), three)) == [("node2", "node1")]
    met = {frozenset(("node2", "node1"))}
    assert members(with_partners(groups("node2", "node0 node1"), three, met)) == [("node2", "node0")]


def test_groups_of_two_and_more_stay_as_they_are() -> None:
    tests = groups("node0 node1", "node2 node3")
    assert with_partners(tests, BEST_FIRST) == tests
