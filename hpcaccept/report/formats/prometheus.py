"""A run for monitoring: a file for the textfile collector of node_exporter with one run, its nodes, its figures.

The text format 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format. Samples carry no time (the
collector refuses them); ``hpcaccept_run_created_timestamp_seconds`` tells how old they are. Nodes are never left out, and a node that
was not judged is not accepted: an alert on ``hpcaccept_node_accepted == 0`` has no silent pass.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from hpcaccept.model.metric_key import MetricKey
from hpcaccept.model.verdict import Outcome
from hpcaccept.report.printable import safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hpcaccept.report.judged import Judged
    from hpcaccept.report.model import Summary

    Sample = tuple[Mapping[str, str], float]

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
    families: list[tuple[str, str, Iterable[Sample]]] = [
        ("run_info", "The run that the other numbers speak of.", [(info, 1)]),
        ("run_created_timestamp_seconds", "When the run was planned.", [(suite, _seconds(plan.created_at))]),
        ("run_exit_code", "0 accepted, 1 at least one FAIL, 3 anything else: not judged, or in doubt.", [(suite, judgement.exit_code)]),
        ("run_nodes_asked", "Nodes that were asked for.", [(suite, plan.request.nodes)]),
        ("run_nodes", "Nodes by their worst verdict.", [({**suite, "outcome": o}, n) for o, n in counts.items()]),
        ("run_verdicts", "Verdicts by outcome.", [({**suite, "outcome": o.value}, summary.counts.get(o.value, 0)) for o in Outcome]),
        ("run_coverage_ratio", "Checks on nodes that were judged, of those asked for.", [(suite, cover.judged / cover.asked if cover.asked else 0.0)]),
        ("check_nodes_judged", "Nodes on which a check was judged.", [({**suite, "check": row.name}, row.judged) for row in summary.rows]),
        ("check_accepted", "1 when the worst verdict of a check is PASS.", [({**suite, "check": row.name, "outcome": row.outcome.value}, row.outcome is Outcome.PASS) for row in summary.rows]),
        ("node_accepted", "1 when the worst verdict of a node is PASS.", [({**suite, "node": n, "outcome": o.value}, o is Outcome.PASS) for n, o in nodes]),
        ("figure", "A rate over all units, in the SI unit of its label.", _figures(summary, suite)),
    ]  # fmt: skip
    return "".join(_family(f"hpcaccept_{name}", help_, samples) for name, help_, samples in families)


def _figures(summary: Summary, suite: Mapping[str, str]) -> Iterable[Sample]:
    for row in summary.rows:
        for figure in row.figures:
            key = MetricKey.parse(figure.key)
            labels = {
                **suite,
                "check": key.check_name,
                "metric": key.metric,
                "variant": key.variant,
                "unit": figure.unit,
            }
            for stat, value in (("min", figure.low), ("median", figure.median), ("max", figure.high)):
                yield {**labels, "stat": stat}, value


def _seconds(at: str) -> float:
    """Seconds since 1970; 0 for a text that is no time (a plan that was edited by hand)."""
    try:
        return datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0


def _family(name: str, help_: str, samples: Iterable[Sample]) -> str:
    lines = [f"{name}{_labels(labels)} {float(value)!r}\n" for labels, value in samples]
    return f"# HELP {name} {help_}\n# TYPE {name} gauge\n{''.join(lines)}" if lines else ""


def _labels(labels: Mapping[str, str]) -> str:
    pairs = (f'{key}="{_escaped(value)}"' for key, value in labels.items())
    return f"{{{','.join(pairs)}}}"


def _escaped(text: str) -> str:
    """``safe`` leaves no line feed; backslash and quote are what remains to be escaped."""
    return safe(text).replace("\\", "\\\\").replace('"', '\\"')
