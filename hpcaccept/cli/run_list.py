"""``hpcaccept runs`` (a list, and ``prune``), ``logs`` and ``facts``."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import click

from hpcaccept.cli.finite import FiniteRange
from hpcaccept.cli.options import paths, run_argument, runs_dir_option
from hpcaccept.errors import UsageError
from hpcaccept.store.folder import all_runs, find

if TYPE_CHECKING:
    from hpcaccept.app.run.facts import Facts

#: Runs that are listed unless all are asked for: they fit a screen.
_SHOWN = 20


@click.group(invoke_without_command=True)
@runs_dir_option
@click.option("--all", "everything", is_flag=True, help=f"List every run, not the last {_SHOWN}.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def runs(context: click.Context, /, everything: bool, as_json: bool, **options: Any) -> int:
    """List the runs, the latest last: when, suite, nodes, duration, verdict or state, and the nodes that failed.

    Other commands take a run by its short name (the first column), by the beginning of its name, or as 'latest'.
    """
    context.obj = options
    return 0 if context.invoked_subcommand else _list(everything, as_json, options)


def _list(everything: bool, as_json: bool, options: dict[str, Any]) -> int:
    from hpcaccept.app.run.listing import lines_of

    folders = all_runs(paths(**options)[0])
    shown = folders if everything or as_json else folders[-_SHOWN:]
    lines = lines_of(shown, _now())
    if as_json:
        import json
        from dataclasses import asdict

        click.echo(json.dumps([asdict(line) for line in lines], indent=1))
    elif not lines:
        click.echo("There is no run yet. Start one with: hpcaccept submit --nodes 4")
    else:
        from rich.console import Console

        from hpcaccept.report.views.runs import run_table

        Console(highlight=False).print(run_table(lines))
        if len(folders) > len(lines):
            click.echo(f"The last {len(lines)} of {len(folders)} runs; 'hpcaccept runs --all' lists every one.")
    return 0


@runs.command()
@click.option("--keep", type=click.IntRange(min=0), metavar="N", help="Keep the N newest runs.")
@click.option("--older-than", "days", type=FiniteRange(min=0), metavar="DAYS", help="Keep younger runs.")
@click.option("--keep-bad", is_flag=True, help="Keep runs that were not accepted.")
@click.option("--yes", is_flag=True, help="Remove them; without it they are only listed.")
@click.pass_obj
def prune(options: dict[str, Any], keep: int | None, days: float | None, keep_bad: bool, yes: bool) -> int:
    """Remove old run folders. A run whose job may still be running is never removed, and the history is kept.

    \b
    Examples:
      hpcaccept runs prune --keep 50                          list what would go
      hpcaccept runs prune --older-than 90 --keep-bad --yes   remove it
    """
    from hpcaccept.app.run.prune import removable, remove

    if keep is None and days is None:
        raise UsageError("'runs prune' needs a rule: which runs may go?", "Add --keep N, --older-than DAYS, or both.")
    found = removable(all_runs(paths(**options)[0]), _now(), keep=keep, older_than_days=days, keep_bad=keep_bad)
    for folder, line in found:
        if yes:
            remove(folder)
        click.echo(f"{'removed' if yes else 'would remove'} {line.run}  {line.verdict or line.state}")
    if not found:
        click.echo("No run fits these rules.")
    elif not yes:
        click.echo(f"Nothing has been removed. Add --yes to remove {_counted(len(found))}.")
    return 0


@click.command()
@run_argument
@click.argument("node", default="", required=False, metavar="[NODE]")
@runs_dir_option
def logs(run: str, node: str, **options: Any) -> int:
    """Show what happened in RUN ('latest' by default), then what its steps printed; with NODE, what concerns that node."""
    from hpcaccept.app.run.logs import log_lines

    folder = find(paths(**options)[0], run)
    for line in log_lines(folder, node):
        click.echo(line)
    return 0


@click.command()
@run_argument
@click.argument("node", default="", required=False, metavar="[NODE]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: check, fact, text, places.")
@runs_dir_option
def facts(run: str, node: str, as_json: bool, **options: Any) -> int:
    """Show what the nodes of RUN ('latest' by default) say of themselves: hardware, firmware, software, methods.

    A fact on which all places agree is one line; others are listed with the nodes that say so.
    """
    from hpcaccept.app.run.conclude import evidence_of
    from hpcaccept.app.run.facts import facts_of

    folder = find(paths(**options)[0], run)
    found = facts_of(evidence_of(folder), node)
    if as_json:
        import json

        click.echo(
            json.dumps([_fact_row(key, text, places) for key, texts in found.items() for text, places in texts.items()])
        )
    else:
        _print_facts(found)
    return 0


def _fact_row(key: tuple[str, str], text: str, places: list[str]) -> dict[str, Any]:
    return {"check": key[0], "fact": key[1], "text": text, "places": places}


def _print_facts(found: Facts) -> None:
    from hpcaccept.report.phrases import fold
    from hpcaccept.report.printable import safe

    last = ""
    for (check, name), texts in found.items():
        if check != last:
            click.echo(f"{check}:")
            last = check
        for text, places in texts.items():
            who = "" if len(texts) == 1 else f"   ({fold(dict.fromkeys(place.partition(' ')[0] for place in places))})"
            click.echo(safe(f"  {name}: {' '.join(text.split())}{who}"))


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _counted(number: int) -> str:
    from hpcaccept.report.phrases import counted

    return counted(number, "run")
