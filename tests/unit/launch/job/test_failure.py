"""Who was lost, and what follows: every way in which a step can be lost, and that it always comes to an end."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.builders import DATA, record, step

from hpcaccept.launch.job.failure import (
    Loss,
    RankLogs,
    loss_of,
    misfit_of,
    narrowed,
    next_steps,
    node_names,
    seen_to_die,
)
from hpcaccept.launch.job.queue import StepQueue, after, next_step
from hpcaccept.model.record import RankExited
from hpcaccept.parse.rank_exits import Death, parse_deaths
from hpcaccept.serial import dumps, from_plain

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from hpcaccept.model.plan import Step
    from hpcaccept.model.record import Record

CHECKS = ("identity", "matmul", "allreduce")


def node_of(the_step: Step, rank: int) -> str:
    return the_step.nodes[rank // the_step.ranks_per_node]


def said(the_step: Step, rank: int, check: str, **more: object) -> Record:
    more = {"outcome": "measured", "step": the_step.id, "rank": rank, **more}
    return record(check, node_of(the_step, rank), {}, **more)


def words(
    the_step: Step,
    broken: str = "",
    *,
    silent: Iterable[int] = (),
    overdue: Iterable[int] = (),
    failed: Iterable[int] = (),
    mute: Iterable[int] = (),
) -> RankLogs:
    """What the ranks of a step leave behind.

    Args:
        the_step: all checks before ``broken`` were measured by all ranks.
        broken: the check in which it went wrong; empty: nothing went wrong.
        silent: ranks without a word about the broken check.
        overdue: ranks that ended themselves because they were late.
        failed: ranks whose own fault ended the step (an error in a collective check).
        mute: ranks that never said anything, not even hello.
    """
    ranks = range(the_step.ranks)
    names = [spec.name for spec in the_step.checks]
    whole = names[: names.index(broken)] if broken else names
    silent, overdue, failed, mute = set(silent), set(overdue), set(failed), set(mute)
    records = [said(the_step, rank, check) for check in whole for rank in ranks if rank not in mute]
    if broken:
        for rank in ranks:
            if rank in silent | mute:
                continue
            victim = rank not in overdue | failed
            cause = (
                "ended by SIGTERM" if victim else "deadline: did not finish within 5 s" if rank in overdue else "Boom"
            )
            records.append(
                said(
                    the_step,
                    rank,
                    broken,
                    outcome="error",
                    cause=cause,
                    cut_short=rank not in failed,
                    by_peer=victim,
                    interruption="terminated" if victim else "deadline" if rank in overdue else "",
                )
            )
    return RankLogs(
        spoke={rank: node_of(the_step, rank) for rank in ranks if rank not in mute},
        records=tuple(records),
        finished=frozenset() if broken else frozenset(ranks),
        stopped={},
    )


# --- who was lost -----------------------------------------------------------------------------------------------------


def test_nothing_is_lost_when_every_rank_has_said_everything() -> None:
    the_step = step(CHECKS)
    assert loss_of(the_step, words(the_step), [], late=False) is None


def test_the_words_of_the_launcher_name_the_rank_that_died() -> None:
    the_step = step(CHECKS)
    deaths = parse_deaths((DATA / "launchers" / "srun_one_killed.err").read_text())
    loss = loss_of(the_step, words(the_step, "matmul", silent=[2]), deaths, late=False)
    assert loss == Loss((2,), ("node2",), "matmul", "the launcher reports 'Killed'", "died")


def test_those_that_the_launcher_ended_are_victims_though_it_tells_of_them_too() -> None:
    the_step = step(CHECKS)
    # srun tells of the victims first here.
    deaths = [Death(0, "node0", "Terminated"), Death(3, "node3", "Terminated"), Death(1, "node1", "Killed")]
    loss = loss_of(the_step, words(the_step, "matmul", silent=[1]), deaths, late=False)
    assert loss is not None
    assert (loss.ranks, loss.nodes) == ((1,), ("node1",))


def test_all_ranks_that_died_the_same_death_are_lost_together() -> None:
    the_step = step(CHECKS, ranks_per_node=2)
    deaths = parse_deaths((DATA / "launchers" / "srun_two_exit_3.err").read_text())
    loss = loss_of(the_step, words(the_step, "matmul", silent=[2, 3]), deaths, late=False)
    assert loss is not None
    assert (loss.ranks, loss.nodes) == ((2, 3), ("node1",))


def test_a_silent_rank_that_the_launcher_ended_later_did_not_die_the_same_death() -> None:
    the_step = step(CHECKS)
    # node3 was too slow for last words; srun says how each ended, the root cause first.
    deaths = [Death(1, "node1", "Killed"), Death(3, "node3", "Terminated")]
    loss = loss_of(the_step, words(the_step, "matmul", silent=[1, 3]), deaths, late=False)
    assert loss is not None
    assert loss.ranks == (1,)


@pytest.mark.parametrize("recorded", ["mpiexec_one_killed", "mpiexec5_one_killed"])
def test_mpiexec_names_no_node_that_counts_so_the_rank_itself_tells(recorded: str) -> None:
    # For virtual nodes mpiexec calls all of them by the name of the host.
    the_step = step(CHECKS, virtual=True)
    deaths = parse_deaths((DATA / "launchers" / f"{recorded}.err").read_text())
    loss = loss_of(the_step, words(the_step, "identity", silent=[2]), deaths, late=False)
    assert loss is not None
    assert (loss.ranks, loss.nodes, loss.check) == ((2,), ("node2",), "identity")


def test_without_the_launchers_words_the_rank_without_a_word_is_the_one() -> None:
    the_step = step(CHECKS)
    loss = loss_of(the_step, words(the_step, "allreduce", silent=[3]), [], late=False)
    assert loss == Loss(
        (3,), ("node3",), "allreduce", "wrote no record; the other ranks were terminated while waiting for it", "silent"
    )


def test_a_step_that_ran_out_of_time_says_so() -> None:
    the_step = step(CHECKS)
    loss = loss_of(the_step, words(the_step, "matmul", silent=[0]), [], late=True)
    assert loss is not None
    assert "ran out of time" in loss.how


def test_when_everyone_has_spoken_the_overdue_one_is_suspect_and_the_waiting_are_not() -> None:
    the_step = step(CHECKS)
    loss = loss_of(the_step, words(the_step, "matmul", overdue=[1]), [], late=False)
    assert loss == Loss((1,), ("node1",), "matmul", "deadline: did not finish within 5 s", "overdue")


def test_who_was_stopped_in_a_check_that_all_have_done_is_not_the_one_that_was_overdue_later() -> None:
    the_step = step(CHECKS)
    heard = words(the_step, "matmul", overdue=[1])
    woken = said(the_step, 3, "identity", outcome="error", cause="did not run for 9 s", interruption="stopped")
    records = [r for r in heard.records if (r.rank, r.check) != (3, "identity")]
    loss = loss_of(the_step, replace(heard, records=(woken, *records)), [], late=False)
    assert loss is not None
    assert (loss.ranks, loss.check, loss.kind) == ((1,), "matmul", "overdue")


def test_a_rank_that_is_silent_outweighs_one_that_was_overdue() -> None:
    the_step = step(CHECKS)
    loss = loss_of(the_step, words(the_step, "matmul", overdue=[1], silent=[2]), [], late=False)
    assert loss is not None
    assert loss.nodes == ("node2",)


def test_a_rank_that_failed_in_a_collective_is_the_one_and_not_those_it_left_waiting() -> None:
    the_step = step(CHECKS)
    deaths = [Death(2, "node2", "Exited with exit code 76"), Death(0, "node0", "Terminated")]
    loss = loss_of(the_step, words(the_step, "allreduce", failed=[2]), deaths, late=False)
    assert loss == Loss((2,), ("node2",), "allreduce", "Boom", "failed")


def test_a_rank_that_told_its_error_and_gave_up_has_failed_and_did_not_die() -> None:
    the_step = step(CHECKS)
    heard = replace(words(the_step, "allreduce", failed=[2]), exits=exits(r2=1, r0=14))
    loss = loss_of(the_step, heard, [], late=False)
    assert loss == Loss((2,), ("node2",), "allreduce", "Boom", "failed")


def test_when_all_were_only_waiting_nobody_is_blamed() -> None:
    the_step = step(CHECKS)
    loss = loss_of(the_step, words(the_step, "matmul", overdue=[]), [], late=False)
    assert loss == Loss((), (), "matmul", "no rank could be singled out")


def test_two_nodes_that_fall_silent_at_once_are_both_lost() -> None:
    the_step = step(CHECKS)
    loss = loss_of(the_step, words(the_step, "matmul", silent=[0, 3]), [], late=False)
    assert loss is not None
    assert loss.nodes == ("node0", "node3")


def test_a_rank_that_never_said_hello_is_lost_on_the_node_that_lacks_it() -> None:
    the_step = step(CHECKS)
    loss = loss_of(the_step, words(the_step, "identity", mute=[1]), [], late=False)
    assert loss is not None
    assert (loss.ranks, loss.nodes) == ((1,), ("node1",))


def test_before_the_first_check_the_rank_that_did_not_even_stop_is_lost() -> None:
    the_step = step(CHECKS)
    waiting = dict.fromkeys((0, 1, 3), ("deadline: waited in vain for 300 s (MPI start)", True))
    loss = loss_of(the_step, RankLogs({}, (), frozenset(), waiting), [], late=False)
    assert loss is not None
    assert (loss.ranks, loss.nodes, loss.check) == ((2,), ("node2",), "")


def test_when_no_rank_ever_spoke_all_are_lost_before_the_first_check() -> None:
    the_step = step(CHECKS)
    loss = loss_of(the_step, RankLogs({}, (), frozenset(), {}), [], late=True)
    assert loss is not None
    assert (loss.ranks, loss.check) == ((0, 1, 2, 3), "")


def test_when_all_stopped_in_mpi_start_nobody_is_blamed_and_the_cause_is_told() -> None:
    the_step = step(CHECKS)
    stopped = dict.fromkeys(range(4), ("deadline: MPI start", True))
    loss = loss_of(the_step, RankLogs({}, (), frozenset(), stopped), [], late=False)
    assert loss is not None
    assert loss.nodes == ()


def test_who_dies_after_its_last_record_takes_nothing_with_it() -> None:
    the_step = step(CHECKS)
    done = words(the_step)
    dead_at_finish = replace(done, finished=frozenset(), stopped={0: ("waited", True), 1: ("waited", True)})
    deaths = [Death(3, "node3", "Segmentation fault")]
    assert loss_of(the_step, dead_at_finish, deaths, late=False) is None


def test_a_finished_rank_is_never_lost_whatever_the_launcher_says() -> None:
    the_step = step(CHECKS)
    some = words(the_step, "allreduce", silent=[0, 3])
    some = replace(some, finished=frozenset({0}), records=(*some.records, said(the_step, 0, "allreduce")))
    loss = loss_of(the_step, some, [Death(0, "node0", "Killed"), Death(3, "node3", "Killed")], late=False)
    assert loss is not None
    assert loss.ranks == (3,)


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoke", "rank", "name"),
    [
        ({}, 2, "node2"),
        ({0: "node0", 1: "node1", 3: "node3"}, 2, "node2"),
        # Ranks are not where block order would have them: the node that lacks a rank is the one.
        ({0: "node3", 1: "node1", 3: "node2"}, 2, "node0"),
        ({2: "node3"}, 2, "node3"),
        # A name that the step does not know (a FQDN) could be struck from no list.
        ({2: "node2.cluster.example"}, 2, "node2"),
        ({}, 99, "node3"),
    ],
)
def test_the_node_of_a_rank_is_what_it_said_else_found_by_elimination(
    spoke: dict[int, str], rank: int, name: str
) -> None:
    assert node_names(step(CHECKS), RankLogs(spoke, (), frozenset(), {}), [rank]) == (name,)


def test_a_node_of_which_one_rank_spoke_still_lacks_the_other() -> None:
    the_step = step(CHECKS, ranks_per_node=2)
    spoke = {0: "node3", 1: "node3", 2: "node2", 4: "node1", 5: "node1", 6: "node0", 7: "node0"}
    assert node_names(the_step, RankLogs(spoke, (), frozenset(), {}), [3]) == ("node2",)


def test_two_ranks_of_one_node_are_one_name() -> None:
    the_step = step(CHECKS, ranks_per_node=4)
    assert node_names(the_step, RankLogs({}, (), frozenset(), {}), [4, 5, 7]) == ("node1",)


# --- what follows -----------------------------------------------------------------------------------------------------


def shape(steps: Iterable[Step]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    return [(tuple(spec.name for spec in s.checks), s.nodes) for s in steps]


ALL = ("node0", "node1", "node2", "node3")


@pytest.mark.parametrize(
    ("loss", "struck", "expected"),
    [
        # One crash costs one check: the others measure it again, the rest is for everyone.
        (
            Loss((1,), ("node1",), "matmul", ""),
            {"node1": 1},
            [(("matmul",), ("node0", "node2", "node3")), (("allreduce",), ALL)],
        ),
        (
            Loss((1,), ("node1",), "matmul", ""),
            {"node1": 2},
            [(("matmul",), ("node0", "node2", "node3")), (("allreduce",), ("node0", "node2", "node3"))],
        ),
        (Loss((1,), ("node1",), "allreduce", ""), {"node1": 1}, [(("allreduce",), ("node0", "node2", "node3"))]),
        # A collective of one node is none.
        (Loss((0, 1, 2), ALL[:3], "allreduce", ""), dict.fromkeys(ALL[:3], 1), []),
        (
            Loss((0, 1, 2), ALL[:3], "matmul", ""),
            dict.fromkeys(ALL[:3], 1),
            [(("matmul",), ("node3",)), (("allreduce",), ALL)],
        ),
        (Loss((0, 1, 2, 3), ALL, "matmul", ""), dict.fromkeys(ALL, 1), [(("allreduce",), ALL)]),
        (Loss((0, 1, 2, 3), ALL, "matmul", ""), dict.fromkeys(ALL, 2), []),
        # Nobody singled out: the check is given up, the rest goes on.
        (Loss((), (), "identity", ""), {}, [(("matmul", "allreduce"), ALL)]),
        (Loss((), (), "allreduce", ""), {}, []),
        # Before the first check.
        (Loss((1,), ("node1",), "", ""), {"node1": 1}, [(CHECKS, ("node0", "node2", "node3"))]),
        (Loss((), (), "", ""), {}, []),
        (Loss((0, 1, 2, 3), ALL, "", ""), dict.fromkeys(ALL, 1), []),
    ],
)
def test_what_follows_from_a_loss(
    loss: Loss, struck: dict[str, int], expected: list[tuple[tuple[str, ...], tuple[str, ...]]]
) -> None:
    assert shape(next_steps(step(CHECKS), loss, struck)) == expected


def test_what_follows_keeps_the_shape_of_the_step() -> None:
    the_step = step(CHECKS, ranks_per_node=8, gpus_per_node=8, virtual=True, start_deadline_s=7.0)
    for following in next_steps(the_step, Loss((8,), ("node1",), "matmul", ""), {"node1": 1}):
        assert (following.ranks_per_node, following.gpus_per_node) == (8, 8)
        assert (following.virtual, following.start_deadline_s) == (True, 7.0)


# --- the course -------------------------------------------------------------------------------------------------------


def test_steps_are_numbered_in_the_order_of_launching() -> None:
    queue = StepQueue((step(("identity",)), step(("matmul",))))
    first, queue = next_step(queue)
    second, queue = next_step(queue)
    none, queue = next_step(queue)
    assert first is not None
    assert second is not None
    assert [first.id, second.id, none] == ["00", "01", None]
    assert queue.launched == 2


def test_a_node_that_cost_two_steps_is_left_out_and_told() -> None:
    queue = StepQueue((step(CHECKS),))
    the_step, queue = next_step(queue)
    assert the_step is not None
    queue, left_out = after(queue, the_step, Loss((1,), ("node1",), "identity", ""))
    assert left_out == ()
    _, queue = next_step(queue)
    the_step, queue = next_step(queue)
    assert the_step is not None
    assert "node1" in the_step.nodes
    queue, left_out = after(queue, the_step, Loss((1,), ("node1",), "matmul", ""))
    assert left_out == ("node1",)
    assert queue.struck == {"node1": 2}
    assert all("node1" not in later.nodes for later in queue.steps)


def test_a_course_is_not_changed_by_what_follows_from_it() -> None:
    queue = StepQueue((step(CHECKS),), {"node0": 1})
    the_step, later = next_step(queue)
    assert the_step is not None
    after(later, the_step, Loss((0,), ("node0",), "matmul", ""))
    assert queue.struck == later.struck == {"node0": 1}


def test_a_course_comes_back_from_the_file_that_an_sbatch_script_keeps() -> None:
    queue = StepQueue((step(CHECKS),), {"node0": 1}, 3)
    assert from_plain(json.loads(dumps(queue)), StepQueue) == queue


def bound(the_step: Step) -> int:
    return 2 * len(the_step.checks) + 2 * len(the_step.nodes)


def any_loss(the_step: Step, dice: random.Random) -> Loss:
    """Any loss at all, sensible or not: foreign names, nobody, everybody, before the first check."""
    check = dice.choice(["", *[spec.name for spec in the_step.checks]])
    known = [node for node in the_step.nodes if dice.random() < 0.4]
    return Loss((), tuple(known), check, "", "unknown" if known else dice.choice(["unknown", "alike"]))


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 6), st.integers(1, 5))
def test_whatever_is_lost_a_run_comes_to_an_end(dice: random.Random, node_count: int, check_count: int) -> None:
    first = step(
        [("identity", "matmul", "allreduce", "identity:b", "matmul:b")[i] for i in range(check_count)], node_count
    )
    queue, launched = StepQueue((first,)), 0
    while True:
        the_step, queue = next_step(queue)
        if the_step is None:
            break
        launched += 1
        assert launched <= bound(first), "the steps do not end"
        assert the_step.nodes
        assert the_step.checks
        if dice.random() < 0.9:
            queue, _ = after(queue, the_step, any_loss(the_step, dice))


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(2, 6), st.integers(1, 3))
def test_however_sick_nodes_fall_no_healthy_node_is_struck(
    dice: random.Random, count: int, ranks_per_node: int
) -> None:
    first = step(CHECKS, count, ranks_per_node)
    sick = {node: dice.choice(CHECKS) for node in first.nodes if dice.random() < 0.4}
    queue, launched = StepQueue((first,)), 0
    measured: dict[str, set[str]] = {node: set() for node in first.nodes}
    while True:
        the_step, queue = next_step(queue)
        if the_step is None:
            break
        launched += 1
        assert launched <= bound(first)
        found, deaths = _run(the_step, sick, dice)
        for r in found.records:
            if r.outcome == "measured":
                measured[r.node].add(r.check)
        loss = loss_of(the_step, found, deaths, late=dice.random() < 0.2)
        if loss:
            assert set(loss.nodes) <= set(sick)
            queue, left_out = after(queue, the_step, loss)
            assert set(left_out) <= set(sick)
    assert set(queue.struck) <= set(sick)
    healthy = [node for node in first.nodes if node not in sick]
    for node in healthy:
        assert {"identity", "matmul"} <= measured[node], "one crash costs one check"
        assert "allreduce" in measured[node] or len(healthy) < 2


def _run(the_step: Step, sick: dict[str, str], dice: random.Random) -> tuple[RankLogs, list[Death]]:
    """One step: the first check at which a sick node falls breaks it, silently, killed, or overdue."""
    names = [spec.name for spec in the_step.checks]
    falls = {node: names.index(sick[node]) for node in the_step.nodes if sick.get(node) in names}
    if not falls:
        return words(the_step), []
    at = min(falls.values())
    culprits = [node for node, where in falls.items() if where == at]
    ranks = [rank for rank in range(the_step.ranks) if node_of(the_step, rank) in culprits]
    # On a node of several ranks at least one goes; the others are ended with everybody else.
    gone = [rank for rank in ranks if dice.random() < 0.6] or ranks[:1]
    if dice.random() < 0.4:
        return words(the_step, names[at], overdue=gone), []
    deaths = [Death(rank, node_of(the_step, rank), "Killed") for rank in gone if dice.random() < 0.7]
    deaths += [Death(rank, node_of(the_step, rank), "Terminated") for rank in range(the_step.ranks) if rank not in gone]
    if dice.random() < 0.5:
        dice.shuffle(deaths)
    return words(the_step, names[at], silent=gone), deaths


def test_a_check_of_all_ranks_that_fails_on_all_of_them_alike_is_over_and_nobody_is_struck_for_it() -> None:
    both = step(("allreduce", "identity"))
    everyone = range(both.ranks)
    records = tuple(said(both, rank, "allreduce", outcome="error", cause="no rendezvous") for rank in everyone)
    spoke = {rank: node_of(both, rank) for rank in everyone}
    loss = loss_of(both, RankLogs(spoke, records, frozenset(), {}), [], late=False)
    assert loss == Loss((), (), "allreduce", "no rendezvous", "failed")
    (rest,) = next_steps(both, loss, {})
    assert [spec.name for spec in rest.checks] == ["identity"]
    assert rest.nodes == both.nodes


def test_a_check_of_all_that_everyone_has_measured_is_not_the_broken_one() -> None:
    both = step(("allreduce", "matmul"))
    loss = loss_of(both, words(both, "matmul", silent=[2]), [], late=False)
    assert loss is not None
    assert (loss.check, loss.ranks) == ("matmul", (2,))


def test_one_rank_that_fails_late_in_a_check_of_all_is_its_suspect_not_that_of_the_next_check() -> None:
    both = step(("allreduce", "identity"))
    records = [said(both, rank, "allreduce") for rank in range(1, both.ranks)]
    records.append(said(both, 0, "allreduce", outcome="error", cause="wrong shape"))
    # The others had begun the next check when the step ended.
    records += [
        said(both, rank, "identity", outcome="error", cut_short=True, by_peer=True) for rank in range(1, both.ranks)
    ]
    spoke = {rank: node_of(both, rank) for rank in range(both.ranks)}
    loss = loss_of(both, RankLogs(spoke, tuple(records), frozenset(), {}), [], late=False)
    assert loss
    assert (loss.check, loss.ranks) == ("allreduce", (0,))


def test_in_a_collective_the_rank_that_was_stopped_is_the_suspect_not_those_that_were_late_because_of_it() -> None:
    one = step(("allreduce", "identity"))
    late = [
        said(one, rank, "allreduce", outcome="error", cause="deadline: did not finish within 5 s", cut_short=True)
        for rank in range(1, one.ranks)
    ]
    cause = "did not run for 9 s; then Connection closed"
    stopped = said(one, 0, "allreduce", outcome="error", cause=cause, interruption="stopped")
    spoke = {rank: node_of(one, rank) for rank in range(one.ranks)}
    loss = loss_of(one, RankLogs(spoke, (*late, stopped), frozenset(), {}), [], late=False)
    assert loss
    assert (loss.check, loss.ranks, loss.nodes, loss.kind) == ("allreduce", (0,), (node_of(one, 0),), "stopped")


@pytest.mark.parametrize(
    ("how", "kind"),
    [({"overdue": (1,)}, "overdue"), ({"failed": (1,)}, "failed"), ({"silent": (1,)}, "silent")],
)
def test_a_loss_says_how_the_ranks_were_lost(how: dict[str, tuple[int, ...]], kind: str) -> None:
    one = step(("allreduce", "identity"))
    loss = loss_of(one, words(one, "allreduce", **how), [], late=False)
    assert loss
    assert (loss.ranks, loss.kind) == ((1,), kind)


# --- what the parents of the ranks saw --------------------------------------------------------------------------------


def exits(**status: int) -> dict[int, RankExited]:
    """``r2=-9`` …, each a hundredth of a second after the one before."""
    return {int(rank[1:]): RankExited(code, 100.0 + 0.01 * i) for i, (rank, code) in enumerate(status.items())}


#: What srun says when rank 2 was killed and ranks 1 and 3 were ended by their own MPI before it could end them.
SURVIVORS_FIRST = parse_deaths((DATA / "launchers/srun_mpi5_peers_abort.err").read_text())


@pytest.mark.parametrize(
    ("seen", "ranks", "how"),
    [
        ({"r2": -9, "r3": 14, "r1": 14}, (2,), "signal 9 (Killed)"),
        ({"r1": 14, "r2": -9, "r3": 14}, (2,), "signal 9 (Killed)"),
        ({"r2": -11, "r1": -11, "r3": 14}, (1, 2), "signal 11 (Segmentation fault)"),
        ({"r2": 5, "r1": 14, "r3": 14}, (2,), "exit code 5"),
        ({"r2": 5, "r1": 1, "r3": 1}, (2,), "exit code 5"),
        ({"r1": 1, "r2": 5, "r3": 1}, (2,), "exit code 5"),
        ({"r2": -9}, (2,), "signal 9 (Killed)"),
        ({"r2": 5}, (2,), "exit code 5"),
        ({"r1": 14, "r3": 14}, (2,), "wrote no record"),
        # Who was ended by SIGTERM, which launchers send to all, has not given up.
        ({"r1": -15, "r2": 5}, (2,), "exit code 5"),
        ({"r1": -15, "r2": -9}, (2,), "signal 9 (Killed)"),
        ({"r1": 3, "r2": 5}, (1,), "exit code 3"),
        ({"r1": 5, "r2": 5, "r3": 3}, (3,), "exit code 3"),
    ],
)
def test_who_ended_by_itself_is_told_from_who_was_ended_for_it(
    seen: dict[str, int], ranks: tuple[int, ...], how: str
) -> None:
    the_step = step(CHECKS)
    said_nothing = replace(words(the_step, "matmul", silent={1, 2, 3}), exits=exits(**seen))
    loss = loss_of(the_step, said_nothing, SURVIVORS_FIRST, late=False)
    assert loss is not None
    assert tuple(sorted(loss.ranks)) == ranks
    assert how in loss.how


@pytest.mark.parametrize(("apart_s", "ranks"), [(0.0, (1, 2)), (1.0, (1, 2)), (1.01, (1,)), (60.0, (1,))])
def test_who_is_killed_within_a_second_of_the_first_died_of_the_same(apart_s: float, ranks: tuple[int, ...]) -> None:
    the_step = step(CHECKS)
    seen = {2: RankExited(-9, 64.0 + apart_s), 1: RankExited(-9, 64.0)}
    loss = loss_of(the_step, replace(words(the_step, "matmul", silent={1, 2, 3}), exits=seen), [], late=False)
    assert loss is not None
    assert tuple(sorted(loss.ranks)) == ranks
    assert loss.by_signal


@pytest.mark.parametrize(
    ("how", "by_signal"),
    [
        ("Killed", True), ("Out Of Memory", True), ("Segmentation fault (core dumped)", True), ("Bus error", True),
        ("Aborted", True), ("Illegal instruction", True), ("Floating point exception", True), ("Terminated", False),
        ("Exited with exit code 76", False),
    ],
)  # fmt: skip
def test_the_launchers_words_tell_a_signal_from_an_exit(how: str, by_signal: bool) -> None:
    the_step = step(CHECKS)
    loss = loss_of(the_step, words(the_step, "matmul", silent=[2]), [Death(2, "node2", how)], late=False)
    assert loss is not None
    assert (loss.kind, loss.by_signal) == ("died", by_signal)


@pytest.mark.parametrize(("status", "by_signal"), [(-9, True), (-11, True), (5, False)])
def test_a_parent_tells_a_signal_from_an_exit(status: int, by_signal: bool) -> None:
    the_step = step(CHECKS)
    heard = replace(words(the_step, "matmul", silent={2}), exits=exits(r2=status))
    loss = loss_of(the_step, heard, [], late=False)
    assert loss is not None
    assert (loss.ranks, loss.kind, loss.by_signal) == ((2,), "died", by_signal)
    assert seen_to_die(the_step, heard, loss, refused=False)


def test_who_has_left_no_line_of_a_parent_was_seen_by_nobody() -> None:
    the_step = step(CHECKS)
    heard = words(the_step, "matmul", silent={2})
    loss = loss_of(the_step, heard, [], late=False)
    assert loss is not None
    assert (loss.kind, loss.by_signal) == ("silent", False)
    assert not seen_to_die(the_step, heard, loss, refused=False)


@pytest.mark.parametrize(
    ("ranks", "check", "refused", "by_signal", "seen"),
    [
        ((2,), "", False, False, True),
        # An MPI that does not speak with this launcher ends whoever finds out first: before any check that blames nobody.
        ((2,), "", True, False, False),
        ((2,), "matmul", True, False, True),
        ((2,), "", True, True, True),
        ((0, 1, 2, 3), "matmul", False, True, False),
        ((1,), "matmul", False, False, False),
    ],
)
def test_only_some_that_somebody_saw_die_of_their_own_are_seen_to_die(
    ranks: tuple[int, ...], check: str, refused: bool, by_signal: bool, seen: bool
) -> None:
    the_step = step(CHECKS)
    heard = replace(words(the_step, "matmul", silent={2}), exits=exits(r2=1))
    loss = Loss(ranks, tuple(f"node{rank}" for rank in ranks), check, "", "died", by_signal)
    assert seen_to_die(the_step, heard, loss, refused=refused) is seen


def test_a_rank_in_another_mpi_world_tells_it_for_all() -> None:
    the_step = step(CHECKS)
    stray = said(
        the_step,
        1,
        "identity",
        outcome="error",
        cause="rank 0 of 1",
        remedy="Use srun --mpi=pmix.",
        interruption="stray",
    )
    other = said(the_step, 0, "identity", outcome="error", cause="ended by SIGTERM", interruption="terminated")
    assert misfit_of(RankLogs({}, (other, stray), frozenset(), {})) == ("rank 0 of 1", "Use srun --mpi=pmix.")
    assert misfit_of(RankLogs({}, (other,), frozenset(), {})) is None


def test_of_several_lost_nodes_those_that_cannot_be_reached_took_the_others_with_them() -> None:
    the_step = step(CHECKS)
    heard = words(the_step, "matmul", silent={1, 2, 3})
    loss = loss_of(the_step, heard, [], late=False)
    assert loss is not None
    found = narrowed(the_step, heard, loss, {"node2": "does not answer", "node3": "has no route"})
    assert found == Loss(
        (2, 3), ("node2", "node3"), "matmul", "node2 does not answer; node3 has no route", "unreachable"
    )
    assert narrowed(the_step, heard, loss, {}) is loss
    assert narrowed(the_step, heard, loss, {"node0": "does not answer"}) is loss, "it is none of the suspects"


def test_what_a_rank_says_of_the_start_of_mpi_is_the_cause_where_nobody_can_be_singled_out() -> None:
    the_step = step(CHECKS)
    stopped = {0: ("waited in vain", True), 1: ("no PMIx server", False), 2: ("waited", True), 3: ("waited", True)}
    loss = loss_of(the_step, RankLogs({}, (), frozenset(), stopped), [], late=False)
    assert loss == Loss((), (), "", "no PMIx server")


def test_a_check_that_some_began_while_others_still_started_is_the_broken_one() -> None:
    the_step = step(CHECKS)
    spoke = {rank: node_of(the_step, rank) for rank in range(4)}
    started = RankLogs(spoke, (), frozenset(), {})
    loss = loss_of(the_step, started, [], late=False)
    assert loss is not None
    assert (loss.check, loss.ranks, loss.kind) == ("identity", (), "alike"), "all had started, and nobody left a word"
    in_mpi = replace(started, stopped=dict.fromkeys(range(3), ("MPI start", True)))
    loss = loss_of(the_step, in_mpi, [], late=False)
    assert loss is not None
    assert (loss.check, loss.ranks) == ("", (3,)), "some never came out of the start of MPI"


def test_a_rank_that_dies_while_mpi_starts_is_named_by_its_parent() -> None:
    the_step = step(CHECKS)
    nobody_spoke = RankLogs({}, (), frozenset(), {}, exits(r2=-9))
    loss = loss_of(the_step, nobody_spoke, [], late=False)
    assert loss is not None
    assert (loss.ranks, loss.nodes, loss.check) == ((2,), ("node2",), "")


@pytest.mark.parametrize("status", [-9, 5])
def test_who_dies_after_its_own_record_is_named_and_not_whoever_it_took_along(status: int) -> None:
    the_step = step(CHECKS)
    last = CHECKS[-1]
    heard = words(the_step, last, silent={1})
    heard = replace(heard, records=tuple(r for r in heard.records if (r.rank, r.check) != (2, last)))
    heard = replace(heard, records=(*heard.records, said(the_step, 2, last)), exits=exits(r2=status))
    loss = loss_of(the_step, heard, [], late=False)
    assert loss is not None
    assert (loss.ranks, loss.nodes, loss.check) == ((2,), ("node2",), last)


@pytest.mark.parametrize("ended", ["finished", "stopped"])
def test_who_had_finished_or_was_ended_after_its_record_is_not_the_one_whatever_its_parent_saw(ended: str) -> None:
    the_step = step(CHECKS)
    last = CHECKS[-1]
    heard = words(the_step, last, silent={1, 2})
    heard = replace(
        heard,
        records=(*heard.records, said(the_step, 1, last)),
        finished=frozenset({1} if ended == "finished" else ()),
        stopped={1: ("ended by SIGTERM", True)} if ended == "stopped" else {},
        exits=exits(r1=5),
    )
    loss = loss_of(the_step, heard, [], late=False)
    assert loss is not None
    assert (loss.ranks, loss.kind) == ((2,), "silent")


def test_who_waits_in_the_next_check_for_a_stopped_rank_is_not_lost_in_the_one_it_has_measured() -> None:
    """Seen under load: rank 2 was stopped between the last barrier of a check and its record."""
    the_step = step(CHECKS)
    heard = words(the_step, "matmul", silent={0, 1, 2, 3})
    others = (0, 1, 3)
    waited = {"outcome": "error", "cause": "deadline: waited in vain for 4 s", "cut_short": True, "by_peer": True}
    records = [said(the_step, rank, "matmul") for rank in others]
    records += [said(the_step, rank, "allreduce", **waited) for rank in others]
    heard = replace(heard, records=(*heard.records, *records), exits=exits(r0=75, r1=75, r3=75))
    loss = loss_of(the_step, heard, [Death(0, "", "exit code 75")], late=False)
    assert loss is not None
    assert (loss.ranks, loss.nodes, loss.check, loss.kind) == ((2,), ("node2",), "matmul", "silent")


@pytest.mark.parametrize(
    ("seen", "recorded"),
    [({"r1": 14}, "srun_mpi5_all_killed_one_survivor_seen"), ({}, "srun_mpi5_all_killed")],
)
def test_where_the_launcher_killed_all_before_anyone_could_speak_nobody_is_blamed(
    seen: dict[str, int], recorded: str
) -> None:
    """Both seen under load, with Open MPI 5 and Slurm's PMIx: rank 2 was killed, and healthy nodes had its blame."""
    the_step = step(CHECKS)
    deaths = parse_deaths((DATA / "launchers" / f"{recorded}.err").read_text())
    heard = replace(words(the_step, "matmul", silent={0, 1, 2, 3}), exits=exits(**seen))
    loss = loss_of(the_step, heard, deaths, late=False)
    assert loss is not None
    assert (loss.ranks, loss.nodes, loss.check, loss.kind) == ((), (), "matmul", "alike")
    assert shape(next_steps(the_step, loss, {})) == [(("matmul",), ALL), (("allreduce",), ALL)]
    assert shape(next_steps(replace(the_step, checks=the_step.checks[1:2]), loss, {})) == [], "once more, and no longer"


