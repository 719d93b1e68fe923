"""hpcaccept.judge.coverage: what counts as judged, counted in checks on nodes."""

from __future__ import annotations

import pytest
from support.builders import evidence, fleet, judged, nodes, plan, record, suite

from hpcaccept.judge.coverage import Coverage
from hpcaccept.model.metric import Limit
from hpcaccept.model.suite import CheckSpec

GOOD = {"rate_flops": 100.0, "wrong_elements": 0.0}


@pytest.mark.parametrize(
    ("judged_of", "asked", "percent"), [(2046, 2048, 99), (2048, 2048, 100), (0, 4, 0), (1, 3, 33), (0, 0, 0)]
)
def test_a_share_is_rounded_down(judged_of: int, asked: int, percent: int) -> None:
    assert Coverage(asked, judged_of, {}, 4, ()).percent == percent


def test_each_check_on_each_node_counts_once() -> None:
    records = [
        record(check, node, numbers)
        for node in nodes(3)
        for check, numbers in (("speed", GOOD), ("identity", {"cores": 8, "gpu_count": 1}))
    ]
    cover = judged(evidence(records, plan(suite("identity", "speed")))).coverage
    assert (cover.asked, cover.judged, cover.nodes_asked) == (8, 6, 4)
    assert cover.gaps == {"identity": ("node3",), "speed": ("node3",)}
    assert cover.nodes_silent == ("node3",)


def test_nodes_without_a_name_follow_those_with_one() -> None:
    cover = judged(evidence([record("speed", n, GOOD) for n in nodes(3)], plan(nodes=6), names=nodes(4))).coverage
    assert cover.gaps == {"speed": ("node3", "?", "?")}
    assert cover.nodes_silent == ("node3",)


def test_what_one_question_could_not_answer_is_no_gap_where_another_could() -> None:
    limits = {"speed.rate_flops": Limit(1.0, None, "FLOP/s", "suite")}
    cover = judged(fleet([100.0], plan(suite(limits=limits), nodes=1))).coverage
    assert (cover.judged, cover.gaps) == (1, {})


def test_a_fail_is_judged_and_an_error_is_not() -> None:
    rates = [record("speed", n, {**GOOD, "wrong_elements": float(n == "node1")}) for n in nodes(4)]
    assert judged(evidence(rates)).coverage.gaps == {}
    lost = [*rates[:3], record("speed", "node3", cause="killed")]
    assert judged(evidence(lost)).coverage.gaps == {"speed": ("node3",)}


@pytest.mark.parametrize("required", [True, False])
def test_what_need_not_be_there_leaves_no_gap_beside_what_was_judged(required: bool) -> None:
    the_plan = plan(suite(CheckSpec("speed", required=required)), ranks_per_node=2)
    ranks = [record("speed", n, GOOD, rank=rank, device=f"cuda:{rank}") for n in nodes(4) for rank in range(2)]
    lost = evidence([*ranks[:-1], record("speed", "node3", cause="killed", rank=1, device="cuda:1")], the_plan)
    assert judged(lost).coverage.gaps == ({"speed": ("node3",)} if required else {})


def test_a_number_of_all_ranks_together_covers_no_node() -> None:
    limits = {"fabric.busbw_bytes": Limit(1.0, None, "B/s", "suite")}
    records = [record("fabric", n, {"busbw_bytes": 5.0} if n == "node0" else {}) for n in nodes(4)]
    cover = judged(evidence(records, plan(suite("fabric", limits=limits)))).coverage
    assert (cover.judged, cover.gaps) == (0, {"fabric": nodes(4)})
