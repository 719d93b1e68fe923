"""What a run has shown becomes tests of an isolation: each step that had the check is a group, and a healthy run shows no fault."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from support.builders import plan, record, step, suite
from support.isolations import ended

from hpcaccept.launch.job.isolation.after_suite import begin_isolation
from hpcaccept.launch.job.isolation.shown_by_run import shown_by_run
from hpcaccept.model.event import Event
from hpcaccept.model.isolation_order import IsolationOrder
from hpcaccept.model.record import RankExited, RankFinished, RankStarted, Record
from hpcaccept.store import isolation_journal
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

CHECK = "allreduce"
PLAN = plan(suite("identity", CHECK), gpus_per_node=0)
GOOD = {"busbw_bytes[gloo/4KiB]": 1e6, "wrong_elements[gloo/4KiB]": 0}


def run(path: Path, *steps: tuple[str, tuple[str, ...], dict[int, Record | RankExited]]) -> RunFolder:
    """A run folder with steps: id, nodes, and what single ranks say instead of that all is well."""
    folder = RunFolder(path)
    folder.create()
    folder.write_plan(PLAN)
    for ident, names, odd in steps:
        folder.write_step(replace(step((CHECK,), 4), id=ident, nodes=names))
        for rank, node in enumerate(names):
            journal = Journal(folder.records(ident) / f"r{rank:06d}.jsonl")
            journal.write(
                RankStarted(
                    rank, len(names), node, 1, "3.11", "0.1.0", "MPI", f"boot-{node}", 8, 1, in_turn=False, threads=1
                )
            )
            word = odd.get(rank) or record(CHECK, node, GOOD, rank=rank, step=ident)
            journal.write(word)
            if isinstance(word, Record) and not word.cut_short:
                journal.write(RankFinished())
    Journal(folder.driver_log).write(Event("started", "2026-11-22T01:00:00+00:00", nodes=steps[0][1]))
    return folder


FOUR = ("node0", "node1", "node2", "node3")
WRONG = record(CHECK, "node2", {"wrong_elements[gloo/4KiB]": 7}, rank=2)


def test_a_healthy_run_shows_nothing_to_look_into(tmp_path: Path) -> None:
    shown = shown_by_run(PLAN, run(tmp_path, ("00", FOUR, {})), IsolationOrder())
    assert (shown.check, shown.tests) == ("", ())


def test_what_is_named_is_looked_into_although_it_passed(tmp_path: Path) -> None:
    shown = shown_by_run(PLAN, run(tmp_path, ("00", FOUR, {})), IsolationOrder(check=CHECK))
    assert (shown.check, shown.metric, [test.kind for test in shown.tests]) == (CHECK, "auto", ["passed"])


def test_a_wrong_result_names_the_check_and_the_node_and_needs_no_comparison(tmp_path: Path) -> None:
    shown = shown_by_run(PLAN, run(tmp_path, ("00", FOUR, {2: WRONG})), IsolationOrder())
    (test,) = shown.tests
    assert (shown.check, shown.metric) == (CHECK, "")
    assert (test.test.id, test.test.round, test.kind, test.silent) == ("s00", 0, "failed", ("node2",))


def test_where_only_a_check_that_divides_the_nodes_has_failed_another_runs_in_the_groups(tmp_path: Path) -> None:
    the_plan = plan(suite("group_collectives", CHECK), gpus_per_node=0)
    folder = run(tmp_path, ("00", FOUR, {}))
    folder.write_step(replace(step(("group_collectives", CHECK), 4), id="00", nodes=FOUR))
    for rank, node in enumerate(FOUR):
        slow = (
            {"busbw_bytes[2 nodes]": 1e6, "group_share[2 nodes/node2, node3]": 0.2}
            if rank == 0
            else {"wrong_elements[2 nodes]": 0}
        )
        Journal(folder.records("00") / f"r{rank:06d}.jsonl").write(
            record("group_collectives", node, slow, rank=rank, step="00")
        )
    shown = shown_by_run(the_plan, folder, IsolationOrder())
    assert (shown.check, shown.metric, [test.kind for test in shown.tests]) == (CHECK, "auto", ["failed"])
    alone = plan(suite("group_collectives"), gpus_per_node=0)
    assert shown_by_run(alone, folder, IsolationOrder()).check == ""


def test_a_crash_and_the_step_without_the_dead_node_are_both_evidence(tmp_path: Path) -> None:
    cut = {
        rank: record(CHECK, node, outcome="error", cut_short=True, by_peer=True, rank=rank, cause="ended")
        for rank, node in enumerate(FOUR)
    }
    folder = run(tmp_path, ("00", FOUR, {**cut, 1: RankExited(-9, 1.0)}), ("01", ("node0", "node2", "node3"), {}))
    shown = shown_by_run(PLAN, folder, IsolationOrder())
    assert [(test.kind, test.silent) for test in shown.tests] == [("crashed", ("node1",)), ("passed", ())]


def test_the_isolation_behind_a_suite_has_a_folder_of_its_own(tmp_path: Path) -> None:
    folder = run(tmp_path, ("00", FOUR, {2: WRONG}))
    begun = begin_isolation(PLAN, folder, IsolationOrder(budget_s=60, after_suite=True))
    assert begun is not None
    its_plan, its_folder, its_order, nodes = begun
    assert ([spec.name for spec in its_plan.suite.checks], nodes) == ([CHECK], FOUR)
    assert its_folder.path == folder.path / "isolation"
    assert isolation_journal.read_order(its_folder) == its_order
    assert (its_order.after_suite, its_order.earlier, its_order.budget_s) == (False, folder.run_id, 60)
    assert begin_isolation(PLAN, run(tmp_path / "good", ("00", FOUR, {})), IsolationOrder(after_suite=True)) is None


def test_a_run_with_an_isolation_behind_it_shows_what_that_has_found_too(tmp_path: Path) -> None:
    folder = run(tmp_path, ("00", FOUR, {2: WRONG}))
    begun = begin_isolation(PLAN, folder, IsolationOrder(after_suite=True))
    assert begun is not None
    isolation_journal.append(begun[1], ended("r1g1", "node0 node2", "failed"))
    isolation_journal.write_order(folder, IsolationOrder(after_suite=True))
    shown = shown_by_run(PLAN, folder, IsolationOrder())
    assert [test.test.id for test in shown.tests] == ["s00", "r1g1"]