def harmless(the_step: Step, check: str, *, silent: set[int], unharmed: set[int]) -> RankLogs:
    """``words`` where some have measured the broken check, and nothing is known of their end."""
    heard = words(the_step, check, silent=silent | unharmed)
    return replace(heard, records=(*heard.records, *(said(the_step, rank, check) for rank in sorted(unharmed))))


def killed(*ranks: int) -> list[Death]:
    return [Death(rank, f"node{rank}", "Killed") for rank in ranks]


@pytest.mark.parametrize(
    ("silent", "seen", "recorded"),
    [
        # Rank 2 died after its record. The launcher killed rank 1 before it could write its own, and all others.
        ({1}, {}, "srun_mpi5_all_killed"),
        ({1}, {"r0": 14}, "srun_mpi5_all_killed"),
        ({0, 1}, {"r3": 14}, "srun_mpi5_all_killed"),
    ],
)
def test_who_came_to_no_harm_may_have_died_after_its_record_and_the_mute_ones_because_of_it(
    silent: set[int], seen: dict[str, int], recorded: str
) -> None:
    the_step = step(CHECKS)
    deaths = parse_deaths((DATA / "launchers" / f"{recorded}.err").read_text())
    heard = harmless(the_step, "matmul", silent=silent, unharmed=set(range(4)) - silent)
    loss = loss_of(the_step, replace(heard, exits=exits(**seen)), deaths, late=False)
    assert loss is not None
    assert (loss.ranks, loss.nodes, loss.check, loss.kind) == ((), (), "matmul", "alike")
    assert shape(next_steps(the_step, loss, {})) == [(("matmul",), ALL), (("allreduce",), ALL)]


