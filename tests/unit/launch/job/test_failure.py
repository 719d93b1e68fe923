"""Who was lost, and what follows: every way in which a step can be lost, and that it always comes to an end."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.builders import DATA, record, step

from hpcaccept.launch.job.failure import Loss, RankLogs, loss_of, next_steps, node_names
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
    assert loss == Loss((3,), ("node3",), "allreduce", "left no word while the others were ended waiting", "silent")


def test_a_step_that_ran_out_of_time_says_so() -> None:
    the_step = step(CHECKS)
    loss = loss_of(the_step, words(the_step, "matmul", silent=[0]), [], late=True)
    assert loss is not None
    assert "ran out of time" in loss.how


def test_when_everyone_has_spoken_the_overdue_one_is_suspect_and_the_waiting_are_not() -> None:
    the_step = step(CHECKS)
    loss = loss_of(the_step, words(the_step, "matmul", overdue=[1]), [], late=False)
    assert loss == Loss((1,), ("node1",), "matmul", "deadline: did not finish within 5 s", "overdue")


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
    return Loss((), tuple(known), check, "")


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
        ({"r1": 14, "r3": 14}, (2,), "left no word"),
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


def test_a_rank_that_dies_while_mpi_starts_is_named_by_its_parent() -> None:
    the_step = step(CHECKS)
    nobody_spoke = RankLogs({}, (), frozenset(), {}, exits(r2=-9))
    loss = loss_of(the_step, nobody_spoke, [], late=False)
    assert loss is not None
    assert (loss.ranks, loss.nodes, loss.check) == ((2,), ("node2",), "")


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
