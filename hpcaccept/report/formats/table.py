"""The report for people at a terminal: verdict first, then what was judged, then everything bad with what to do."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from hpcaccept.model.metric_key import MetricKey
from hpcaccept.model.verdict import Outcome
from hpcaccept.report.phrases import ASKED, EVERYBODY, conclusion, counted, fold, sight, stated_rate, troubles
from hpcaccept.report.printable import safe
from hpcaccept.report.provenance import changed, parameters_in_force, software_line
from hpcaccept.units import show

if TYPE_CHECKING:
    from hpcaccept.judge.statistics.sensitivity import Sensitivity
    from hpcaccept.model.verdict import Question
    from hpcaccept.report.judged import Judged
    from hpcaccept.report.model import CheckRow, Figure, Summary
    from hpcaccept.report.phrases import Trouble

ABOUT = "For a terminal: one page with the verdict, every check, everything that is bad and what to do about it."

_STYLE = {
    Outcome.PASS: "green",
    Outcome.WARN: "yellow",
    Outcome.FAIL: "bold red",
    Outcome.ERROR: "magenta",
    Outcome.NOT_RUN: "cyan",
    Outcome.NO_BASELINE: "blue",
}
_ENDED = {"ACCEPTED": "bold green", "NOT ACCEPTED": "bold red", "NOT JUDGED": "bold magenta"}
#: Things to do that are shown, and subjects that one of them quotes; the rest is counted. All of them are in report.json.
SHOWN, EACH = 30, 8


def layout(judged: Judged) -> RenderableType:
    """Everything on one page, of any width."""
    plan, summary = judged.evidence.plan, judged.summary
    ranks = f" × {plan.request.ranks_per_node} ranks" if plan.request.ranks_per_node > 1 else ""
    head = f"{plan.run_id}: suite {plan.suite.name}, {plan.request.nodes} node(s){ranks}, {plan.request.device}, {plan.launcher}"
    parts: list[RenderableType] = [
        Text(safe(head), style="bold"),
        *_measured_with(judged),
        *[_note(note) for note in summary.notes],
        Text(""),
    ]
    parts += [_checks(summary), Text("")]
    if summary.bad:
        parts += [_bad(summary), Text("")]
    parts += [_conclusion(judged), *_footer(judged)]
    return Group(*parts)


def _measured_with(judged: Judged) -> list[RenderableType]:
    """Job, image and versions, and what neither the checks nor the suite have set."""
    bound = judged.summary.bound
    image = f"image {bound.image}{f' {bound.digest}' if bound.digest else ''}" if bound.image else ""
    words = [
        f"job {bound.job}" if bound.job else "",
        f"hpcaccept {bound.version} {bound.commit}",
        image,
        software_line(bound.software),
    ]
    mine = changed(parameters_in_force(judged.evidence))
    lines = ["; ".join(filter(None, words))]
    if mine:
        more = f" and {len(mine) - EACH} more" if len(mine) > EACH else ""
        lines.append(
            f"Changed: {', '.join(f'{one.check}.{one.name} = {one.value} ({one.origin})' for one in mine[:EACH])}{more}."
        )
    return [Padding(Text(safe(line), style="dim", overflow="fold"), (0, 0, 0, 2)) for line in lines]


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
    found = troubles(summary.bad)
    for trouble in found[:SHOWN]:
        where = safe(fold(trouble.where)) or EVERYBODY
        table.add_row(Text(where), _mark(trouble.outcome), _explained(trouble))
    if len(found) > SHOWN:
        table.add_row("…", "", f"and {len(found) - SHOWN} more: hpcaccept report --format json")
    return table


def _explained(trouble: Trouble) -> str:
    """What is the matter, of each subject where that differs, and what to do."""
    reasons, remedy = trouble.reasons, trouble.remedy
    of = f", {counted(len(trouble.verdicts), 'finding')}" if len(trouble.verdicts) > 1 else ""
    head = f"[bold]{escape(safe(trouble.what))}[/] ({trouble.code}){of}:"
    lines = [escape(safe(reason)) for reason in reasons[:EACH]]
    if len(reasons) > EACH:
        lines.append(f"and {len(reasons) - EACH:,} more: hpcaccept report --format json")
    lines = [f"{head} {lines[0]}"] if len(lines) == 1 else [head, *lines]
    return "\n".join([*lines, *([f"[dim]→ {escape(safe(remedy))}[/]"] if remedy else [])])


def _conclusion(judged: Judged) -> Text:
    ended = conclusion(judged)
    return Text(safe(f"{ended.word}: {ended.sentence}"), style=_ENDED[ended.word])


def _footer(judged: Judged) -> list[RenderableType]:
    judgement, summary, cover = judged.judgement, judged.summary, judged.judgement.coverage
    lines = [f"Coverage: {cover.judged:,} of {cover.asked:,} checks on nodes judged ({cover.percent} %)."]
    if cover.nodes_silent:
        lines.append(f"Nothing is known of: {', '.join(cover.nodes_silent[:16])}.")
    lines += [
        _sight(question, sensitivity) for question, sensitivity in judgement.sensitivity.items() if sensitivity.kinds
    ]
    if summary.no_baseline and judgement.exit_code != 1:
        models = ", ".join(summary.no_baseline)
        lines.append(
            f"No baseline fits {models}; when these nodes are good: hpcaccept baseline learn {judged.evidence.plan.run_id}"
        )
    if judged.where:
        lines += [f"Run:    {judged.where}", f"Report: {judged.where}/report.html, and report.json for programs"]
    lines.append(f"Exit code {judgement.exit_code}.")
    return [Text(safe(line), style="dim", overflow="fold") for line in lines]


def _sight(question: Question, sensitivity: Sensitivity) -> str:
    """What a comparison could see, for each kind of metric."""
    alarms = stated_rate(sensitivity)
    found = ", ".join(sight(kind) for kind in sensitivity.kinds)
    return (
        f"Against {ASKED.get(question, question)}: {sensitivity.comparisons:,} comparisons{alarms}. "
        f"Losses found half of the time (19 times of 20): {found}."
    )


def to_terminal(judged: Judged) -> None:
    """To standard output, as wide as it is."""
    Console(highlight=False).print(layout(judged))


def render(judged: Judged) -> str:
    """The same for a file: 100 columns, no colours."""
    out = io.StringIO()
    Console(file=out, width=100, highlight=False).print(layout(judged))
    return out.getvalue()