@pytest.mark.parametrize(
    ("unharmed", "seen", "deaths"),
    [
        # The launcher killed the mute one alone: it is alone in that.
        ({0, 2, 3}, {}, killed(1)),
        # Others that it killed were seen to end by their parents: they had been waiting.
        ({0, 2, 3}, {"r0": 14, "r2": 14, "r3": 14}, killed(0, 1, 2, 3)),
        # Two were killed, and two that it left alone have nothing to do with it.
        ({0, 2, 3}, {}, killed(1, 2)),
        # Nobody was killed.
        ({0, 2, 3}, {}, []),
        ({0, 2, 3}, {}, [Death(rank, "", "Terminated") for rank in range(4)]),
    ],
)
def test_who_alone_is_mute_and_killed_is_the_one_though_others_came_to_no_harm(
    unharmed: set[int], seen: dict[str, int], deaths: list[Death]
) -> None:
    the_step = step(CHECKS)
    heard = replace(harmless(the_step, "matmul", silent={1}, unharmed=unharmed), exits=exits(**seen))
    loss = loss_of(the_step, heard, deaths, late=False)
    assert loss is not None
    assert (loss.ranks, loss.nodes) == ((1,), ("node1",))


def test_two_nodes_are_enough_to_be_killed_alike() -> None:
    two = step(CHECKS, 2)
    loss = loss_of(two, words(two, "matmul", silent={0, 1}), killed(0, 1), late=False)
    assert loss is not None
    assert (loss.nodes, loss.kind) == ((), "alike")


