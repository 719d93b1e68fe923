"""The step of a group becomes an outcome: failed, hung, crashed, passed with its value, or no evidence at all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.builders import nodes, record, step

from hpcaccept.launch.job.failure import RankLogs
from hpcaccept.launch.job.isolation.outcome_of_step import StepEnd, outcome_of_step, rate_of, value_of
from hpcaccept.model.isolation import GroupTest
from hpcaccept.model.isolation_order import EndedTest
from hpcaccept.model.metric import Limit
from hpcaccept.model.record import RankExited, Record

if TYPE_CHECKING:
    from collections.abc import Sequence

CHECK = "allreduce"
GOOD: dict[str, float | Sequence[float]] = {
    "busbw_bytes[gloo/4KiB]": [1e6, 2e6],
    "busbw_bytes[gloo/64MiB]": [8e8, 9e8, 1e9],
    "busbw_bytes[mpi/64MiB]": 4e9,
}


OTHER: dict[str, float | Sequence[float]] = {"wrong_elements[gloo/4KiB]": 0}


def measured(rank: int, node: str, **more: object) -> Record:
    return record(CHECK, node, GOOD if rank == 0 else OTHER, rank=rank, **more)


def outcome(
    *records: Record, code: int = 0, late: bool = False, exits: dict[int, RankExited] | None = None, stderr: str = "",
    limits: dict[str, Limit] | None = None, gone: dict[str, str] | None = None, finished: bool = True,
) -> EndedTest:  # fmt: skip
    spoke = {one.rank: one.node for one in records}
    done = frozenset(one.rank for one in records) if finished else frozenset()
    logs = RankLogs(spoke, records, done, {}, exits or {})
    group = step((CHECK,), 2)
    ended = EndedTest(GroupTest("r1g1", 1, nodes(2)), "not_run", code=code)
    return outcome_of_step(ended, StepEnd(group, logs, stderr, code, late), CHECK, limits or {}, gone or {})


def test_who_measured_inside_all_limits_passed() -> None:
    found = outcome(measured(0, "node0"), measured(1, "node1"))
    assert (found.kind, found.silent) == ("passed", ())


def test_a_wrong_sum_on_one_node_fails_the_group_and_names_it() -> None:
    wrong = record(CHECK, "node1", {"wrong_elements[gloo/4KiB]": 3}, rank=1)
    found = outcome(measured(0, "node0"), wrong)
    assert (found.kind, found.silent) == ("failed", ("node1",))
    assert found.how == "allreduce.wrong_elements[gloo/4KiB] is 3 elements on node1, expected at most 0 elements"


def test_a_limit_of_the_suite_on_what_all_reach_together_names_nobody() -> None:
    limit = {"allreduce.busbw_bytes[gloo/64MiB]": Limit(2e9, None, "B/s", "suite")}
    found = outcome(measured(0, "node0"), measured(1, "node1"), limits=limit)
    assert (found.kind, found.silent) == ("failed", ())
    assert "expected at least" in found.how


def test_a_rank_that_was_killed_crashes_the_group() -> None:
    victim = measured(0, "node0", outcome="error", by_peer=True, cut_short=True, cause="ended by its launcher")
    found = outcome(victim, exits={1: RankExited(-9, 1.0)}, code=137, finished=False)
    assert (found.kind, found.silent) == ("crashed", ("node1",))
    assert "signal 9" in found.how


def test_a_rank_that_stopped_hangs_the_group_and_is_named() -> None:
    waiting = record(CHECK, "node0", outcome="error", cut_short=True, by_peer=True, cause="waited")
    stopped = record(CHECK, "node1", rank=1, outcome="error", cut_short=True, interruption="stopped", cause="a hole")
    found = outcome(waiting, stopped, late=True, finished=False)
    assert (found.kind, found.silent) == ("hung", ("node1",))


def test_a_rendezvous_that_fails_on_all_ranks_is_a_failure_that_names_nobody() -> None:
    cause = "RuntimeError: ranks [1] cannot reach rank 0 at any of [('10.0.0.1', 4000)]"
    both = [record(CHECK, f"node{rank}", rank=rank, outcome="error", cause=cause) for rank in range(2)]
    found = outcome(*both, code=1, finished=False)
    assert (found.kind, found.silent) == ("failed", ())
    assert "cannot reach rank 0" in found.how


def test_who_sees_a_connection_break_is_not_the_one_that_went_silent() -> None:
    broke = record(CHECK, "node1", rank=1, outcome="error", cause="RuntimeError: Connection closed by peer")
    victim = record(CHECK, "node0", outcome="error", cut_short=True, by_peer=True, cause="ended")
    found = outcome(broke, victim, exits={1: RankExited(70, 1.0)}, code=1, finished=False)
    assert (found.kind, found.silent, found.how) == ("failed", (), "RuntimeError: Connection closed by peer")


def test_a_node_that_cannot_be_reached_any_more_is_the_one_that_went_silent() -> None:
    found = outcome(
        measured(0, "node0", cut_short=True, outcome="error", cause="x"),
        gone={"node1": "does not answer"},
        finished=False,
    )
    assert (found.kind, found.silent, found.how) == ("crashed", ("node1",), "node1 does not answer")


def test_nobody_said_a_word_and_the_launcher_says_why() -> None:
    found = outcome(code=1, stderr="srun: error: Unable to create step\n")
    assert (found.kind, found.silent) == ("crashed", ())
    assert found.how == "srun: error: Unable to create step"


def test_what_a_node_cannot_measure_is_no_evidence() -> None:
    cause = "rank 1 on node1 cannot take part: torch cannot be imported"
    both = [record(CHECK, f"node{rank}", rank=rank, outcome="not_run", cause=cause) for rank in range(2)]
    found = outcome(*both)
    assert (found.kind, found.how) == ("not_run", cause)


def test_the_value_is_the_largest_size_of_the_first_backend() -> None:
    key, value, noise = value_of([measured(0, "node0"), measured(1, "node1")], CHECK, "auto") or ("", 0.0, 0.0)
    assert (key, value) == ("allreduce.busbw_bytes[gloo/64MiB]", 9e8)
    assert noise == pytest.approx(1e8 / 9e8 / 3**0.5)


def test_a_number_that_is_named_is_the_one() -> None:
    found = value_of([measured(0, "node0")], CHECK, "allreduce.busbw_bytes[mpi/64MiB]")
    assert found == ("allreduce.busbw_bytes[mpi/64MiB]", 4e9, 0.0)


def test_of_several_ranks_the_slowest_is_the_group() -> None:
    records = [record("pairs", f"node{rank}", {"node_bytes": 1e9 - rank * 1e8}, rank=rank) for rank in range(2)]
    assert value_of(records, "pairs", "auto") == ("pairs.node_bytes", 9e8, 0.0)


def test_without_a_number_there_is_none() -> None:
    assert value_of([replace(measured(0, "node0"), samples=())], CHECK, "auto") is None
    assert value_of([measured(0, "node0")], CHECK, "") is None
    assert rate_of(CHECK, "") is None
