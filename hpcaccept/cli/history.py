"""``hpcaccept history``."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from hpcaccept.cli.options import baselines_dir_option, history_option, history_path, paths, runs_dir_option
from hpcaccept.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

_DAYS = {"d": 1, "w": 7, "m": 30, "y": 365}


@click.group()
def history() -> None:
    """What past runs measured: of each GPU by its UUID, through renames and swaps of nodes."""


@history.command()
@click.argument("subject", default="", required=False, metavar="[SUBJECT]")
@runs_dir_option
@history_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(subject: str, as_json: bool, **options: Any) -> int:
    """Show which runs are remembered, or all that is remembered of a SUBJECT.

    A SUBJECT is a GPU UUID (or its beginning), a serial number, a node, or NODE/DEVICE.
    """
    from hpcaccept.app import history as app
    from hpcaccept.store.history_file import read_runs

    folder = history_path(**options)
    if not subject:
        return _show_runs(read_runs(folder), as_json)
    subjects = app.find_subjects(folder, subject)
    told = [story for story in app.stories(folder) if story.subject in subjects]
    rows, _ = app.trends(folder, subjects)
    if as_json:
        return _json({"subjects": told, "trends": rows})
    from hpcaccept.report.views.history import subject_table, trend_table

    _print(subject_table(told), trend_table(rows))
    return 0


@history.command()
@click.argument("what", default="", required=False, metavar="[SUBJECT|METRIC]")
@runs_dir_option
@history_option
@click.option(
    "--last", default=60, show_default=True, type=click.IntRange(6, 4000), help="Runs of each subject to look at."
)
@click.option("--all", "everything", is_flag=True, help="Those that are steady too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def trend(what: str, last: int, everything: bool, as_json: bool, **options: Any) -> int:
    """Say what became slower, suddenly (step) or little by little (decline), since when and by how much.

    Of all subjects and rates, of one SUBJECT, or of one METRIC (matmul.rate_flops[fp32], or its beginning).
    """
    from hpcaccept.app import history as app

    folder = history_path(**options)
    metric = what if app.is_metric(folder, what) else ""
    subjects = app.find_subjects(folder, what) if what and not metric else ()
    told, counts = app.trends(folder, subjects, metric, last, steady=everything)
    if as_json:
        return _json(told)
    from hpcaccept.report.views.history import trend_table

    if told:
        _print(trend_table(told))
    words = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()) if count)
    click.echo(f"{sum(counts.values())} numbers with a past: {words or 'none'}.")
    return 0


@history.command()
@runs_dir_option
@history_option
@click.option("--moved", is_flag=True, help="Only subjects that were in more than one place.")
@click.option("--failed", is_flag=True, help="Only subjects that failed, the most frequent offenders first.")
@click.option("--limit", default=40, show_default=True, type=click.IntRange(1), help="Lines to print.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, without a limit.")
def subjects(moved: bool, failed: bool, limit: int, as_json: bool, **options: Any) -> int:
    """List the subjects: repeat offenders first, where each has been, and when it was accepted last."""
    from hpcaccept.app.history import stories

    told = [
        story
        for story in stories(history_path(**options))
        if (not moved or len(story.places) > 1) and (not failed or story.failed)
    ]
    if as_json:
        return _json(told)
    from hpcaccept.report.views.history import subject_table

    if told:
        _print(subject_table(told[:limit]))
    more = f", {len(told) - limit} more with --limit or --json" if len(told) > limit else ""
    click.echo(f"{len(told)} subjects{more}.")
    return 0


@history.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@runs_dir_option
@baselines_dir_option
@history_option
def add(runs: tuple[str, ...], **options: Any) -> int:
    """Judge old runs and remember them. Runs that are remembered already are replaced."""
    from hpcaccept.app.run.remember import add_runs

    runs_dir, baselines_dir = paths(**options)
    for line in add_runs(runs_dir, runs, baselines_dir, history_path(**options)):
        click.echo(line)
    return 0


@history.command()
@click.argument("subject", metavar="SUBJECT")
@click.option("--yes", is_flag=True, help="Do it; without, only say what would be accepted.")
@runs_dir_option
@history_option
def accept(subject: str, yes: bool, **options: Any) -> int:
    """Accept what a SUBJECT reaches now: what it has reached since it fails (or since it was repaired) is normal for it.

    Nothing else makes what failed normal, however many nights pass. What came before is compared with no more. A SUBJECT is a GPU UUID (or its beginning), a serial number, a node
    (with all that is in it), or NODE/DEVICE.
    """
    from hpcaccept.app import history as app

    folder = history_path(**options)
    found = app.acceptances(folder, app.find_subjects(folder, subject))
    for one in found:
        click.echo(
            f"{one.subject}: what it has reached since {one.since[:10]} is normal, what was before is compared with no more."
        )
    if yes:
        app.accept(folder, found)
        click.echo(f"{len(found)} accepted.")
    else:
        click.echo(f"{len(found)} would be accepted. To do it: add --yes")
    return 0


@history.command()
@click.option("--older-than", required=True, metavar="AGE", help="For example 400d, 60w, 18m (of 30 days) or 2y.")
@click.option("--yes", is_flag=True, help="Do it; without, only say what would be forgotten.")
@runs_dir_option
@history_option
def prune(older_than: str, yes: bool, **options: Any) -> int:
    """Forget old runs in the history. Run folders are not touched."""
    from hpcaccept.app import history as app
    from hpcaccept.store.history_file import prune as forget

    folder = history_path(**options)
    before, old = app.older_than(folder, _age(older_than))
    for kept in old:
        click.echo(f"{kept.run.run_id:<48} {kept.run.at}")
    if not old:
        click.echo(f"Nothing is remembered from before {before}.")
    elif yes:
        forget(folder, before)
        click.echo(f"{len(old)} runs from before {before} are forgotten.")
    else:
        click.echo(f"{len(old)} runs from before {before} would be forgotten. To do it: add --yes")
    return 0


def _age(text: str) -> timedelta:
    number, kind = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit() and kind in _DAYS and int(number) * _DAYS[kind] < 100_000):
        raise UsageError(f"--older-than: found {text!r}, expected a number of d, w, m or y.", "For example 400d.")
    return timedelta(days=int(number) * _DAYS[kind])


def _show_runs(runs: Sequence[Any], as_json: bool) -> int:
    if as_json:
        return _json(runs)
    for kept in runs:
        click.echo(f"{kept.run.run_id:<48} {kept.run.at}  {kept.run.suite:<10} environment {kept.run.environment}")
    click.echo(f"{len(runs)} runs are remembered." if runs else "No run is remembered yet.")
    return 0


def _json(things: Any) -> int:
    import json

    from hpcaccept.serial import to_plain

    click.echo(json.dumps(to_plain(things), ensure_ascii=False, indent=1))
    return 0


def _print(*tables: RenderableType) -> None:
    from rich.console import Console

    Console(highlight=False).print(*tables)