def test_before_any_check_those_without_a_word_are_lost_so_that_the_others_go_on() -> None:
    the_step = step(CHECKS)
    stopped = dict.fromkeys((0, 1), ("ended by SIGTERM (MPI start)", True))
    loss = loss_of(the_step, RankLogs({}, (), frozenset(), stopped), killed(0, 1, 2, 3), late=False)
    assert loss is not None
    assert (loss.ranks, loss.check, loss.kind) == ((2, 3), "", "died")
    assert shape(next_steps(the_step, loss, {"node2": 1, "node3": 1})) == [(CHECKS, ("node0", "node1"))]


def test_ranks_of_one_node_that_came_to_no_harm_do_not_excuse_it() -> None:
    the_step = step(CHECKS, 1, 2)
    heard = harmless(the_step, "matmul", silent={1}, unharmed={0})
    loss = loss_of(the_step, heard, killed(0, 1), late=False)
    assert loss is not None
    assert (loss.ranks, loss.nodes) == ((1,), ("node0",))


@pytest.mark.parametrize(
    ("spoke", "check"), [(True, "identity"), (False, "")], ids=["after their first word", "before it"]
)
def test_where_all_are_mute_and_the_launcher_tells_of_nobody_nobody_is_blamed(spoke: bool, check: str) -> None:
    """Hydra ends all ranks without a word when one goes together with its parent, as a control group is ended."""
    the_step = step(CHECKS)
    heard = RankLogs({rank: node_of(the_step, rank) for rank in range(4) if spoke}, (), frozenset(), {})
    loss = loss_of(the_step, heard, [], late=False)
    assert loss is not None
    assert (loss.ranks, loss.nodes, loss.check, loss.kind) == ((), (), check, "alike")
    again = [(("identity",), ALL), (("matmul", "allreduce"), ALL)] if spoke else []
    assert shape(next_steps(the_step, loss, {})) == again


