"""``hpcaccept status``, ``wait``, ``cancel``, ``collect`` and ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcaccept.cli.completion import complete_run
from hpcaccept.cli.nodes import after_run, after_run_options
from hpcaccept.cli.options import (
    baselines_dir_option,
    format_option,
    history_option,
    history_path,
    paths,
    run_argument,
    runs_dir_option,
)
from hpcaccept.errors import RunError
from hpcaccept.report import formats
from hpcaccept.store.folder import RunFolder, find

if TYPE_CHECKING:
    from hpcaccept.model.job import JobRef
    from hpcaccept.model.node_mark import Kind
    from hpcaccept.report.judged import Judged


def _job(folder: RunFolder) -> JobRef:
    """The job of a run; of one that an sbatch script has started, the job that its driver says it is in."""
    from hpcaccept.app.run.wait import events_of
    from hpcaccept.model.job import JobRef

    job = folder.read_job()
    number = next((event.job for event in events_of(folder) if event.kind == "started" and event.job), "")
    if job is None and not number:
        raise RunError(
            f"{folder.run_id} was started by an sbatch script, and its job number is not known.",
            f"hpcaccept report {folder.path}",
        )
    return job or JobRef(folder.read_plan().launcher, number)


@click.command()
@run_argument
@runs_dir_option
def status(run: str, **options: Any) -> int:
    """Say where a run stands: queued, running (at which check), or over and how."""
    from hpcaccept import launch
    from hpcaccept.app.run.wait import events_of, progress_of

    folder = find(paths(**options)[0], run)
    events = events_of(folder)
    last = next((e for e in events if e.kind == "ended"), None)
    if last:
        click.echo(f"{folder.run_id}: ended{f', {last.detail}' if last.detail else ''}")
        return 0
    job = _job(folder)
    state = launch.load(job.launcher).status(job)
    progress = progress_of(folder, events, state)
    at = f", {progress.check} ({progress.done + 1}/{progress.total})" if progress.check and not state.over else ""
    click.echo(f"{folder.run_id}: {state.state}{at} ({state.detail})")
    if state.remedy:
        click.echo(f"  → {state.remedy}")
    return 3 if state.over or state.state == "stuck" else 0


@click.command()
@run_argument
@runs_dir_option
@baselines_dir_option
@format_option
def wait(run: str, form: str, **options: Any) -> int:
    """Wait for a run, then judge and report it, as if submit had never been left."""
    from hpcaccept.cli.watching import wait_and_conclude
    from hpcaccept.config.settings import load_settings

    settings = load_settings(options).settings
    folder = find(paths(**options)[0], run)
    return wait_and_conclude(folder, _job(folder), settings, form)


@click.command(no_args_is_help=True)
@click.argument("run", metavar="RUN", shell_complete=complete_run)
@runs_dir_option
def cancel(run: str, **options: Any) -> int:
    """End the job of RUN ('latest', or a part of its name); what it has measured is kept."""
    from hpcaccept import launch

    folder = find(paths(**options)[0], run)
    job = _job(folder)
    launch.load(job.launcher).cancel(job)
    click.echo(f"{folder.run_id}: job {job.id} is cancelled. What it has measured: hpcaccept report {folder.run_id}")
    return 0


@click.command()
@run_argument
@runs_dir_option
def collect(run: str, **options: Any) -> int:
    """Gather the records of a run into run.h5. May be repeated at any time, while it runs too."""
    from hpcaccept.app.run.conclude import collect as gather

    folder = find(paths(**options)[0], run)
    evidence = gather(folder)
    unreadable = f", {len(evidence.unreadable)} torn lines" if evidence.unreadable else ""
    click.echo(f"{folder.run_file}: {len(evidence.records)} records, {len(evidence.samples)} samples{unreadable}")
    return 0


class _Report(click.Command):
    """``report``, with a line of help for every format there is."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, then the formats."""
        super().format_options(ctx, formatter)
        with formatter.section("Formats"):
            formatter.write_dl([(name, formats.about(name)) for name in formats.built_in()])


@click.command(cls=_Report)
@run_argument
@runs_dir_option
@baselines_dir_option
@history_option
@format_option
@click.option("--explain", is_flag=True, help="The rule and the limit behind each verdict too: --format explained.")
@click.option(
    "--node", metavar="NODE", help="Everything about one node: findings, values beside baseline and peers, parts."
)
@click.option("--open", "open_page", is_flag=True, help="Open the page in a browser too.")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it to FILE instead, whole or not at all."
)
@after_run_options
@click.option(
    "--strict-exit",
    is_flag=True,
    help="Tell the reasons of exit code 3 apart: 3 ERROR or WARN, 4 NOT_RUN, 5 NO_BASELINE.",
)
def report(
    run: str,
    form: str,
    explain: bool,
    node: str | None,
    open_page: bool,
    output: Path | None,
    strict_exit: bool,
    kind: Kind | None,
    yes: bool,
    **options: Any,
) -> int:
    """Judge a run on whatever records exist, and show the report. The exit code is the run's."""
    from hpcaccept.app.run.conclude import evidence_of, judge_run, print_report, save_report, write_report
    from hpcaccept.store.isolation_journal import read_order

    runs_dir, baselines_dir = paths(**options)
    folder = find(runs_dir, run)
    order = read_order(folder)
    if order is not None and not order.after_suite:
        from hpcaccept.app.isolate.answer import conclude_isolation

        return conclude_isolation(folder, order, form, output)
    judged = judge_run(evidence_of(folder), baselines_dir, history_path(**options))
    form = "explained" if explain else form
    if node:
        _print_node(judged, node)
    elif output:
        save_report(folder, judged, form, output)
    else:
        print_report(folder, judged, form)
    write_report(folder, judged)
    if open_page:
        click.launch(folder.page_file.as_uri())
    code = judged.judgement.strict_exit_code if strict_exit else judged.judgement.exit_code
    return after_run(kind, str(folder.path), code, yes, runs_dir=str(runs_dir))


def _print_node(judged: Judged, node: str) -> None:
    from hpcaccept.report.views.node import node_page
    from hpcaccept.report.views.on_paper import show

    show(node_page(judged, node))
