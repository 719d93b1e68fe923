"""``hpcaccept isolate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hpcaccept.cli.finite import FiniteRange
from hpcaccept.cli.options import (
    baselines_dir_option,
    nodes_options,
    placement_options,
    runs_dir_option,
    suite_options,
)

if TYPE_CHECKING:
    from hpcaccept.model.isolation_order import IsolationOrder

FORMS = ("table", "json", "html", "exclude")


@click.command()
@nodes_options
@click.option(
    "-c", "--check", metavar="CHECK", default="", help="What groups of nodes run: a check of all nodes together."
)
@click.option(
    "--command", metavar="COMMAND", default="", help="A command of yours instead: 'srun -w {nodes} -N {count} ./test'."
)
@click.option(
    "--match",
    metavar="REGEX",
    default="",
    help="A number in the command's output, in its only group; the last match counts.",
)
@click.option("--at-least", type=float, metavar="X", help="The command has failed where that number is smaller.")
@click.option("--at-most", type=float, metavar="X", help="The command has failed where that number is larger.")
@click.option(
    "--lower-is-better",
    is_flag=True,
    help="Without a limit the numbers of the groups are compared; the number is a time.",
)
@click.option(
    "--deadline", metavar="TIME", default="5m", show_default=True, help="What one test of the command may take."
)
@click.option(
    "--metric",
    metavar="KEY",
    default="auto",
    show_default=True,
    help="The rate of the check that is compared; 'none': groups only pass or fail.",
)
@click.option(
    "--run",
    metavar="RUN",
    default="",
    help="Start from what this run has shown ('latest': the last one), on its nodes.",
)
@click.option(
    "--budget", metavar="TIME", default="20m", show_default=True, help="What all rounds may take: 90s, 20m, 2h."
)
@click.option(
    "--until", type=FiniteRange(0.5, 0.9999), default=0.95, show_default=True, help="How sure a blame has to be."
)
@click.option(
    "--at-once",
    type=click.IntRange(0, 65_533),
    default=0,
    metavar="N",
    help="Groups that run at a time.  [default: all of a round]",
)
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the choice between equal groups."
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="CHECK.PARAM=VALUE",
    help="Change a parameter of the check; may be repeated.",
)
@click.option(
    "--topology",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    default="",
    help="Leaves of the nodes: a topology.conf or topology.yaml.  [default: what Slurm says]",
)
@placement_options
@runs_dir_option
@baselines_dir_option
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMS),
    default="table",
    show_default=True,
    help="Output format; exclude: the blamed nodes, for --exclude.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--dry-run", is_flag=True, help="Print every file and command of the job; write and start nothing.")
@click.option("--no-wait", is_flag=True, help="Return once the job is submitted.")
@click.option("--cancel-on-interrupt", is_flag=True, help="Ctrl-C ends the job too, instead of leaving it running.")
def isolate(
    check: str, command: str, match: str, at_least: float | None, at_most: float | None, lower_is_better: bool, deadline: str,
    metric: str, run: str, budget: str, until: float, at_once: int, seed: int, changes: tuple[str, ...], topology: str, form: str, as_json: bool,
    dry_run: bool, no_wait: bool, cancel_on_interrupt: bool, **options: Any,
) -> int:  # fmt: skip
    """Find out whose fault it is: which node, link or leaf makes a test of many nodes fail.

    Groups of nodes run the test side by side, round after round in one job, chosen so that each round tells the most. A
    group that fails, hangs or dies is evidence. A node is blamed where the posterior reaches --until and a test with
    other good partners has confirmed it; the exit code is 1 then, and in no other case.

    A command of yours is started on the first node of the job, once for each group, without a shell. {nodes} is
    replaced by the names of the group (a,b,c), {nodelist} by the same as Slurm writes it, {hostfile} by a file with a name
    per line, {count} by their number, {test} by the name of the test. It has passed with exit status 0, and
    where --match is given, with a number inside of its limits.

    \b
    Examples:
      hpcaccept isolate --nodes 64 --check allreduce
      hpcaccept isolate --run latest --budget 20m --until 0.95
      hpcaccept isolate --nodelist node[01-16] --check pairs
      hpcaccept isolate --nodes 16 --command 'srun -w {nodes} ./bw_test' --match 'bw ([0-9.]+)' --at-least 300
    """
    from hpcaccept.app.isolate.order import command_of, order_of, plan_isolation, rule_of, start_isolation
    from hpcaccept.config.durations import seconds_in
    from hpcaccept.config.settings import load_settings
    from hpcaccept.errors import UsageError
    from hpcaccept.model.isolation_order import IsolationOrder

    if check and command:
        raise UsageError("--check and --command are both given, expected one of them.")
    if match and not command and not run:
        raise UsageError("--match reads the output of --command, which is not given.")
    order = IsolationOrder(
        check=check,
        metric="" if metric == "none" else metric,
        command=command_of(command) if command else (),
        rule=rule_of(match, at_least, at_most, lower_is_better=lower_is_better),
        deadline_s=seconds_in(deadline, "--deadline"),
        budget_s=seconds_in(budget, "--budget"),
        until=until,
        at_once=at_once,
        seed=seed,
    )
    layered = load_settings(options, suite_options=suite_options((), changes, search=False))
    order, settings = order_of(order, run, layered.settings)
    plan, folder, order = plan_isolation(order, settings, layered.overrides, topology=topology, to_show=dry_run)
    if dry_run:
        click.echo(_dry_run(order) + _plan_text(plan, folder))
        return 0
    from hpcaccept.app.doctor.before_queue import must_fit

    must_fit(plan, folder)
    job = start_isolation(plan, folder, order, settings)
    click.echo(f"{folder.run_id}: {job.launcher} job {job.id}, isolation of {order.what}", err=True)
    if no_wait:
        click.echo(f"Come back with: hpcaccept wait {folder.run_id}", err=True)
        return 0
    from hpcaccept.cli.watching import wait_and_conclude

    form = "json" if as_json else form
    return wait_and_conclude(folder, job, settings, form, cancel_on_interrupt=cancel_on_interrupt)


def _plan_text(plan: Any, folder: Any) -> str:
    from hpcaccept.app.run.submit import dry_run as show

    return show(plan, folder)


def _dry_run(order: IsolationOrder) -> str:
    """What each group runs, above the files and commands of the job."""
    import shlex

    runs = (
        shlex.join(order.command) if order.command else f"check {order.check}, as in the step below, on its own nodes"
    )
    return f"# Each group of a round: {runs}\n"