def test_all_that_fall_silent_in_a_later_check_are_tried_once_more_and_then_the_rest_goes_on() -> None:
    the_step = step(CHECKS)
    queue = StepQueue((the_step,))
    the_step, queue = next_step(queue)  # type: ignore[assignment]
    loss = loss_of(the_step, words(the_step, "matmul", silent={0, 1, 2, 3}), [], late=False)
    assert loss is not None
    queue, left_out = after(queue, the_step, loss)
    assert (left_out, queue.struck) == ((), {})
    assert shape(queue.steps) == [(("matmul",), ALL), (("allreduce",), ALL)]
    again, queue = next_step(queue)
    assert again is not None
    loss = loss_of(again, words(again, "matmul", silent={0, 1, 2, 3}), [], late=False)
    assert loss is not None
    queue, _ = after(queue, again, loss)
    assert shape(queue.steps) == [(("allreduce",), ALL)]
    assert queue.struck == {}


@pytest.mark.parametrize(
    ("heard", "deaths", "late", "ranks"),
    [
        # The driver ended them: nobody has killed them before they could speak.
        ({"silent": {0, 1, 2, 3}}, [], True, (0, 1, 2, 3)),
        ({"silent": {0, 1, 2, 3}}, [Death(2, "", "Segmentation fault")], False, (2,)),
        # One that speaks tells that it was ended; the others did not.
        ({"silent": {0, 1, 2}}, [], False, (0, 1, 2)),
    ],
)
def test_mute_ranks_are_blamed_where_the_launcher_tells_or_somebody_spoke_or_time_ran_out(
    heard: dict[str, set[int]], deaths: list[Death], late: bool, ranks: tuple[int, ...]
) -> None:
    the_step = step(CHECKS)
    loss = loss_of(the_step, words(the_step, "matmul", silent=heard["silent"]), deaths, late=late)
    assert loss is not None
    assert loss.ranks == ranks


