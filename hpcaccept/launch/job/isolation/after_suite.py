"""An isolation that follows a suite in its job, where a check of all nodes together has failed: with that check and what it has shown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hpcaccept.launch.job.isolation.shown_by_run import shown_by_run
from hpcaccept.launch.job.rank_logs import lost_nodes
from hpcaccept.store import isolation_journal

if TYPE_CHECKING:
    from hpcaccept.model.isolation_order import IsolationOrder
    from hpcaccept.model.plan import Plan
    from hpcaccept.store.folder import RunFolder


def begin_isolation(
    plan: Plan, folder: RunFolder, order: IsolationOrder
) -> tuple[Plan, RunFolder, IsolationOrder, tuple[str, ...]] | None:
    """Plan, folder, order and nodes of the isolation, its folder made; None where nothing has failed that groups could tell apart.

    Args:
        plan: of the run.
        folder: of the run.
        order: as ``submit`` has left it.
    """
    shown = shown_by_run(plan, folder, order)
    if not shown.check:
        return None
    suite = replace(plan.suite, checks=tuple(spec for spec in plan.suite.checks if spec.name == shown.check))
    its_plan = replace(plan, suite=suite)
    its_order = replace(
        order,
        check=shown.check,
        metric=shown.metric,
        deadline_s=suite.checks[0].deadline_s,
        after_suite=False,
        earlier=folder.run_id,
        before=shown.tests,
    )
    its_folder = folder.isolation
    its_folder.create()
    its_folder.write_plan(its_plan)
    isolation_journal.write_order(its_folder, its_order)
    lost = lost_nodes(folder)
    nodes = tuple(dict.fromkeys(node for test in shown.tests for node in test.test.nodes))
    return its_plan, its_folder, its_order, tuple(node for node in nodes if node not in lost)
