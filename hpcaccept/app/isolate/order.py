"""Turns the options of ``isolate`` into an order and a plan."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept import checks
from hpcaccept.app.isolate.leaves import leaves_of
from hpcaccept.app.run.submit import nothing_else, plan_run, start
from hpcaccept.config.suites import SuiteText
from hpcaccept.errors import StoreError, UsageError, nearest
from hpcaccept.launch.job.driver import WARNING_S, time_limit_s
from hpcaccept.launch.job.isolation.groups import PLACES
from hpcaccept.launch.job.isolation.outcome_of_step import rate_of
from hpcaccept.launch.job.isolation.shown_by_run import shown_by_run
from hpcaccept.model.event import Event
from hpcaccept.model.isolation_order import IsolationOrder, OutputRule
from hpcaccept.model.metric_key import MetricKey
from hpcaccept.model.suite import CheckSpec, PeerRule, Suite
from hpcaccept.plan.resolve import resolve_suite
from hpcaccept.store import isolation_journal
from hpcaccept.store.folder import find
from hpcaccept.store.journal import read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hpcaccept.config.settings import Settings
    from hpcaccept.model.job import JobRef
    from hpcaccept.model.plan import Plan
    from hpcaccept.store.folder import RunFolder

#: What the driver needs beside its rounds: to start, and to end what hangs.
_BESIDE_S = 120.0
#: Characters of a regular expression.
_LONGEST_PATTERN = 1000


def rule_of(match: str, at_least: float | None, at_most: float | None, *, lower_is_better: bool) -> OutputRule:
    """The rule for the output of a site's command.

    Raises:
        UsageError: no regular expression, limits without one, or limits that nothing can meet.
    """
    if not match and (at_least is not None or at_most is not None or lower_is_better):
        raise UsageError(
            "--at-least, --at-most and --lower-is-better judge the number that --match finds.", "Add --match REGEX."
        )
    if len(match) > _LONGEST_PATTERN:
        raise UsageError(f"--match has {len(match)} characters, expected at most {_LONGEST_PATTERN}.")
    try:
        groups = re.compile(match).groups
    except re.error as fault:
        raise UsageError(f"--match: {match!r} is not a regular expression: {fault}.") from None
    if groups > 1:
        raise UsageError(f"--match has {groups} groups, expected one, around the number.", "Write the others as (?:…).")
    if at_least is not None and at_most is not None and at_least > at_most:
        raise UsageError(f"--at-least is {at_least:g}, above --at-most of {at_most:g}: no output could pass.")
    return OutputRule(match, at_least, at_most, lower_is_better)


def command_of(text: str) -> tuple[str, ...]:
    """The words of a site's command. No shell ever reads it.

    Raises:
        UsageError: it is empty, has an open quote, or does not say where the nodes go.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError as fault:
        raise UsageError(f"--command: {fault}.") from None
    if not any(place in word for word in words[1:] for place in PLACES[:3]):
        raise UsageError(
            "--command does not say where the names of the nodes go.",
            f"Put one of {', '.join(PLACES[:3])} into it: 'srun --nodelist={{nodes}} --nodes={{count}} ./test'.",
        )
    return words


def order_of(order: IsolationOrder, run: str, settings: Settings) -> tuple[IsolationOrder, Settings]:
    """The order with what an earlier run has shown, and the settings with its nodes.

    Args:
        order: by the options.
        run: from which it starts; empty: none.
        settings: of which the nodes are those of the run, unless some are named.

    Raises:
        UsageError: there is nothing to run, or the run has shown nothing that groups could tell apart.
        RunError: there is no such run.
    """
    if run:
        order, settings = _from_run(
            order, find(Path(settings.runs_dir).absolute(), "" if run == "latest" else run), settings
        )
    if not order.check and not order.command:
        raise UsageError(
            "isolate needs something to run.", "Name a check (--check allreduce), a run (--run latest) or --command."
        )
    if order.check:
        _must_be_for_groups(order)
    if (len(settings.nodelist) == 0) and settings.nodes < 2:
        raise UsageError("isolate needs at least two nodes.", "Say how many: --nodes 16.")
    return order, settings


def _must_be_for_groups(order: IsolationOrder) -> None:
    kinds = {name: checks.load(name) for name in checks.built_in()}
    world = [name for name, kind in kinds.items() if kind.scope == "world" and not kind.isolated_by]
    if not checks.exists(order.check):
        raise UsageError(f"There is no check {order.check!r}.", nearest(order.check, world))
    if checks.load(order.check).scope != "world":
        raise UsageError(
            f"{order.check} measures each node by itself: which one is bad is seen without groups.",
            f"Run it: hpcaccept submit. Checks of all nodes together: {', '.join(world)}.",
        )
    if other := checks.load(order.check).isolated_by:
        raise UsageError(
            f"{order.check} divides the nodes into groups itself.", f"Let the groups run {other}: --check {other}."
        )
    if order.metric not in ("auto", ""):
        try:
            mine = MetricKey.parse(order.metric).check_name == order.check
        except ValueError as fault:
            raise UsageError(f"--metric: {fault}.") from None
        if not mine or rate_of(order.check, order.metric) is None:
            known = [f"{order.check}.{metric.name}" for metric in checks.load(order.check).metrics if metric.is_rate]
            raise UsageError(
                f"--metric: {order.check} has no rate {order.metric!r}.", f"It has {', '.join(known) or 'none'}."
            )