def test_where_one_parent_saw_its_rank_end_the_mute_ones_are_lost() -> None:
    the_step = step(CHECKS)
    heard = replace(words(the_step, "matmul", silent={0, 1, 2, 3}), exits=exits(r0=14))
    loss = loss_of(the_step, heard, [], late=False)
    assert loss is not None
    assert (loss.ranks, loss.kind) == ((1, 2, 3), "silent")


def test_one_node_alone_that_falls_silent_is_lost_itself() -> None:
    the_step = step(CHECKS, 1, 4)
    loss = loss_of(the_step, words(the_step, "matmul", silent={0, 1, 2, 3}), [], late=False)
    assert loss is not None
    assert (loss.nodes, loss.kind) == (("node0",), "silent")


def test_of_all_that_were_killed_alike_the_node_that_is_gone_took_the_others_with_it() -> None:
    the_step = step(CHECKS)
    alike = Loss((), (), "matmul", "", "alike")
    loss = narrowed(the_step, words(the_step, "matmul", silent={0, 1, 2, 3}), alike, {"node2": "is DOWN"})
    assert (loss.ranks, loss.nodes, loss.kind, loss.how) == ((2,), ("node2",), "unreachable", "node2 is DOWN")


def test_killed_on_one_node_is_evidence_enough_though_survivors_were_killed_too() -> None:
    the_step = step(CHECKS)
    deaths = parse_deaths((DATA / "launchers/srun_mpi5_all_killed.err").read_text())
    heard = replace(words(the_step, "matmul", silent={0, 1, 2, 3}), exits=exits(r0=14, r1=14, r3=14))
    loss = loss_of(the_step, heard, deaths, late=False)
    assert loss is not None
    assert (loss.ranks, loss.nodes) == ((2,), ("node2",))


