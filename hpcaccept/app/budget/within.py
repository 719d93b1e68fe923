"""The plan of a run that fits a budget: what the whole suite would take, by earlier runs, and what of it is bought."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcaccept import launch
from hpcaccept.app.budget.spread import latest_spread
from hpcaccept.config.budget import MINUTE_S, OPTION, parse_budget
from hpcaccept.errors import UsageError
from hpcaccept.launch.job.driver import WARNING_S
from hpcaccept.model.metric_key import check_of
from hpcaccept.model.plan import Plan
from hpcaccept.plan.budget.candidates import FIRST, candidates_of, within
from hpcaccept.plan.budget.choose import BudgetTooSmall, Choice, choose
from hpcaccept.plan.budget.costs import known_for, overhead_of, why_not_measured
from hpcaccept.store.folder import all_runs
from hpcaccept.store.run_times import known_times
from hpcaccept.units import show_duration

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.plan.budget.choose import Candidate

#: So many of the latest runs tell what a check takes.
_LOOKED_AT = 30


@dataclass(frozen=True)
class Budgeted:
    """A plan that fits a budget.

    Attributes:
        plan: what is run.
        whole: the plan of the whole suite.
        choice: what was bought.
        text: the budget as it was typed; empty: none, and everything is bought.
        not_there: check → why earlier runs could not measure it; it is left out.
        spread_of: the run that shows by how much units differ; empty: they are taken to differ as is usual.
    """

    plan: Plan
    whole: Plan
    choice: Choice
    text: str
    not_there: dict[str, str]
    spread_of: str = ""


def fit_plan(plan: Plan, budget: str, runs_dir: Path, *, kept_back_s: float = 0.0) -> Budgeted:
    """What of a plan fits a budget.

    Args:
        plan: of the whole suite.
        budget: as it was typed; empty: no limit.
        runs_dir: where the earlier runs are that tell what a check takes.
        kept_back_s: seconds of the budget that something else of the job needs.

    Raises:
        UsageError: no budget is meant, it is too small, or the job has a time limit of its own.
    """
    if budget and plan.request.time_s:
        raise UsageError(f"--time and {OPTION} both limit the job.", "Leave --time out: the budget is its time limit.")
    request, virtual = plan.request, launch.load(plan.launcher).TRAITS.virtual
    folders = all_runs(runs_dir)[-_LOOKED_AT:]
    known = known_for(plan, known_times(folders), virtual=virtual, cores=os.cpu_count() or 1)
    spread = latest_spread(plan, folders)
    not_there = {
        spec.name: why
        for spec in plan.suite.checks
        if not spec.required and check_of(spec.name) not in FIRST and (why := why_not_measured(spec, known))
    }
    if len(not_there) == len(plan.suite.checks):
        not_there = {}  # nothing else was asked for
    candidates = tuple(one for one in candidates_of(plan, known, spread.widths) if one.check not in not_there)
    overhead = overhead_of(plan, known, WARNING_S + kept_back_s)
    limit_s = parse_budget(budget).seconds(request.nodes * request.gpus_per_node) if budget else math.inf
    try:
        choice = choose(candidates, overhead, plan.suite.peers.retests, limit_s)
    except BudgetTooSmall as fault:
        raise _too_small(plan, budget, fault.needed_s, candidates) from None
    if not budget:
        return Budgeted(plan, plan, choice, "", not_there, spread.run)
    mine = within(plan.suite, choice)
    left_out = tuple(spec.name for spec in plan.suite.checks if spec.name not in {one.name for one in mine.checks})
    limited = replace(plan, suite=mine, left_out=left_out, request=replace(request, time_s=limit_s))
    return Budgeted(limited, plan, choice, budget, not_there, spread.run)


def _too_small(plan: Plan, budget: str, needed_s: float, candidates: tuple[Candidate, ...]) -> UsageError:
    """What does not fit, what it takes, and what to type."""
    request = plan.request
    first = [one.check for one in candidates if one.first] or [one.check for one in candidates[:1]]
    nodes = f"{request.nodes:,} node{'s' if request.nodes > 1 else ''}"
    minutes = math.ceil(needed_s / MINUTE_S)
    gpu_hours = parse_budget(budget).gpu_hours
    if not gpu_hours:
        fits = f"--budget {minutes}m fits"
    else:
        each = minutes / 60 * request.gpus_per_node
        most = math.floor(gpu_hours / each + 1e-9)
        fits = f"--budget {math.ceil(each * request.nodes)}gpu-h fits"
        fits += f", or --nodes {most}" if most else ""
    return UsageError(
        f"{OPTION} {budget} is too small: a run of {', '.join(first)} on {nodes} takes {show_duration(needed_s)}.",
        f"{fits}; see 'hpcaccept plan --explain'.",
    )
