"""From what was typed to a plan that fits: which nodes are meant, what the suite would take, what the budget buys."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.app.run.submit import plan_run
from hpcaccept.config.budget import parse_budget
from hpcaccept.config.settings import Settings
from hpcaccept.model.plan import Plan
from hpcaccept.report.printable import safe
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.replaced_files import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcaccept.app.budget.within import Budgeted
    from hpcaccept.config.settings import Layered

#: For a budget of GPU-hours nobody knows yet how long the job is: no reservation of the next day may meet it.
_DAY_S = 24 * 3600.0
#: So many nodes that are left out are named.
_NAMED = 20


@dataclass(frozen=True)
class Asked:
    """What was typed beside the settings.

    Attributes:
        only: checks of the suite that are wanted; none: all of them.
        nodes: ``all`` or ``idle``; empty: the settings say how many.
        budget: as it was typed; empty: none.
        kept_back_s: seconds of the budget that something else of the job needs.
    """

    only: tuple[str, ...] = ()
    nodes: str = ""
    budget: str = ""
    kept_back_s: float = 0.0


@dataclass(frozen=True)
class Ordered:
    """A plan, and how it came about.

    Attributes:
        plan: what is run.
        folder: of the run, not yet made.
        settings: with the nodes that were meant.
        said: what whoever submits should know, for people; empty: nothing but what was typed.
        kept: what the plan was bought of, as JSON; empty: no budget was given.
    """

    plan: Plan
    folder: RunFolder
    settings: Settings
    said: str = ""
    kept: str = ""

    def keep(self, folder: RunFolder) -> None:
        """Leave beside the plan what it was bought of."""
        if self.kept:
            replace_file(folder.budget_file, self.kept)


def plan_within(layered: Layered, asked: Asked, *, to_show: bool = False) -> Ordered:
    """The plan of a run on the nodes that are meant, within its budget. Nothing is written or started.

    Args:
        layered: settings and overrides.
        asked: what was typed beside them.
        to_show: the plan is shown and not submitted.

    Raises:
        UsageError: settings, suite, nodes or budget are wrong.
        LaunchError: the scheduler does not answer, or gives no node.
    """
    settings, left_out = _meant(layered, asked, to_show=to_show)
    plan, folder = plan_run(settings, layered.overrides, only=asked.only, to_show=to_show)
    if not asked.budget:
        return Ordered(plan, folder, settings, nodes_not_tested(left_out))
    # Without a budget nothing is reckoned, and nothing that reckons is imported.
    from hpcaccept.app.budget.said import as_json, in_words
    from hpcaccept.app.budget.within import fit_plan

    fit = fit_plan(plan, asked.budget, Path(settings.runs_dir).absolute(), kept_back_s=asked.kept_back_s)
    said = "\n\n".join(filter(None, (in_words(fit), nodes_not_tested(left_out))))
    return Ordered(fit.plan, folder, settings, said, as_json(fit, left_out))


def reckon(layered: Layered, asked: Asked) -> tuple[Budgeted, dict[str, str]]:
    """What a run would take, find and miss, with a budget or without; and the nodes that were meant and cannot be had → why.

    Raises:
        UsageError: as ``plan_within``.
        LaunchError: as ``plan_within``.
    """
    from hpcaccept.app.budget.within import fit_plan

    settings, left_out = _meant(layered, asked, to_show=True)
    plan, _ = plan_run(settings, layered.overrides, only=asked.only, to_show=True)
    return fit_plan(plan, asked.budget, Path(settings.runs_dir).absolute()), left_out


def _meant(layered: Layered, asked: Asked, *, to_show: bool) -> tuple[Settings, dict[str, str]]:
    """Settings with the names of the nodes that a word means, and the nodes that cannot be had; as they are without a word."""
    settings = layered.settings
    if not asked.nodes:
        return settings, {}
    from hpcaccept.app.budget.asked_nodes import named_nodes

    within_s = (parse_budget(asked.budget).time_s if asked.budget else 0.0) or _DAY_S
    # Launcher and GPUs per node are decided as for a run of one node.
    probe, _ = plan_run(replace(settings, nodes=1, nodelist=""), layered.overrides, only=asked.only, to_show=to_show)
    decided = replace(settings, gpus_per_node=probe.request.gpus_per_node, gpu_type=probe.request.gpu_type)
    found = named_nodes(replace(decided, nodelist=settings.nodelist), asked.nodes, within_s, probe.launcher)
    return found.settings, found.left_out


def nodes_not_tested(left_out: Mapping[str, str]) -> str:
    """The nodes that were meant and cannot be had, by name; empty: there is none."""
    lines = [safe(f"  {node}: {why}") for node, why in list(left_out.items())[:_NAMED]]
    more = len(left_out) - len(lines)
    head = ["Nodes of the partition that are not tested:"] if lines else []
    return "\n".join([*head, *lines, *([f"  and {more:,} more"] if more else [])])
