"""The report for people at a terminal: verdict first, then what was judged, then every bad subject with what to do."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from hpcaccept.model.metric_key import MetricKey
from hpcaccept.model.verdict import Outcome, Verdict
from hpcaccept.report.phrases import fold, what_of
from hpcaccept.report.printable import safe
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hpcaccept.judge import Judgement
    from hpcaccept.judge.statistics.sensitivity import Sensitivity
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.verdict import Question
    from hpcaccept.report.model import CheckRow, Figure, Summary

_STYLE = {
    Outcome.PASS: "green",
    Outcome.WARN: "yellow",
    Outcome.FAIL: "bold red",
    Outcome.ERROR: "magenta",
    Outcome.NOT_RUN: "cyan",
    Outcome.NO_BASELINE: "blue",
}
#: Verdicts shown one by one; the rest is counted. All of them are in report.json.
SHOWN = 30


def render_terminal(evidence: Evidence, judgement: Judgement, summary: Summary, where: str) -> RenderableType:
    """Everything on one page.

    Args:
        evidence: of the run.
        judgement: of the run.
        summary: of both.
        where: path of the run folder.
    """
    plan = evidence.plan
    ranks = f" × {plan.request.ranks_per_node} ranks" if plan.request.ranks_per_node > 1 else ""
    head = f"{plan.run_id}: suite {plan.suite.name}, {plan.request.nodes} node(s){ranks}, {plan.request.device}, {plan.launcher}"
    parts: list[RenderableType] = [Text(safe(head), style="bold"), *[_note(note) for note in summary.notes], Text("")]
    parts += [_checks(summary), Text("")]
    if summary.bad:
        parts += [_bad(summary), Text("")]
    parts += [_conclusion(evidence, judgement, summary), *_footer(judgement, summary, where, plan.run_id)]
    return Group(*parts)


def _note(note: str) -> RenderableType:
    return Padding(Text(safe(note), style="italic"), (0, 0, 0, 2))


def _mark(outcome: Outcome | None) -> Text:
    return Text(outcome.value, style=_STYLE[outcome]) if outcome else Text("–", style="dim")


def _checks(summary: Summary) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("check", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("nodes", justify="right", no_wrap=True)
    table.add_column("baseline", no_wrap=True)
    table.add_column("median (slowest … fastest)", overflow="fold")
    for row in summary.rows:
        figures = Text("\n".join(safe(line) for line in _figures(row)))
        table.add_row(
            Text(safe(row.name)), _mark(row.outcome), f"{row.judged}/{row.asked}", _mark(row.baseline), figures
        )
    return table


def _figures(row: CheckRow) -> list[str]:
    several = len({MetricKey.parse(figure.key).metric for figure in row.figures}) > 1
    return [_figure(figure, several) for figure in row.figures]


def _figure(figure: Figure, several: bool) -> str:
    """``fp32 97.6 GFLOP/s (87.9 … 110)``: the variant names it where the check has one kind of rate only."""
    key = MetricKey.parse(figure.key)
    name = f"{key.metric} {key.variant}".strip() if several else key.variant or key.metric
    text = f"{name} {show(figure.median, figure.unit)}"
    return text if figure.units < 2 or figure.low == figure.high else f"{text} ({_span(figure)})"


def _span(figure: Figure) -> str:
    """``87.9 … 110``: the unit stands beside the median, and is repeated only where the prefix differs."""
    middle, low, high = (show(x, figure.unit) for x in (figure.median, figure.low, figure.high))
    unit = middle.partition(" ")[2]
    return " … ".join(text.removesuffix(f" {unit}") for text in (low, high))


def _bad(summary: Summary) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("where", overflow="fold", max_width=24)
    table.add_column("verdict", no_wrap=True)
    table.add_column("what, and what to do", overflow="fold")
    groups = _grouped(summary.bad)
    for verdicts in groups[:SHOWN]:
        table.add_row(Text(_where(verdicts)), _mark(verdicts[0].outcome), _explained(verdicts))
    if len(groups) > SHOWN:
        table.add_row("…", "", f"and {len(groups) - SHOWN} more: hpcaccept report --format json")
    return table


def _grouped(bad: tuple[Verdict, ...]) -> list[list[Verdict]]:
    """Verdicts that are told together, in the order of the first.

    What says the same of several subjects is told once, and so are missing baselines: every number would say the same. Where
    that leaves more than a page, so is whatever a question says of one subject, and those that miss most come first.
    """
    groups = _by(bad, _in_common)
    if len(groups) <= SHOWN:
        return groups
    alike = [group for group in groups if len(group) > 1]
    groups = alike + _by([group[0] for group in groups if len(group) == 1], lambda v: v.subject)
    for group in groups:
        group.sort(key=_shortfall, reverse=True)
    order = list(dict.fromkeys(verdict.outcome for verdict in bad))
    return sorted(groups, key=lambda group: (order.index(group[0].outcome), -_shortfall(group[0])))


def _in_common(verdict: Verdict) -> tuple[str, str]:
    if verdict.outcome is Outcome.NO_BASELINE:
        return "", verdict.remedy
    # What was not measured has its cause in common, also in several checks.
    return (verdict.key, verdict.reason) if verdict.value is not None else ("", verdict.reason)


def _by(bad: Iterable[Verdict], alike: Callable[[Verdict], object]) -> list[list[Verdict]]:
    groups: dict[tuple[object, ...], list[Verdict]] = {}
    for verdict in bad:
        groups.setdefault((verdict.outcome, verdict.question, alike(verdict)), []).append(verdict)
    return list(groups.values())


def _shortfall(verdict: Verdict) -> float:
    """How far the value misses its limit, relative; 0 for what has none."""
    limit, value = verdict.limit, verdict.value
    if limit is None or value is None:
        return 0.0
    bounds = [bound for bound in (limit.lower, limit.upper) if bound]
    return max((abs(value / bound - 1) for bound in bounds), default=0.0)


def _where(verdicts: list[Verdict]) -> str:
    """One subject, or the nodes of several in folded notation (``node[0-3]``)."""
    if len(verdicts) == 1:
        return safe(str(verdicts[0].subject))
    names = sorted({verdict.subject.node for verdict in verdicts} - {""})
    return safe(fold(names)) if names else "all nodes"


def _explained(verdicts: list[Verdict]) -> str:
    verdict = verdicts[0]
    keys = {v.key for v in verdicts}
    reason = verdict.reason
    if len(keys) == 1:
        name = verdict.key
        if len({v.reason for v in verdicts}) > 1:
            reason = f"{len(verdicts)} of them; the worst is {verdict.subject}: {reason}"
    elif verdict.outcome is Outcome.NO_BASELINE:
        name = ", ".join(sorted({v.check for v in verdicts}))
        reason = f"{len(keys)} kinds of numbers, {reason.rpartition('; ')[2]}"
    elif all(v.reason == reason for v in verdicts):
        name = what_of(verdicts)
    else:
        name = f"{len(keys)} kinds of numbers"
        reason = f"the worst is {verdict.key}: {reason}"
    text = f"[bold]{escape(safe(name))}[/]: {escape(safe(reason))}"
    return f"{text}\n[dim]→ {escape(safe(verdict.remedy))}[/]" if verdict.remedy else text


def _conclusion(evidence: Evidence, judgement: Judgement, summary: Summary) -> Text:
    failed = [node for node, outcome in summary.nodes.items() if outcome is Outcome.FAIL]
    asked = evidence.plan.request.nodes
    if judgement.exit_code == 0:
        text, style = f"ACCEPTED: {asked} of {asked} nodes", "bold green"
    elif judgement.exit_code == 1:
        who = ", ".join(failed[:16]) or "all nodes together"
        more = f" and {len(failed) - 16} more of {asked} nodes" if len(failed) > 16 else ""
        text, style = f"NOT ACCEPTED: {safe(who)}{more}", "bold red"
    else:
        text, style = "NOT JUDGED: something that is required could not be judged", "bold magenta"
    return Text(text, style=style)


def _footer(judgement: Judgement, summary: Summary, where: str, run: str) -> list[RenderableType]:
    cover = judgement.coverage
    share = cover.judged / cover.asked if cover.asked else 0.0
    lines = [f"Coverage: {cover.judged} of {cover.asked} checks on nodes judged ({share:.0%})."]
    if cover.nodes_silent:
        lines.append(f"Nothing is known of: {', '.join(cover.nodes_silent[:16])}.")
    lines += [
        _sight(question, sensitivity)
        for question, sensitivity in judgement.sensitivity.items()
        if sensitivity.smallest_loss
    ]
    if summary.no_baseline:
        models = ", ".join(summary.no_baseline)
        lines.append(f"No baseline fits {models}; when these nodes are good: hpcaccept baseline learn {run}")
    lines += [
        f"Run:    {where}",
        f"Report: {where}/report.html, and report.json for programs",
        f"Exit code {judgement.exit_code}.",
    ]
    return [Text(safe(line), style="dim", overflow="fold") for line in lines]


def _sight(question: Question, sensitivity: Sensitivity) -> str:
    """What a comparison could see, in a sentence."""
    low, high = sensitivity.smallest_loss or (0.0, 0.0)
    name = {"peers": "peers", "baseline": "the baseline", "history": "own past"}.get(question, question)
    rate = sensitivity.false_alarm_rate
    alarms = "" if rate is None else f", set to blame anybody in {rate:.2g} of healthy runs"
    noisiest = f"{high:.0%} in the noisiest" if high < 1 else "none in the noisiest"
    return f"Against {name}: {sensitivity.comparisons:,} comparisons{alarms}; a loss of {low:.1%} is seen in the quietest metric, {noisiest}."


def print_terminal(evidence: Evidence, judgement: Judgement, summary: Summary, where: str) -> None:
    """To standard output, as wide as it is."""
    Console(highlight=False).print(render_terminal(evidence, judgement, summary, where))


def plain_terminal(evidence: Evidence, judgement: Judgement, summary: Summary, where: str) -> str:
    """The same for a file: 100 columns, no colours."""
    out = io.StringIO()
    Console(file=out, width=100, highlight=False).print(render_terminal(evidence, judgement, summary, where))
    return out.getvalue()
