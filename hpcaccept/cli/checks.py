"""``hpcaccept checks``."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import click

from hpcaccept import checks as registry
from hpcaccept.config.suites import built_in, read_suite
from hpcaccept.model.metric import describe
from hpcaccept.model.parameter import parameters
from hpcaccept.plan.resolve import resolve_suite

if TYPE_CHECKING:
    from hpcaccept.model.check import Check, Shorter
    from hpcaccept.model.metric import Metric
    from hpcaccept.model.parameter import Parameter


@click.group(invoke_without_command=True)
@click.pass_context
def checks(context: click.Context) -> None:
    """List the checks and suites, or explain a check: hpcaccept checks explain matmul."""
    if context.invoked_subcommand is None:
        context.invoke(listing)


@checks.command("list")
def listing() -> None:
    """Every check and every built-in suite, a line each; then what installed packages add, and what of it cannot be used."""
    click.echo("Checks:")
    for name in registry.names():
        if kind := registry.find(name):
            _entry(name, kind.about)
    click.echo("\nSuites:")
    for name in built_in():
        suite = resolve_suite(read_suite(name))
        _entry(name, f"{suite.about}\n{', '.join(spec.name for spec in suite.checks)}")
    _added()


def _added() -> None:
    """What installed packages add, each with the package that it comes from."""
    from hpcaccept import container, launch
    from hpcaccept.report import formats

    kinds = (registry.KIND, formats.KIND, container.KIND, launch.KIND)
    faults = [fault for kind in kinds for fault in kind.faults()]
    usable = [(p.name, f"{kind.noun} of {p.origin}") for kind in kinds for p in kind.plugins() if kind.usable(p)]
    if usable:
        click.echo("\nFrom installed packages:")
    for name, text in usable:
        _entry(name, text)
    if faults:
        click.echo("\nNot usable:")
    for fault in faults:
        click.echo(f"  ERROR {fault}")


def _width() -> int:
    """Columns to write in."""
    import shutil

    return min(120, max(60, shutil.get_terminal_size().columns - 1))


#: How an item begins, by its indentation: list items and metrics; parameters and facts; what is said of a metric.
_ITEMS = {
    0: r"\d+\. |[*-] ",
    2: r"\w+ \[.*?\],|\w+ = ",
    4: r"[\w, ]+: ",
    6: r"(formula|source|limit): |judged ",
}


def reflowed(text: str, width: int) -> str:
    """A manual page as wide as the terminal: paragraphs are filled, items keep their place and their indentation."""
    import re
    import textwrap

    blocks: list[list[str]] = []
    for line in text.splitlines():
        item = re.match(_ITEMS.get(_indent(line), r"$^"), line.lstrip())
        if not line.strip() or not blocks or not blocks[-1][-1].strip() or item:
            blocks.append([line])
        else:
            blocks[-1].append(line)
    out = []
    for first, *more in blocks:
        wrap = textwrap.TextWrapper(
            width, break_long_words=False, break_on_hyphens=False
        )  # addresses and options stay whole
        hang = _indent(more[0]) if more else _indent(first) + 4 * bool(_indent(first))
        words = " ".join(line.strip() for line in (first, *more))
        wrap.initial_indent, wrap.subsequent_indent = " " * _indent(first), " " * hang
        out += wrap.wrap(words) or [""]
    return "\n".join(out)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _entry(name: str, text: str) -> None:
    """A name, and beside it a text as wide as the terminal."""
    import textwrap

    lines = [part for line in text.split("\n") for part in textwrap.wrap(line, _width() - 21)]
    for number, line in enumerate(lines):
        click.echo(f"  {name if number == 0 else '':<18} {line}")


@checks.command()
@click.argument("name")
def explain(name: str) -> None:
    """What a check measures and how, its metrics with formula and limits, its parameters."""
    click.echo(reflowed(explanation(name, registry.load(name)), _width()))


def explanation(name: str, kind: type[Check]) -> str:
    """The manual page of a check."""
    lines = [
        f"{name} (revision {kind.revision}, {kind.scope}): {kind.about}",
        *_of_package(name),
        "",
        inspect.getdoc(kind) or "",
        "",
        "Metrics:",
    ]
    for metric in kind.metrics:
        lines.append(
            f"  {metric.name} [{metric.unit}], {metric.direction} is better: {metric.help}".replace(
                "exact is better", "exact"
            )
        )
        if metric.formula:
            lines.append(f"      formula: {metric.formula}")
        if metric.source:
            lines.append(f"      source:  {metric.source}")
        if metric.limit:
            lines.append(f"      limit:   {describe(metric.limit)} ({metric.limit.source})")
        elif metric.peer_floor is not None:
            lines.append(f"      judged against peers (losses above {metric.peer_floor:.1%}) and baseline")
    if parameters(kind):
        lines += ["", f"Parameters (in [checks.{name}] of a suite):"]
        lines += [_declared(parameter) for parameter in parameters(kind).values()]
    if kind.shorter:
        lines += ["", "Shorter forms, for a run that must fit a budget:"]
        lines += [_shorter(form) for form in kind.shorter]
    return "\n".join(lines)


def _shorter(form: Shorter) -> str:
    """``  rounds = 4: 27 % of its time; not seen: …``."""
    params = ", ".join(f"{name} = {value}" for name, value in form.params.items())
    with_gpus = " (with GPUs)" if form.gpus_only else ""
    return f"  {params}{with_gpus}: {form.share:.0%} of its time; not seen: {form.unseen}"


def _of_package(name: str) -> list[str]:
    """Whom to ask about a check that is not one of hpcaccept's."""
    origin = registry.origin(name)
    return ["", f"From the installed package {origin}."] if origin else []