def test_survivors_alone_are_never_blamed() -> None:
    the_step = step(CHECKS)
    loss = loss_of(
        the_step,
        replace(words(the_step, "matmul", silent={0, 1, 2, 3}), exits=exits(r0=14, r1=14, r2=14, r3=14)),
        [],
        late=False,
    )
    assert loss is not None
    assert loss.ranks == ()


@pytest.mark.parametrize(("seen", "victim"), [({"r2": 14}, False), ({}, True), ({"r2": 14}, True), ({}, False)])
def test_a_survivor_that_was_killed_too_shows_that_the_launcher_killed_everybody(
    seen: dict[str, int], victim: bool
) -> None:
    """A survivor: by its own word, or by the exit status with which its MPI leaves."""
    the_step = step(CHECKS)
    heard = words(the_step, "matmul", silent={0, 1} if victim else {0, 1, 2})
    measured = (said(the_step, 3, "matmul"), *(() if victim else (said(the_step, 2, "matmul"),)))
    records = tuple(r for r in heard.records if (r.rank, r.check) != (3, "matmul"))
    heard = replace(heard, records=(*records, *measured), exits=exits(**seen, r3=0))
    loss = loss_of(the_step, heard, killed(0, 1, 2), late=False)
    assert loss is not None
    assert (loss.kind == "alike") == bool(seen or victim)
