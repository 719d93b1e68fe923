"""``hpcaccept submit``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hpcaccept.cli.completion import complete_run
from hpcaccept.cli.nodes import after_run, after_run_options
from hpcaccept.cli.options import (
    asked_nodes,
    baselines_dir_option,
    history_path,
    paths,
    placement_options,
    run_options,
    runs_dir_option,
    suite_options,
)
from hpcaccept.config.durations import seconds_in
from hpcaccept.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.model.node_mark import Kind
    from hpcaccept.store.folder import RunFolder

#: Exit code where the wait was interrupted: the run goes on, and is not judged.
_INTERRUPTED = 130


@click.command()
@run_options
@click.option(
    "--isolate",
    is_flag=True,
    help="Where a check of all nodes together fails, find out whose fault it is, in the same job.",
)
@click.option(
    "--isolate-budget", metavar="TIME", default="20m", show_default=True, help="What the rounds of --isolate may take."
)
@click.option(
    "--rerun",
    metavar="RUN",
    shell_complete=complete_run,
    help="Measure again what failed or was not judged in RUN ('latest', or a part of its name), as it was asked for then.",
)
@placement_options
@runs_dir_option
@baselines_dir_option
@click.option("--dry-run", is_flag=True, help="Print every file and command; write and start nothing.")
@click.option("--no-wait", is_flag=True, help="Return once the job is submitted.")
@click.option("--cancel-on-interrupt", is_flag=True, help="Ctrl-C ends the job too, instead of leaving it running.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@after_run_options
def submit(
    only: tuple[str, ...],
    skip: tuple[str, ...],
    changes: tuple[str, ...],
    search: bool,
    rerun: str | None,
    isolate: bool,
    isolate_budget: str,
    budget: str | None,
    all_nodes: bool,
    dry_run: bool,
    no_wait: bool,
    cancel_on_interrupt: bool,
    as_json: bool,
    kind: Kind | None,
    yes: bool,
    **options: Any,
) -> int:
    """Test nodes: plan, run, judge and report.

    With a Slurm that answers, one job runs on the nodes that Slurm chooses (or --nodelist names). Where there is no Slurm,
    the nodes are virtual: groups of MPI ranks on this machine. A Slurm that does not answer is an error, and nothing is
    tested in its place. GPUs that were not asked for (-g), and that neither Slurm nor this machine's driver knows of, are
    not tested, and the conclusion says so.

    Ctrl-C while waiting leaves the job running and says how to come back.

    \b
    Examples:
      hpcaccept submit --nodes 4
      hpcaccept submit --nodes 16 --partition gpu --gpus-per-node 8 --suite full
      hpcaccept submit --nodes 4 --suite standard --skip storage --set burn.duration_s=600
      hpcaccept submit --nodes 4 --suite full --only matmul --only memory_bandwidth
      hpcaccept submit --rerun latest
      hpcaccept submit --nodes 256 --suite fabric --isolate
      hpcaccept submit --nodes all --partition gpu --suite standard --budget 30m
      hpcaccept submit --nodelist node[01-04] --container-image /shared/hpcaccept.sqsh
      hpcaccept submit --nodes 2 --slurm reservation=maint --slurm qos=high --no-wait
    """
    from hpcaccept.app.budget.order import Asked, plan_within
    from hpcaccept.app.run.submit import dry_run as show
    from hpcaccept.app.run.submit import start
    from hpcaccept.config.settings import load_settings

    if kind and no_wait:
        raise UsageError(
            f"--{kind} marks nodes after the run, and --no-wait does not wait for it.",
            f"Later: hpcaccept report --{kind}",
        )
    tables = suite_options(skip, changes, search)
    if rerun is not None:
        options, tables, only = _again(rerun, options, tables, only)
    nodes = asked_nodes(options, all_nodes=all_nodes)
    isolate_s = seconds_in(isolate_budget, "--isolate-budget")
    ordered = plan_within(
        load_settings(options, suite_options=tables),
        Asked(only, nodes, budget or "", isolate_s if isolate else 0.0),
        to_show=dry_run,
    )
    plan, folder, settings = ordered.plan, ordered.folder, ordered.settings
    prepare: Callable[[RunFolder], None] = ordered.keep
    if isolate:
        from hpcaccept.app.isolate.order import isolation_after

        plan, prepare = isolation_after(plan, isolate_s, ordered.keep)
    if ordered.said:
        click.echo(ordered.said, err=True)
    if dry_run:
        click.echo(show(plan, folder))
        return 0
    from hpcaccept.app.doctor.before_queue import must_fit

    must_fit(plan, folder)
    job = start(plan, folder, settings, prepare)
    click.echo(f"{folder.run_id}: {job.launcher} job {job.id}, suite {plan.suite.name}", err=True)
    if no_wait:
        click.echo(f"Come back with: hpcaccept wait {folder.run_id}", err=True)
        return 0
    from hpcaccept.cli.watching import wait_and_conclude
    from hpcaccept.report.formats import DEFAULT

    form = "json" if as_json else DEFAULT
    code = wait_and_conclude(folder, job, settings, form, cancel_on_interrupt=cancel_on_interrupt)
    runs_dir = str(folder.path.parent)
    return code if code == _INTERRUPTED else after_run(kind, str(folder.path), code, yes, runs_dir=runs_dir)


_Tables = dict[str, dict[str, Any]]


def _again(
    run: str, options: dict[str, Any], tables: _Tables, only: tuple[str, ...]
) -> tuple[dict[str, Any], _Tables, tuple[str, ...]]:
    """The options of a run that is repeated in part, under those that are typed now."""
    from hpcaccept.app.run.conclude import evidence_of, judge_run
    from hpcaccept.app.run.rerun import rerun_of
    from hpcaccept.report.phrases import fold
    from hpcaccept.report.printable import safe
    from hpcaccept.store.folder import find

    runs_dir, baselines_dir = paths(runs_dir=options["runs_dir"], baselines_dir=options["baselines_dir"])
    folder = find(runs_dir, run)
    again = rerun_of(judge_run(evidence_of(folder), baselines_dir, history_path(**options)))
    wanted = only or again.only
    beside = f", beside {fold(again.partners)}" if again.partners else ""
    click.echo(safe(f"{folder.run_id}: measuring {fold(again.nodes)} again{beside}: {', '.join(wanted)}"), err=True)
    given = {name: value for name, value in options.items() if value is not None and value != {}}
    changes = {name: {**again.changes.get(name, {}), **tables.get(name, {})} for name in {*again.changes, *tables}}
    return {**again.options, **given}, changes, wanted