def _declared(parameter: Parameter) -> str:
    """``  blocks = 5, from 1 to 10000``, with its one sentence where it has one."""
    every = "each " if parameter.is_list and str(parameter.bounds) else ""
    parts = [f"{parameter.name} = {parameter.default!r}", f"{every}{parameter.bounds}", parameter.bounds.help]
    return "  " + ", ".join(filter(None, parts))


@checks.command()
def reference() -> None:
    """Every metric of every check as Markdown: the text of docs/reference/metrics.md."""
    click.echo(metrics_page(), nl=False)


@checks.command()
@click.argument("code", default="")
def codes(code: str) -> None:
    """What a finding of a report means and what to do about it; without CODE every one, as the text of docs/reference/codes.md."""
    from hpcaccept.errors import UsageError, nearest
    from hpcaccept.model.finding_code import FindingCode

    if not code:
        click.echo(codes_page(), nl=False)
        return
    found = next((one for one in FindingCode if str(one) == code), None)
    if found is None:
        raise UsageError(f"There is no code {code!r}.", nearest(code, map(str, FindingCode)))
    about = found.about
    parts = (
        (code, about.meaning),
        ("evidence", about.evidence),
        ("to do", about.action),
        ("known false alarms", about.false_alarms),
    )
    click.echo(reflowed("\n\n".join(f"{name}: {text}" for name, text in parts), _width()))


def codes_page() -> str:
    """The page, from the table of codes."""
    from hpcaccept.model.finding_code import FindingCode

    lines = [
        "# Codes",
        "",
        "Written by `hpcaccept checks codes`; a test holds it against the code. Each finding of a report has one of these",
        "codes: in brackets at the terminal and in Markdown, as `code` in `report.json`. They stay what they are when sentences",
        "change. `NODE` stands for the node, `RUN` for the run. `hpcaccept checks codes peers-slow` shows one entry.",
    ]
    for code in FindingCode:
        about = code.about
        lines += ["", f"## {code}", "", about.meaning, ""]
        lines += [
            f"- **Evidence**: {about.evidence}",
            f"- **To do**: {about.action}",
            f"- **Known false alarms**: {about.false_alarms}",
            f"- **Made by the test** `tests/{about.test}`",
        ]
    return "\n".join(lines) + "\n"


def metrics_page() -> str:
    """The page, from what the checks declare."""
    lines = [
        "# Metrics",
        "",
        "Written by `hpcaccept checks reference`; a test holds it against the code. Units are SI without prefix; a *share* is 0 … 1.",
        "",
        "How the repeats of a unit become one number: *best* launch by the median of its blocks (capability), *median* of all, or",
        "*worst* (counts of faults). Every",
        "repeat is kept in `run.h5`. Rates are judged against the peers of the run (a loss counts above the metric's *peer floor*",
        "and above the robust cut; on CPUs the floor is 25 %, on virtual nodes that share a kernel 50 %) and against the baseline.",
        "A metric with a limit is judged by it; one with neither is reported only.",
    ]
    for name in registry.built_in():
        kind = registry.load(name)
        lines += ["", f"## {name}", "", f"{kind.about} Revision {kind.revision}, scope {kind.scope}.", ""]
        lines += [
            "| metric | title | unit | better | of repeats | meaning | formula | judged by | source |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        lines += [_row(metric) for metric in kind.metrics]
    return "\n".join(lines) + "\n"


def _row(metric: Metric) -> str:
    if metric.limit:
        judged = f"limit: {describe(metric.limit)} ({metric.limit.source})"
    elif metric.is_rate and metric.peer_floor is not None:
        judged = f"peers (floor {metric.peer_floor:.1%}), baseline"
    elif metric.is_rate and metric.scope == "world":
        judged = "baseline"
    else:
        judged = "reported"
    cells = (
        f"`{metric.name}`",
        metric.named("…"),
        metric.unit,
        metric.direction,
        metric.statistic,
        metric.help,
        metric.formula,
        judged,
        metric.source,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
