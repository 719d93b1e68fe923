"""A run on one page of a terminal: the conclusion, what is bad and what to do, the checks, then what was not judged and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from hpcaccept.model.metric_key import MetricKey
from hpcaccept.model.verdict import Outcome
from hpcaccept.report.phrases import ASKED, EVERYBODY, Trouble, conclusion, counted, fold, found_nearly_always, troubles
from hpcaccept.report.printable import safe
from hpcaccept.report.provenance import changed, duration_in_words, fact_of, parameters_in_force, software_line
from hpcaccept.report.views.on_paper import Paragraph
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hpcaccept.judge.statistics.sensitivity import Sensitivity
    from hpcaccept.model.verdict import Question
    from hpcaccept.report.judged import Judged
    from hpcaccept.report.model import CheckRow, Figure, Summary

STYLE = {
    Outcome.PASS: "green",
    Outcome.WARN: "yellow",
    Outcome.FAIL: "bold red",
    Outcome.ERROR: "magenta",
    Outcome.NOT_RUN: "cyan",
    Outcome.NO_BASELINE: "blue",
}
_ENDED = {"ACCEPTED": "bold green", "NOT ACCEPTED": "bold red", "NOT JUDGED": "bold magenta"}
#: Subjects that are shown, and sentences about one of them; the rest is counted. All of them are in report.json.
SHOWN, EACH = 30, 8
#: Verdicts that speak of the hardware; the others say why it was not judged.
_OF_HARDWARE = (Outcome.FAIL, Outcome.WARN)


def first_page(judged: Judged) -> RenderableType:
    """Everything on one page, of any width."""
    summary = judged.summary
    bad, unjudged = _blocks(summary)
    parts: list[RenderableType] = [_conclusion(judged), *_head(judged), *map(_note, summary.notes), Text("")]
    parts += _shown(judged, bad)
    parts += [_checks(summary), Text("")]
    if unjudged:
        parts += [Text("Not judged:", style="bold"), *_shown(judged, unjudged)]
    return Group(*parts, *_footer(judged))


def _conclusion(judged: Judged) -> Paragraph:
    ended = conclusion(judged)
    return Paragraph(safe(f"{ended.word}: {ended.sentence}"), _ENDED[ended.word])


def _head(judged: Judged) -> list[RenderableType]:
    """What was tested where, and how much of it was judged."""
    plan, cover = judged.evidence.plan, judged.judgement.coverage
    request = plan.request
    gpus = f" × {counted(request.gpus_per_node, 'GPU')}" if request.gpus_per_node else ""
    ranks = f", {request.ranks_per_node} ranks each" if request.ranks_per_node not in (1, request.gpus_per_node) else ""
    where = f"partition {request.partition}" if request.partition else ""
    job = f"{plan.launcher} job {judged.summary.bound.job}" if judged.summary.bound.job else plan.launcher
    words = [
        f"suite {plan.suite.name}",
        f"{counted(request.nodes, 'node')}{gpus}{ranks}",
        where,
        job,
        duration_in_words(judged.evidence),
    ]
    judgement = f"Coverage: {cover.judged:,} of {cover.asked:,} checks on nodes judged ({cover.percent} %)."
    return [_dim(f"{plan.run_id}: {', '.join(filter(None, words))}."), _dim(judgement)]


def _dim(line: str) -> RenderableType:
    return Paragraph(safe(line), "dim")


def _note(note: str) -> RenderableType:
    return Paragraph(safe(note), "italic")


@dataclass
class Block:
    """All that is the matter with the same nodes.

    Attributes:
        where: the subject, or the nodes.
        troubles: the worst first.
    """

    where: tuple[str, ...]
    troubles: list[Trouble]


def _blocks(summary: Summary) -> tuple[list[Block], list[Block]]:
    """What is bad, and what was not judged: the troubles of the same subjects together, the worst first."""
    found: tuple[dict[tuple[str, ...], Block], dict[tuple[str, ...], Block]] = ({}, {})
    for trouble in troubles(summary.bad):
        side = found[trouble.outcome not in _OF_HARDWARE]
        side.setdefault(trouble.where, Block(trouble.where, [])).troubles.append(trouble)
    return list(found[0].values()), list(found[1].values())


def _shown(judged: Judged, blocks: list[Block]) -> Iterator[RenderableType]:
    for block in blocks[:SHOWN]:
        yield _heading(judged, block)
        for line in _sentences(block.troubles):
            yield Padding(Paragraph(safe(line)), (0, 0, 0, 2))
        if remedy := block.troubles[0].remedy:
            yield Padding(Paragraph(safe(f"→ {remedy}"), "dim"), (0, 0, 0, 2))
        yield Text("")
    if len(blocks) > SHOWN:
        yield Text(f"… and {len(blocks) - SHOWN:,} more: hpcaccept report --format json")
        yield Text("")


def _heading(judged: Judged, block: Block) -> Paragraph:
    """``FAIL  node2 GPU 0 (serial 1655421001234)``."""
    outcome = block.troubles[0].outcome
    where = fold(block.where) if len(block.where) > 1 else "".join(block.where) or EVERYBODY
    many = f" ({len(block.where):,} nodes)" if len(block.where) > 1 else ""
    serial = fact_of(judged.evidence, block.troubles[0].verdicts[0].subject, "gpu_serial") if not many else ""
    words = safe(f"{outcome.value}  {where}{many}{f' (serial {serial})' if serial else ''}")
    return Paragraph(words, "bold", len(outcome.value), STYLE[outcome])


def _sentences(found: Iterable[Trouble]) -> Iterator[str]:
    """What is the matter, in a sentence each, with the code by which it can be looked up."""
    for trouble in found:
        first, *others = trouble.sentences
        yield f"{first} [{trouble.code}]"
        yield from others[: EACH - 1]
        if len(others) >= EACH:
            yield f"and {len(others) + 1 - EACH:,} more: hpcaccept report --format json"


def _mark(outcome: Outcome) -> Text:
    return Text(outcome.value, style=STYLE[outcome])


def _checks(summary: Summary) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("check", no_wrap=True)
    table.add_column("result", no_wrap=True)
    table.add_column("judged", justify="right", no_wrap=True)
    table.add_column("median (slowest … fastest)", overflow="fold")
    for row in summary.rows:
        figures = Text("\n".join(safe(line) for line in _figures(row)))
        table.add_row(Text(safe(row.name)), _mark(row.outcome), f"{row.judged}/{row.asked}", figures)
    return table


def _figures(row: CheckRow) -> list[str]:
    several = len({MetricKey.parse(figure.key).metric for figure in row.figures}) > 1
    return [_figure(figure, several) for figure in row.figures]


def _figure(figure: Figure, several: bool) -> str:
    """``fp32 97.6 GFLOP/s (87.9 … 110)``: the variant names it where the check has one kind of rate only."""
    name = figure.title if several else MetricKey.parse(figure.key).variant or figure.title
    text = f"{name} {show(figure.median, figure.unit)}"
    return text if figure.units < 2 or figure.low == figure.high else f"{text} ({_span(figure)})"


def _span(figure: Figure) -> str:
    """``87.9 … 110``: the unit stands beside the median, and is repeated only where the prefix differs."""
    middle, low, high = (show(x, figure.unit) for x in (figure.median, figure.low, figure.high))
    unit = middle.partition(" ")[2] if " " in middle else "/s"
    return " … ".join(text.removesuffix(unit).rstrip() for text in (low, high))


def _footer(judged: Judged) -> list[RenderableType]:
    judgement, summary = judged.judgement, judged.summary
    lines = [_sight(question, seen) for question, seen in judgement.sensitivity.items() if seen.kinds]
    lines += _measured_with(judged)
    if summary.no_baseline and judgement.exit_code != 1:
        models = ", ".join(summary.no_baseline)
        lines.append(
            f"No baseline fits {models}; when these nodes are good: hpcaccept baseline learn {judged.evidence.plan.run_id}"
        )
    if judged.where:
        lines.append(f"Page: {judged.where}/report.html")
    lines.append(f"Exit code {judgement.exit_code}. Statistics behind these verdicts: hpcaccept report --explain")
    return [_dim(line) for line in lines]


def _measured_with(judged: Judged) -> list[str]:
    """Image and versions, and what neither the checks nor the suite have set."""
    bound = judged.summary.bound
    image = f"image {bound.image}{f' {bound.digest}' if bound.digest else ''}" if bound.image else ""
    lines = [
        f"{'; '.join(filter(None, (f'hpcaccept {bound.version} {bound.commit}', image, software_line(bound.software))))}."
    ]
    mine = changed(parameters_in_force(judged.evidence))
    if mine:
        more = f" and {len(mine) - EACH} more" if len(mine) > EACH else ""
        named = ", ".join(f"{one.check}.{one.name} = {one.value} ({one.origin})" for one in mine[:EACH])
        lines.append(f"Changed: {named}{more}.")
    return lines


def _sight(question: Question, sensitivity: Sensitivity) -> str:
    """How small a slowdown a comparison finds, for each kind of metric."""
    found = found_nearly_always(sensitivity.kinds)
    return f"Smallest slowdown found against {ASKED.get(question, question)} (19 times of 20): {found}."
