from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.solo_context import SoloContext

from hpcaccept.checks import pairs as module
from hpcaccept.checks.pairs import Pairs, drawn_tournament, link_shares, tournament
from hpcaccept.model.check import Unavailable

FAST, SLOW = 10e9, 1e9


@given(st.integers(2, 40))
def test_every_pair_meets_exactly_once_and_nobody_twice_in_a_round(nodes: int) -> None:
    met: list[tuple[int, int]] = []
    rounds = list(tournament(nodes, rounds=nodes))
    for partners in rounds:
        assert len(partners) == nodes
        idle = [node for node, partner in enumerate(partners) if partner is None]
        assert len(idle) == nodes % 2
        for node, partner in enumerate(partners):
            if partner is not None:
                assert partners[partner] == node != partner
                met += [(node, partner)] if node < partner else []
    assert sorted(met) == list(itertools.combinations(range(nodes), 2))
    assert len(rounds) == (nodes - 1 if nodes % 2 == 0 else nodes)


@given(st.integers(2, 30))
def test_a_drawn_order_is_a_tournament_too(nodes: int) -> None:
    met = [
        (node, partner)
        for partners in drawn_tournament([f"n{i}" for i in range(nodes)], rounds=nodes)
        for node, partner in enumerate(partners)
        if partner is not None and partners[partner] == node < partner
    ]
    assert sorted(met) == list(itertools.combinations(range(nodes), 2))


def test_a_bad_rack_is_not_what_its_neighbours_meet() -> None:
    # Of 64 nodes, 16 side by side: in the order of their names a neighbour meets up to 15 of them in 15 rounds.
    def most_of_the_rack(rounds: list[list[int | None]]) -> int:
        return max(sum(partners[node] in range(16, 32) for partners in rounds) for node in range(64))

    names = [f"n{i:03d}" for i in range(64)]
    assert most_of_the_rack(list(tournament(64))) >= 8
    drawn = list(drawn_tournament(names))
    assert most_of_the_rack(drawn) < 8
    assert drawn == list(drawn_tournament(names))
    assert drawn != list(drawn_tournament(names[::-1]))


def test_large_runs_are_bounded() -> None:
    assert len(list(tournament(1024))) == 15
    assert len(list(tournament(1024, rounds=4))) == 4


def matrix(nodes: int, slow: set[frozenset[int]], rails: int = 1) -> dict[tuple[int, int], dict[int, float]]:
    return {
        (a, rail): {b: SLOW if frozenset((a, b)) in slow else FAST for b in range(nodes) if b != a}
        for a in range(nodes)
        for rail in range(rails)
    }


def test_a_slow_link_between_fast_nodes_is_the_lowest_share() -> None:
    (worst, link), (second, _) = sorted(link_shares(matrix(4, {frozenset((1, 3))})))[:2]
    assert link == (1, 3, 0)
    assert (worst, second) == pytest.approx((0.1, 1.0))


def test_a_slow_node_makes_no_slow_link() -> None:
    slow = {frozenset((2, other)) for other in (0, 1, 3)}
    assert min(link_shares(matrix(4, slow)))[0] == pytest.approx(1.0)


class Fleet(SoloContext):
    """Rank 0 of four nodes; what the others gather is given."""

    def __init__(self, times: list[dict[str, float]]) -> None:
        super().__init__(Pairs(), size=4)
        self.times = times

    def allgather(self, thing: Any) -> list[Any]:
        return self.times


def concluded(slow: set[frozenset[int]]) -> SoloContext:
    times = [
        {str(b): 8 / SLOW if frozenset((a, b)) in slow else 8 / FAST for b in range(4) if b != a} for a in range(4)
    ]
    ctx = Fleet(times)
    module._conclude(ctx, [[0], [1], [2], [3]], ["n0", "n1", "n2", "n3"], 8, {1: times[0]["1"]})
    return ctx


def test_a_slow_link_is_named_by_both_ends_and_the_node_keeps_its_rate() -> None:
    ctx = concluded({frozenset((0, 3))})
    assert ctx.value("link_share", "n0 – n3") == pytest.approx(0.1)
    assert ctx.variants("link_share") == {"n0 – n3"}
    assert ctx.value("node_bytes") == pytest.approx(FAST)
    assert ctx.value("exchange_bytes", "n3") == pytest.approx(SLOW)


def test_a_slow_node_is_slow_with_everybody_and_no_link_is_blamed() -> None:
    ctx = concluded({frozenset((0, other)) for other in (1, 2, 3)})
    assert ctx.value("node_bytes") == pytest.approx(SLOW)
    assert min(v for (name, _), (v,) in ctx.samples.items() if name == "link_share") == pytest.approx(1.0)


def test_the_slower_end_is_what_counts() -> None:
    times = [{str(b): 8 / FAST for b in range(4) if b != a} for a in range(4)]
    times[3]["0"] = 8 / SLOW
    ctx = Fleet(times)
    module._conclude(ctx, [[0], [1], [2], [3]], ["n0", "n1", "n2", "n3"], 8, {})
    assert ctx.value("exchange_bytes", "n3") == pytest.approx(SLOW)


def test_one_node_alone_is_not_run() -> None:
    with pytest.raises(Unavailable, match="no links to other nodes"):
        SoloContext(Pairs()).run()


def test_nodes_with_unlike_numbers_of_ranks_are_not_run() -> None:
    ctx = SoloContext(Pairs(), size=3)
    ctx.allgather = lambda thing: [[0, 1], [0, 1], [2]]  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="unlike numbers"):
        module._nodes(ctx)
