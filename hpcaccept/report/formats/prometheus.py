"""A run for monitoring: a file for the textfile collector of node_exporter with one run, its nodes, its figures.

``hpcaccept_run_created_timestamp_seconds`` tells how old they are (``report.openmetrics`` has the form). Nodes are never left out, and a node that
was not judged is not accepted: an alert on ``hpcaccept_node_accepted == 0`` has no silent pass.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from hpcaccept.model.metric_key import MetricKey
from hpcaccept.model.verdict import Outcome
from hpcaccept.report.openmetrics import Family, exposition, unit_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hpcaccept.report.judged import Judged
    from hpcaccept.report.model import Summary
    from hpcaccept.report.openmetrics import Sample

ABOUT = "For node_exporter's textfile collector: the run, its nodes and its figures."


def render(judged: Judged) -> str:
    """Gauges, all of them about this run; the last file written stands for the last run of its suite."""
    judgement, summary = judged.judgement, judged.summary
    plan, cover = judged.evidence.plan, judgement.coverage
    # The suite tells the files of several suites apart; the run does not stand in every label, for it is new every night.
    suite = {"suite": plan.suite.name}
    info = {**suite, "run": plan.run_id, "launcher": plan.launcher, "version": plan.version}
    nodes = summary.nodes.items()
    unknown = max(plan.request.nodes - len(summary.nodes), 0)
    counts = {o.value: sum(outcome is o for _, outcome in nodes) for o in Outcome}
    counts[Outcome.NOT_RUN.value] += unknown
    return exposition((
        Family("run_info", "The run that the other numbers speak of.", [(info, 1)]),
        Family("run_created_timestamp_seconds", "When the run was planned.", [(suite, _seconds(plan.created_at))], "seconds"),
        Family("run_exit_code", "0 accepted, 1 at least one FAIL, 3 anything else: not judged, or in doubt.", [(suite, judgement.exit_code)]),
        Family("run_nodes_asked", "Nodes that were asked for.", [(suite, plan.request.nodes)]),
        Family("run_nodes", "Nodes by their worst verdict.", [({**suite, "outcome": o}, n) for o, n in counts.items()]),
        Family("run_verdicts", "Verdicts by outcome.", [({**suite, "outcome": o.value}, summary.counts.get(o.value, 0)) for o in Outcome]),
        Family("run_coverage_ratio", "Checks on nodes that were judged, of those asked for.", [(suite, cover.judged / cover.asked if cover.asked else 0.0)], "ratio"),
        Family("check_nodes_judged", "Nodes on which a check was judged.", [({**suite, "check": row.name}, row.judged) for row in summary.rows]),
        Family("check_accepted", "1 when the worst verdict of a check is PASS.", [({**suite, "check": row.name, "outcome": row.outcome.value}, row.outcome is Outcome.PASS) for row in summary.rows]),
        Family("node_accepted", "1 when the worst verdict of a node is PASS.", [({**suite, "node": n, "outcome": o.value}, o is Outcome.PASS) for n, o in nodes]),
        *_figures(summary, suite),
    ))  # fmt: skip


def _figures(summary: Summary, suite: Mapping[str, str]) -> Iterable[Family]:
    """A family for each unit: numbers of two units have no sum and no axis in common."""
    found: dict[str, list[Sample]] = {}
    for row in summary.rows:
        for figure in row.figures:
            key = MetricKey.parse(figure.key)
            labels = {**suite, "check": key.check_name, "metric": key.metric, "variant": key.variant}
            for stat, value in (("min", figure.low), ("median", figure.median), ("max", figure.high)):
                found.setdefault(unit_word(figure.unit), []).append(({**labels, "stat": stat}, value))
    for unit, samples in sorted(found.items()):
        yield Family(f"figure_{unit}", "What was measured, over all units of the run.", samples, unit)


def _seconds(at: str) -> float:
    """Seconds since 1970; 0 for a text that is no time (a plan that was edited by hand)."""
    try:
        return datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0
