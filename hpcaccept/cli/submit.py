"""``hpcaccept submit``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hpcaccept.cli.options import (
    baselines_dir_option,
    nodes_options,
    placement_options,
    runs_dir_option,
    suite_options,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.store.folder import RunFolder


@click.command()
@nodes_options
@click.option(
    "-s", "--suite", metavar="SUITE", help="A suite's name or .toml file.  [default: quick with GPUs, cpu without]"
)
@click.option("--skip", multiple=True, metavar="CHECK", help="Leave this check of the suite out; may be repeated.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="CHECK.PARAM=VALUE",
    help="Change a parameter of a check; may be repeated. 'hpcaccept config --suite' shows all.",
)
@click.option("--search", is_flag=True, help="Let matmul search its best shapes; the report says how to keep them.")
@click.option(
    "--isolate",
    is_flag=True,
    help="Where a check of all nodes together fails, find out whose fault it is, in the same job.",
)
@click.option(
    "--budget", metavar="TIME", default="20m", show_default=True, help="What the rounds of --isolate may take."
)
@placement_options
@runs_dir_option
@baselines_dir_option
@click.option("--dry-run", is_flag=True, help="Print every file and command; write and start nothing.")
@click.option("--no-wait", is_flag=True, help="Return once the job is submitted.")
@click.option("--cancel-on-interrupt", is_flag=True, help="Ctrl-C ends the job too, instead of leaving it running.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def submit(
    skip: tuple[str, ...],
    changes: tuple[str, ...],
    search: bool,
    isolate: bool,
    budget: str,
    dry_run: bool,
    no_wait: bool,
    cancel_on_interrupt: bool,
    as_json: bool,
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
      hpcaccept submit --nodes 256 --suite fabric --isolate
      hpcaccept submit --nodelist node[01-04] --container-image /shared/hpcaccept.sqsh
      hpcaccept submit --nodes 2 --slurm reservation=maint --slurm qos=high --no-wait
    """
    from hpcaccept.app.run.submit import dry_run as show
    from hpcaccept.app.run.submit import nothing_else, plan_run, start
    from hpcaccept.config.settings import load_settings

    layered = load_settings(options, suite_options=suite_options(skip, changes, search))
    plan, folder = plan_run(layered.settings, layered.overrides, to_show=dry_run)
    prepare: Callable[[RunFolder], None] = nothing_else
    if isolate:
        from hpcaccept.app.isolate.order import isolation_after

        plan, prepare = isolation_after(plan, budget)
    if dry_run:
        click.echo(show(plan, folder))
        return 0
    from hpcaccept.app.doctor.before_queue import must_fit

    must_fit(plan, folder)
    job = start(plan, folder, layered.settings, prepare)
    click.echo(f"{folder.run_id}: {job.launcher} job {job.id}, suite {plan.suite.name}", err=True)
    if no_wait:
        click.echo(f"Come back with: hpcaccept wait {folder.run_id}", err=True)
        return 0
    from hpcaccept.cli.watching import wait_and_conclude
    from hpcaccept.report.formats import DEFAULT

    form = "json" if as_json else DEFAULT
    return wait_and_conclude(folder, job, layered.settings, form, cancel_on_interrupt=cancel_on_interrupt)
