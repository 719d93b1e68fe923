"""Does an isolation follow a suite in its job? Where a check of all nodes together has failed, with that check and what it has shown."""

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
    check, before = shown_by_run(plan, folder, order)
    if not check:
        return None
    suite = replace(plan.suite, checks=tuple(spec for spec in plan.suite.checks if spec.name == check))
    spec = suite.checks[0]
    its_plan, its_order = replace(plan, suite=suite), replace(order.about(check, before), deadline_s=spec.deadline_s)
    its_order = replace(its_order, after_suite=False, earlier=folder.run_id)
    its_folder = folder.isolation
    its_folder.create()
    its_folder.write_plan(its_plan)
    isolation_journal.write_order(its_folder, its_order)
    lost = lost_nodes(folder)
    nodes = tuple(dict.fromkeys(node for test in before for node in test.test.nodes))
    return its_plan, its_folder, its_order, tuple(node for node in nodes if node not in lost)
