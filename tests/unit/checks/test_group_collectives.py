"""Which groups there are, and which of the slow ones is named. Real ranks and a slow link: tests/system/test_group_collectives.py."""

from __future__ import annotations

from typing import Any

import pytest
from support.solo_context import SoloContext

from hpcaccept.checks import group_collectives as module
from hpcaccept.checks.group_collectives import Group, GroupCollectives, Level, levels_of, shares, smallest, told
from hpcaccept.checks.shared import nccl_transport
from hpcaccept.model.check import Unavailable

NODES = tuple(f"node{number}" for number in range(8))


def shape(levels: list[Level]) -> dict[str, list[str]]:
    return {level.name: [str(group) for group in level.groups] for level in levels}


def test_groups_double_up_to_half_of_the_nodes_with_all_ranks_of_each() -> None:
    levels, absent = levels_of([node for node in NODES for _ in range(2)], {})
    assert shape(levels) == {
        "2 nodes": ["node[0-1]", "node[2-3]", "node[4-5]", "node[6-7]"],
        "4 nodes": ["node[0-3]", "node[4-7]"],
    }
    assert levels[0].groups[1].ranks == (4, 5, 6, 7)
    assert set(absent) == {"leaf"}


def test_groups_keep_to_a_leaf_as_long_as_they_fit_and_leaves_are_compared_with_leaves_of_their_size() -> None:
    leaf_of = {node: f"leaf{number % 2}" for number, node in enumerate(NODES[:6])} | {
        "node6": "leaf2",
        "node7": "leaf2",
    }
    levels, absent = levels_of(NODES, leaf_of)
    assert absent == {}
    assert shape(levels) == {
        "leaves of 2 nodes": ["leaf2 (node[6-7])"],
        "2 nodes": ["node[0,2]", "node[1,4]", "node[3,5]", "node[6-7]"],
        "leaves of 3 nodes": ["leaf0 (node[0,2,4])", "leaf1 (node[1,3,5])"],
        "4 nodes": ["node[0-2,4]", "node[3,5-7]"],
    }


def test_a_size_whose_groups_are_the_leaves_is_measured_once_and_what_is_left_over_sits_out() -> None:
    halves = {node: f"leaf{number // 4}" for number, node in enumerate(NODES)}
    assert list(shape(levels_of(NODES, halves)[0])) == ["2 nodes", "leaves of 4 nodes"]
    assert shape(levels_of(NODES[:3], {})[0]) == {"2 nodes": ["node[0-1]"]}


@pytest.mark.parametrize(
    ("nodes", "leaf_of", "why"),
    [
        (NODES[:2], {}, "no group but themselves"),
        (NODES[:1], {}, "no group but themselves"),
        (("a", "a", "b"), {}, "unlike numbers"),
    ],
)
def test_where_there_is_no_group_nothing_is_judged(nodes: tuple[str, ...], leaf_of: dict[str, str], why: str) -> None:
    ctx = SoloContext(GroupCollectives(), size=len(nodes))
    ctx.allgather = lambda thing: list(nodes) if isinstance(thing, str) else [thing]  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match=why):
        ctx.check.measure(ctx)


def test_a_group_is_held_against_the_others_and_not_against_itself() -> None:
    assert shares([4.0, 4.0, 1.0]) == [1.6, 1.6, 0.25]
    assert shares([2.0, 1.0]) == [2.0, 0.5]
    assert shares([3.0]) == [1.0]


def measured(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float], least: float = 0.8, **changes: Any
) -> tuple[SoloContext, list[Any]]:
    """Rank 0 of eight, whose ranks take these seconds for a call, and 0.01 otherwise: all levels, and what the cards are held against."""
    check = GroupCollectives(blocks=1, **changes)
    ctx = SoloContext(check, size=8)
    monkeypatch.setattr(module.Team, "of", classmethod(lambda *_: None))
    monkeypatch.setattr(check.__class__, "_figures", lambda *_: [[seconds.get(rank, 0.01)] for rank in range(8)])
    slow, rates = [], []
    device = type("Cuda", (), {"kind": "cuda", "name": "cuda:0"})()
    for level in levels_of(NODES, {})[0]:
        found, of_cards = check._level(ctx, device, level, least)
        slow += found
        rates += of_cards
    ctx.fact("group_share", told(slow))
    return ctx, rates