def _from_run(order: IsolationOrder, folder: RunFolder, settings: Settings) -> tuple[IsolationOrder, Settings]:
    plan = folder.read_plan()
    earlier = isolation_journal.read_order(folder)
    shown = shown_by_run(plan, folder, order)
    check, before = shown.check, shown.tests
    if order.metric == "auto" and before:
        order = replace(order, metric=shown.metric)
    if order.command:
        check, before = "", ()
    elif earlier is not None and earlier.command and not order.check:
        order, check = replace(order, command=earlier.command, rule=earlier.rule, deadline_s=earlier.deadline_s), ""
    elif not check:
        raise UsageError(
            f"{folder.run_id} shows no failure of a check that all nodes run together.",
            "Name one to look into: --check allreduce. What it does show: hpcaccept report.",
        )
    if not settings.nodelist and settings.nodes < 2:
        settings = replace(settings, nodelist=",".join(_nodes_of(folder, before)), nodes=1)
    return replace(order, check=check, before=before, earlier=folder.run_id), settings


def _nodes_of(folder: RunFolder, before: Sequence[object]) -> tuple[str, ...]:
    words = read(folder.driver_log) if folder.driver_log.exists() else ()
    nodes = next((word.nodes for word in words if isinstance(word, Event) and word.kind == "started"), ())
    if not nodes:
        raise StoreError(f"{folder.run_id} does not say on which nodes it ran.", "Name them: --nodelist.")
    return nodes


def suite_for(order: IsolationOrder, overrides: Sequence[SuiteText]) -> Suite:
    """The suite of one check, or of none where a site's command is run."""
    if not order.check:
        return Suite("isolate", "", (), peers=PeerRule(enabled=False))
    text = SuiteText(Path("isolate.toml"), {"checks": {order.check: {}}, "peers": {"enabled": False}})
    return resolve_suite(text, overrides)


def plan_isolation(
    order: IsolationOrder,
    settings: Settings,
    overrides: Sequence[SuiteText],
    *,
    topology: str = "",
    to_show: bool = False,
) -> tuple[Plan, RunFolder, IsolationOrder]:
    """Plan, folder (not yet made) and order, with what the job may last and the leaves of the nodes.

    Raises:
        UsageError: as ``plan_run`` and ``leaves_of``.
        LaunchError: as ``plan_run``.
    """
    plan, folder = plan_run(settings, overrides, to_show=to_show, suite=suite_for(order, overrides))
    specs: tuple[CheckSpec, ...] = plan.suite.checks
    order = replace(order, deadline_s=specs[0].deadline_s) if specs else order
    order = replace(order, leaf_of=leaves_of(plan, topology))
    if not plan.request.time_s:
        time_s = order.budget_s + plan.start_deadline_s + order.deadline_s + _BESIDE_S + WARNING_S
        plan = replace(plan, request=replace(plan.request, time_s=time_s))
    return plan, folder, order


def start_isolation(plan: Plan, folder: RunFolder, order: IsolationOrder, settings: Settings) -> JobRef:
    """Make the folder and start the job.

    Raises:
        RunError: the folder cannot be made.
        LaunchError: the scheduler refused; the folder is removed again.
    """
    return start(plan, folder, settings, lambda made: isolation_journal.write_order(made, order))


def isolation_after(
    plan: Plan, budget_s: float, prepare: Callable[[RunFolder], None] = nothing_else
) -> tuple[Plan, Callable[[RunFolder], None]]:
    """The plan with time for an isolation behind its suite, and what leaves its order in the run folder.

    Raises:
        UsageError: the suite has no check that groups could run.
    """
    if plan.request.nodes < 2 or not any(checks.load(spec.name).scope == "world" for spec in plan.suite.checks):
        raise UsageError(
            f"--isolate: suite {plan.suite.name} on {plan.request.nodes} nodes has no check that groups of nodes could run.",
            "Name a suite with one (fabric) and at least two nodes, or leave --isolate out.",
        )
    order = IsolationOrder(budget_s=budget_s, after_suite=True, leaf_of=leaves_of(plan))
    time_s = plan.request.time_s or time_limit_s(plan) + budget_s
    plan = replace(plan, request=replace(plan.request, time_s=time_s))

    def leave_all(folder: RunFolder) -> None:
        prepare(folder)
        isolation_journal.write_order(folder, order)

    return plan, leave_all
