"""Who kept the others waiting: from traces of real hangs, and from rules that must never name a victim."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from support.builders import DATA, record, step

from hpcaccept.launch.job.failure import Loss, RankLogs, loss_of
from hpcaccept.launch.job.hang import earliest_wait, said_by_ras
from hpcaccept.model.record import CollectivesSeen, GroupProgress, Record
from hpcaccept.parse.flight_recorder import progress_of

TRACES = DATA / "flight_recorder"
UNRESPONSIVE = (DATA / "nccl_ras/unresponsive.txt").read_text("utf-8")
LATE = "deadline: did not finish within 5 s (measuring)"


def hang() -> dict[int, CollectivesSeen]:
    """Rank 1 of three did not come to collective 5."""
    return {rank: CollectivesSeen(progress_of((TRACES / f"hang_r{rank}.json").read_bytes())) for rank in range(3)}


def at(entered: int, *, waits: bool, group: str = "0", everyone: bool = True) -> GroupProgress:
    return GroupProgress(group, everyone, entered, "gloo:all_reduce", waits)


def late(rank: int, **more: object) -> Record:
    words = {"outcome": "error", "rank": rank, "cause": LATE, "cut_short": True, "interruption": "deadline", **more}
    return record("allreduce", f"node{rank}", {}, **words)


def logs(*records: Record, **more: object) -> RankLogs:
    return RankLogs({r.rank: r.node for r in records}, records, frozenset(), {}, **more)  # type: ignore[arg-type]


def test_the_rank_that_never_came_is_told_from_those_that_waited_in_different_collectives() -> None:
    wait = earliest_wait(hang())
    assert wait is not None
    assert (wait.absent, wait.waiting) == ((1,), (0, 2))
    assert str(wait) == "2 ranks waited in collective 5 (gloo:broadcast)"


def test_where_all_are_late_alike_the_recorder_names_the_one_that_was_waited_for() -> None:
    the_step = step(["allreduce"], 3)
    everyone_late = logs(*map(late, range(3)))
    assert loss_of(the_step, everyone_late, [], late=False) == Loss((), (), "allreduce", LATE, "overdue")
    found = loss_of(the_step, replace(everyone_late, collectives=hang()), [], late=False)
    assert found == Loss(
        (1,),
        ("node1",),
        "allreduce",
        "did not enter the collective that the others were in; 2 ranks waited in collective 5 (gloo:broadcast)",
        "overdue",
    )


def test_whose_deadline_passed_first_is_chance_and_the_one_that_was_ended_meanwhile_is_named_all_the_same() -> None:
    ended = late(1, cause="ended by SIGTERM", by_peer=True, interruption="terminated")
    found = loss_of(step(["allreduce"], 3), logs(late(0), ended, late(2), collectives=hang()), [], late=False)
    assert found is not None
    assert found.ranks == (1,)


def test_a_silent_rank_outweighs_what_the_others_waited_for_and_that_is_added() -> None:
    seen = {rank: said for rank, said in hang().items() if rank != 2}
    found = loss_of(step(["allreduce"], 3), logs(late(0), late(1), collectives=seen), [], late=False)
    assert found is not None
    assert (found.ranks, found.kind) == ((2,), "silent")
    assert found.how.endswith("; 1 rank waited in collective 5 (gloo:broadcast)")


def test_a_rank_that_was_stopped_in_a_collective_is_none_of_those_that_waited_for_it() -> None:
    seen = {rank: CollectivesSeen((at(7, waits=True),)) for rank in range(3)}
    stopped = late(1, cause="stopped: this process did not run for 13 s", interruption="stopped")
    victims = (late(rank, by_peer=True) for rank in (0, 2))
    found = loss_of(step(["allreduce"], 3), logs(*victims, stopped, collectives=seen), [], late=False)
    assert found is not None
    assert (found.ranks, found.kind) == ((1,), "stopped")
    assert found.how.endswith("; 2 ranks waited in collective 7 (gloo:all_reduce)")


def test_an_error_of_a_check_is_the_cause_and_not_that_its_rank_enters_no_collective_any_more() -> None:
    broken = late(2, cause="Boom", cut_short=False, interruption="")
    victims = (late(rank, by_peer=True, interruption="terminated") for rank in (0, 1))
    found = loss_of(step(["allreduce"], 3), logs(*victims, broken, collectives=hang()), [], late=False)
    assert found == Loss((2,), ("node2",), "allreduce", "Boom", "failed")


def test_who_waits_in_another_group_is_not_absent_from_this_one() -> None:
    seen = {
        0: CollectivesSeen((at(3, waits=True),)),
        1: CollectivesSeen((at(3, waits=True),)),
        2: CollectivesSeen((at(2, waits=False), at(1, waits=True, group="1", everyone=False))),
        3: CollectivesSeen((at(2, waits=False), at(0, waits=False, group="1", everyone=False))),
    }
    wait = earliest_wait(seen)
    assert wait is not None
    assert wait.absent == (3,)


def test_a_rank_that_is_not_of_a_group_is_not_missed_there_and_one_that_never_came_to_that_of_all_is() -> None:
    for everyone, absent in ((False, ()), (True, (2,))):
        seen = {rank: CollectivesSeen((at(1, waits=True, everyone=everyone),)) for rank in (0, 1)}
        wait = earliest_wait({**seen, 2: CollectivesSeen(())})
        assert wait is not None
        assert wait.absent == absent


def test_many_that_one_has_left_behind_are_not_blamed() -> None:
    seen = {rank: CollectivesSeen((at(2, waits=False),)) for rank in range(3)}
    collectives = {**seen, 3: CollectivesSeen((at(3, waits=True),))}
    found = loss_of(step(["allreduce"], 4), logs(*map(late, range(4)), collectives=collectives), [], late=False)
    assert found is not None
    assert found.ranks == ()


@given(st.dictionaries(st.integers(0, 7), st.tuples(st.integers(0, 5), st.booleans()), max_size=8))
def test_no_rank_that_waits_is_ever_called_absent(told: dict[int, tuple[int, bool]]) -> None:
    seen = {rank: CollectivesSeen((at(entered, waits=waits),)) for rank, (entered, waits) in told.items()}
    wait = earliest_wait(seen)
    assert (wait is None) == (not any(waits for _, waits in told.values()))
    if wait:
        assert not any(told[rank][1] for rank in wait.absent)
        assert all(told[rank][0] < wait.number for rank in wait.absent)


def test_what_ras_says_of_a_process_is_said_of_its_rank_where_one_rank_has_that_number() -> None:
    said = "process 3487984 on 172.16.64.213) does not answer"
    assert said_by_ras(UNRESPONSIVE, {20: 7, 21: 3487984}) == f"NCCL RAS: rank 21 ({said}"
    for pids in ({}, {5: 3487984, 21: 3487984}):  # containers may number alike
        assert said_by_ras(UNRESPONSIVE, pids) == "NCCL RAS: a process (3487984 on 172.16.64.213) does not answer"
    assert said_by_ras((DATA / "nccl_ras/ok.txt").read_text("utf-8"), {}) == ""


def test_of_many_processes_some_are_named() -> None:
    said = said_by_ras((DATA / "nccl_ras/behind.txt").read_text("utf-8"), {})
    assert said.count("has launched fewer collectives") == 4
    assert said.endswith(", 2 more")


def test_ras_adds_to_the_evidence_and_never_names_anybody_by_itself() -> None:
    the_step, words = step(["allreduce"], 3), logs(*map(late, range(3)), pids={1: 3487984}, ras=UNRESPONSIVE)
    found = loss_of(the_step, words, [], late=False)
    assert found is not None
    assert found.ranks == ()
    assert found.how == f"{LATE}; NCCL RAS: rank 1 (process 3487984 on 172.16.64.213) does not answer"
