"""What to measure again of a run: its nodes that failed or were not judged, with the partners and checks that it takes to say so anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpcaccept import checks
from hpcaccept.config.suites import built_in
from hpcaccept.errors import UsageError
from hpcaccept.model.verdict import Outcome
from hpcaccept.report.provenance import changed, parameters_in_force

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcaccept.model.verdict import Verdict
    from hpcaccept.report.judged import Judged


@dataclass(frozen=True)
class Rerun:
    """A request that repeats a part of a run.

    Attributes:
        nodes: to be measured again.
        partners: measured beside them, because a finding against peers, or of ranks together, needs others.
        only: names of the checks in the suite.
        options: settings of the earlier request, by the names of ``Settings``.
        changes: parameters that the earlier command line had set, by check.
    """

    nodes: tuple[str, ...]
    partners: tuple[str, ...]
    only: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)


def rerun_of(judged: Judged) -> Rerun:
    """What failed, is in doubt or was not judged.

    Raises:
        UsageError: nothing of it is.
    """
    plan = judged.evidence.plan
    open_ones = [
        v
        for v in judged.judgement.verdicts
        if v.outcome is not Outcome.PASS and (v.required or v.outcome is Outcome.FAIL)
    ]
    gaps = judged.judgement.coverage.gaps
    nodes = [node for node, outcome in judged.summary.nodes.items() if outcome is not Outcome.PASS]
    blamed = {verdict.check for verdict in open_ones} | {name for name in gaps if gaps[name]}
    only = tuple(spec.name for spec in plan.suite.checks if spec.name in blamed)
    if not nodes or not only:
        raise UsageError(
            f"Every node of {plan.run_id} passed: there is nothing to measure again.",
            "hpcaccept submit starts a new run.",
        )
    partners = partners_of(judged, nodes, max((nodes_needed(judged, v) for v in open_ones), default=1) - len(nodes))
    return Rerun(tuple(nodes), tuple(partners), only, _options(judged, [*nodes, *partners]), _changes(judged, only))


def _options(judged: Judged, nodes: list[str]) -> dict[str, Any]:
    plan = judged.evidence.plan
    request, suite = plan.request, plan.suite
    # Virtual nodes are names for parts of one machine: nobody can ask for them.
    named = "" if any(step.virtual for step in judged.evidence.steps) else ",".join(nodes)
    found = {
        "nodes": len(nodes),
        "nodelist": named,
        "suite": suite.name if suite.name in built_in() else suite.source,
        "launcher": plan.launcher,
        "partition": request.partition,
        "account": request.account,
        "gpus_per_node": request.gpus,
        "ranks_per_node": request.ranks_per_node,
        "container_image": plan.image.reference,
        "container_mounts": ",".join(plan.image.mounts),
        "container_runtime": plan.image.runtime if plan.image.reference else "",
        "slurm": dict(request.slurm),
    }
    return {name: value for name, value in found.items() if value}


def _changes(judged: Judged, only: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    changes: dict[str, dict[str, Any]] = {}
    for one in changed(parameters_in_force(judged.evidence)):
        if one.check in only and one.origin == "command line":
            changes.setdefault(one.check, {})[one.name] = one.value
    return changes


def nodes_needed(judged: Judged, verdict: Verdict) -> int:
    """Nodes with which a finding can be judged again: a peer rule needs like subjects, a check of all ranks a second node."""
    kind = checks.find(verdict.check)
    together = 2 if kind is not None and kind.scope == "world" else 1
    if verdict.question != "peers":
        return together
    most = 1
    for column in judged.values:
        if column.key == verdict.key:
            subjects = [column.table_subjects[i] for i in column.subject.tolist()]
            most = max(most, sum(subject.node == verdict.subject.node for subject in subjects))
    return max(together, -(-judged.evidence.plan.suite.peers.min_subjects // most))


def partners_of(judged: Judged, nodes: Iterable[str], count: int) -> list[str]:
    """Other nodes of the run with the same devices, those without a finding first; at most ``count``."""
    tested = set(nodes)
    mine = {subject.model for subject in judged.evidence.samples.subjects if subject.node in tested}
    alike = {s.node for s in judged.evidence.samples.subjects if s.node and s.node not in tested and s.model in mine}
    rank = {outcome: number for number, outcome in enumerate((Outcome.PASS, Outcome.NO_BASELINE, Outcome.WARN))}
    order = sorted(alike, key=lambda name: (rank.get(judged.summary.nodes.get(name, Outcome.ERROR), len(rank)), name))
    return order[: max(0, count)]
