"""Whose job is ended so that a user's job can begin, and whose is not."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcaccept.app.campaign.wanted import Holding, in_the_way
from hpcaccept.model.node import NodeState, WaitingJob

#: Our jobs hold a and b; c is a user's; d is idle.
NODES = [
    NodeState("a", ("ALLOCATED",), 8, partitions=("gpu",)),
    NodeState("b", ("ALLOCATED",), 8, partitions=("gpu", "big")),
    NodeState("c", ("ALLOCATED",), 8, partitions=("gpu",)),
    NodeState("d", ("IDLE",), partitions=("gpu",)),
]
OURS = [Holding("run-a", frozenset("a"), 100.0), Holding("run-b", frozenset("b"), 200.0)]


def job(nodes: int = 1, **more: Any) -> WaitingJob:
    return WaitingJob(
        **{"id": "7", "partitions": ("gpu",), "nodes": nodes, "reason": "Resources", "since_s": 300.0, **more}
    )


def ended(*waiting: WaitingJob, now_s: float = 301.0) -> set[str]:
    return set(in_the_way(waiting, NODES, OURS, now_s))


@pytest.mark.parametrize(
    ("waiting", "expected"),
    [
        (job(1), set()),  # the idle one is enough
        (job(2), {"run-b"}),  # the youngest
        (job(2, planned=frozenset("a")), {"run-a"}),  # unless Slurm means another
        (job(3), {"run-a", "run-b"}),
        (job(4), set()),  # it waits for somebody else as well
        (job(1, named=frozenset("a")), {"run-a"}),
        (job(1, named=frozenset("ac")), set()),  # and c is not ours to give
        (job(1, partitions=("big",)), {"run-b"}),
        (job(1, partitions=("other",)), set()),
        (job(2, excluded=frozenset("b")), {"run-a"}),
        (job(2, several=True), {"run-a", "run-b"}),  # more of it may wait
        (job(1, several=True), set()),  # for which there are idle nodes as yet
        (job(3, reason="Dependency"), set()),
        (job(3, reason="JobHeldUser"), set()),
        (job(3, comment="20261130-120000-cpu-2n-abcd"), set()),  # stands behind everybody itself
        (job(3, comment="urgent 2026"), {"run-a", "run-b"}),
    ],
)
def test_a_job_of_ours_is_ended_where_that_lets_a_users_job_begin(waiting: WaitingJob, expected: set[str]) -> None:
    assert ended(waiting) == expected


def test_two_jobs_do_not_count_on_the_same_idle_node() -> None:
    assert ended(job(1), job(1, id="8")) == {"run-b"}
    assert ended(job(1), job(1, id="8"), job(1, id="9")) == {"run-a", "run-b"}


def test_who_waits_beside_idle_nodes_gets_ours_at_the_second_look_if_he_came_after_us() -> None:
    assert ended(job(1), now_s=301.0) == set()
    assert ended(job(1), now_s=320.0) == {"run-a", "run-b"}
    # He waited already when b was taken, and was not given it.
    assert ended(job(1, since_s=150.0), now_s=320.0) == {"run-a"}
    assert ended(job(1, since_s=math.nan), now_s=320.0) == set()


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sets(st.sampled_from("abcd")), st.sets(st.sampled_from("abcd")), st.booleans()),
        max_size=6,
    )
)
def test_only_jobs_of_ours_are_named_and_none_where_nobody_waits(
    rows: list[tuple[int, set[str], set[str], bool]],
) -> None:
    waiting = [job(n, named=frozenset(named), excluded=frozenset(out), several=many) for n, named, out, many in rows]
    found = ended(*waiting)
    assert found <= {"run-a", "run-b"}
    assert rows or not found
