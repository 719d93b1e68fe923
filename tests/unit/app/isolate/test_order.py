"""The options of isolate become an order, or a sentence that says what is wrong with them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.isolations import ended

from hpcaccept.app.isolate.order import command_of, isolation_after, order_of, plan_isolation, rule_of
from hpcaccept.config.settings import Settings
from hpcaccept.errors import UsageError
from hpcaccept.launch.job.isolation.groups import filled_in
from hpcaccept.model.isolation import GroupTest
from hpcaccept.model.isolation_order import IsolationOrder
from hpcaccept.store import isolation_journal
from hpcaccept.store.folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

LOCAL = Settings(launcher="local", gpus_per_node=0, nodes=8)


def test_a_command_is_words_and_no_shell_ever_reads_it() -> None:
    words = command_of("srun -w {nodes} -N {count} sh -c 'echo $HOME; ./test' {hostfile} {nodelist} {test}")
    test = GroupTest("r2g3", 2, ("node1", "node2", "node5"))
    assert filled_in(words, test, "/f/hosts") == (
        "srun", "-w", "node1,node2,node5", "-N", "3", "sh", "-c", "echo $HOME; ./test", "/f/hosts", "node[1-2,5]", "r2g3",
    )  # fmt: skip


def test_a_node_with_an_evil_name_stays_one_word() -> None:
    test = GroupTest("r1g1", 1, ("a; rm -rf /", "$(b)"))
    assert filled_in(("t", "--nodes={nodes}"), test, "")[1] == "--nodes=a; rm -rf /,$(b)"


@pytest.mark.parametrize("text", ["", "srun ./test", "srun 'open", "{nodes}"])
def test_a_command_without_a_place_for_the_nodes_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--command"):
        command_of(text)


@pytest.mark.parametrize(
    ("match", "at_least", "at_most", "words"),
    [
        ("", 3.0, None, "Add --match"),
        ("(", None, None, "not a regular expression"),
        ("(a)(b)", None, None, "2 groups, expected one"),
        ("(a)", 5.0, 3.0, "no output could pass"),
    ],
)
def test_a_rule_that_cannot_judge_is_refused(
    match: str, at_least: float | None, at_most: float | None, words: str
) -> None:
    with pytest.raises(UsageError) as refused:
        rule_of(match, at_least, at_most, lower_is_better=False)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("order", "settings", "words"),
    [
        (IsolationOrder(), LOCAL, "needs something to run"),
        (IsolationOrder(check="allreduce"), replace(LOCAL, nodes=1), "at least two nodes"),
        (IsolationOrder(check="allreduces"), LOCAL, "Did you mean 'allreduce'?"),
        (IsolationOrder(check="matmul"), LOCAL, "measures each node by itself"),
        (IsolationOrder(check="group_collectives"), LOCAL, "divides the nodes into groups itself"),
        (IsolationOrder(check="allreduce", metric="pairs.node_bytes"), LOCAL, "has no rate 'pairs.node_bytes'"),
        (IsolationOrder(check="allreduce", metric="nonsense"), LOCAL, "--metric"),
    ],
)
def test_an_order_that_groups_cannot_run_is_refused(order: IsolationOrder, settings: Settings, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        order_of(order, "", settings)
    assert words in str(refused.value)


def test_the_plan_has_that_check_alone_and_time_for_the_budget(tmp_path: Path) -> None:
    order, settings = order_of(IsolationOrder(check="pairs", budget_s=600), "", replace(LOCAL, runs_dir=str(tmp_path)))
    plan, folder, order = plan_isolation(order, settings, ())
    assert [spec.name for spec in plan.suite.checks] == ["pairs"]
    assert plan.request.time_s > 600 + order.deadline_s
    assert "isolate-8n" in folder.run_id


def test_an_isolation_goes_on_where_an_earlier_one_has_ended(tmp_path: Path) -> None:
    settings = replace(LOCAL, runs_dir=str(tmp_path))
    plan, folder, order = plan_isolation(IsolationOrder(command=("t", "{nodes}")), settings, ())
    folder.create()
    folder.write_plan(plan)
    isolation_journal.write_order(folder, replace(order, before=(ended("s00", "node0 node1"),)))
    isolation_journal.append(folder, ended("r1g1", "node0 node1", "failed"))
    again, _ = order_of(IsolationOrder(), "latest", settings)
    assert [test.test.id for test in again.before] == ["s00", "r1g1"]
    assert (again.command, again.earlier) == (("t", "{nodes}"), folder.run_id)


def test_a_run_that_shows_no_such_failure_says_so(tmp_path: Path) -> None:
    settings = replace(LOCAL, runs_dir=str(tmp_path))
    plan, folder, _ = plan_isolation(IsolationOrder(check="allreduce"), settings, ())
    folder.create()
    folder.write_plan(plan)
    with pytest.raises(UsageError, match="shows no failure"):
        order_of(IsolationOrder(), folder.run_id, settings)


def test_behind_a_suite_there_is_time_for_it_and_an_order_that_waits(tmp_path: Path) -> None:
    settings = replace(LOCAL, runs_dir=str(tmp_path))
    plan, _, _ = plan_isolation(IsolationOrder(check="allreduce"), settings, ())
    plain = replace(plan, request=replace(plan.request, time_s=0.0))
    longer, prepare = isolation_after(plain, 600.0)
    assert longer.request.time_s > 600
    prepare(RunFolder(tmp_path))
    order = isolation_journal.read_order(RunFolder(tmp_path))
    assert order is not None
    assert (order.after_suite, order.budget_s) == (True, 600)
    # A budget of the whole job is its limit, and what it was bought of is left in the same folder.
    limited = replace(plain, request=replace(plain.request, time_s=1800.0))
    left: list[RunFolder] = []
    within, both = isolation_after(limited, 600.0, left.append)
    assert within.request.time_s == 1800.0
    both(RunFolder(tmp_path))
    assert left == [RunFolder(tmp_path)]
    with pytest.raises(UsageError, match="no check that groups"):
        isolation_after(replace(plain, request=replace(plain.request, nodes=1)), 600.0)