def test_a_slow_group_is_named_and_so_are_the_smallest_that_contain_the_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx, _ = measured(monkeypatch, {5: 0.02})
    found = {variant: values for (metric, variant), values in ctx.samples.items() if metric == "group_share"}
    assert found == {
        "2 nodes/all_reduce/1GiB/node4, node5": [0.5],
        "4 nodes/all_reduce/1GiB/node4, node5, node6, node7": [0.5],
    }
    assert "smallest slow groups: node[4-5];" in ctx.facts["group_share"]
    assert len([beat for beat in ctx.beats if beat.startswith("2 nodes")]) == 1 + module._AGAIN, (
        "a suspect is measured again"
    )


def test_healthy_groups_are_measured_once_and_the_slowest_of_each_size_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ctx, _ = measured(monkeypatch, {5: 0.0104})
    assert ctx.beats == ["2 nodes/all_reduce/1GiB, attempt 1", "4 nodes/all_reduce/1GiB, attempt 1"]
    assert [round(values[0], 2) for (metric, _), values in ctx.samples.items() if metric == "group_share"] == [
        0.96,
        0.96,
    ]
    assert ctx.facts["group_share"] == "no group is slow beside its like"


def test_where_ranks_outnumber_cores_only_what_no_scheduler_can_cost_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx, _ = measured(monkeypatch, {5: 0.02}, least=module._CROWDED)
    assert not ctx.variants("group_share")
    assert "may be the scheduler's doing" in ctx.refused["group_share[2 nodes/all_reduce/1GiB]"]
    ctx, _ = measured(monkeypatch, {5: 0.04}, least=module._CROWDED)
    assert ctx.variants("group_share") >= {"2 nodes/all_reduce/1GiB/node4, node5"}


def test_what_is_slow_in_large_groups_alone_is_named_by_them() -> None:
    large = Group("", NODES[:4], (0, 1, 2, 3))
    assert smallest([large, Group("leaf1", NODES[:2], (0, 1)), Group("", NODES[4:6], (4, 5))])[0].leaf == "leaf1"
    assert smallest([large]) == [large]


def test_groups_that_leave_their_cards_idle_miss_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx, rates = measured(monkeypatch, {5: 0.5})
    assert [(rate.variant, rate.nodes, rate.ranks_per_node, rate.sharing) for rate in rates] == [
        (f"{size} nodes/all_reduce/1GiB/{which}", size, 1, 1) for size in (2, 4) for which in ("slowest", "fastest")
    ]
    monkeypatch.setattr(nccl_transport, "card_bytes", lambda: 50e9)
    monkeypatch.setattr(nccl_transport, "nccl_log", lambda _: ("", ""))
    two = ("a", "b")
    ctx.allgather = lambda thing: [(node, thing[1]) for node in two] if thing and thing[0] == ctx.node else [thing]  # type: ignore[method-assign]
    nccl_transport.judge_rates(ctx, "nccl", rates[:1])
    limit = GroupCollectives.metric("cards_share").limit  # type: ignore[union-attr]
    assert limit
    assert not limit.met_by(ctx.value("cards_share", rates[0].variant))
    assert limit.met_by(0.65), "what is published for a healthy cluster"


def test_a_list_of_leaves_is_a_list_of_nodes() -> None:
    assert GroupCollectives(leaves=("node[01-16]", "node17")).leaves
    ctx = SoloContext(GroupCollectives(leaves=("x[1-2]", "node[0-3]")), node="node2")
    assert module._leaf_of(ctx, ctx.check.leaves) == {"node2": "leaf 2"}  # type: ignore[attr-defined]
