"""``hpcaccept campaign``: start, run-once, status, pause, resume, stop, report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hpcaccept.cli.finite import FiniteRange
from hpcaccept.cli.nodes import after_run_options, after_runs
from hpcaccept.cli.options import baselines_dir_option, gpus_per_node, pairs, runs_dir_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.app.campaign.report import CampaignReport
    from hpcaccept.app.campaign.site import Site
    from hpcaccept.app.campaign.standing import Standing

    F = TypeVar("F", bound=Callable[..., Any])

_name = click.argument("name", default="", metavar="[NAME]")
#: Options that rounds go by, as the nightly run has them.
_TERMS = ("window", "max_nodes", "max_share", "nodes_per_job", "queue_timeout_s", "nice")


def _caps(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, int]:
    """``PARTITION=N`` as a table."""
    from hpcaccept.errors import UsageError

    found = {}
    for text in values:
        name, _, number = text.partition("=")
        if not name or not number.isdecimal() or not 0 < int(number[:7]) < 10**6:
            raise UsageError(
                f"--cap: found {text!r}, expected a partition and a number of nodes.", "For example --cap gpu=16."
            )
        found[name] = int(number)
    return found


def _start_options(command: F) -> F:
    options = (
        click.option("--name", default="", metavar="NAME", help="Its name.  [default: the time]"),
        click.option("-p", "--partition", metavar="NAME[,…]", help="Partitions whose nodes are meant.  [default: Slurm's]"),
        click.option("-w", "--nodelist", metavar="NAMES", help="Only nodes among these."),
        click.option("-x", "--exclude", metavar="NAMES", help="Not these nodes."),
        click.option("-s", "--suite", metavar="SUITE", help="A suite's name or .toml file.  [default: as submit]"),
        click.option("--cap", "caps", multiple=True, metavar="PARTITION=N", callback=_caps, help="At most N nodes of a partition at once."),
        click.option("--max-share", type=FiniteRange(0, 1, min_open=True), metavar="X", help="For the others: at most this share of a partition at once.  [0.25]"),
        click.option("--max-nodes", type=click.IntRange(1), metavar="N", help="At most N nodes at once in all."),
        click.option("--max-jobs", type=click.IntRange(1), default=None, metavar="N", help="At most N jobs at once."),
        click.option("--nodes-per-job", type=click.IntRange(1), metavar="N", help="Nodes of one job.  [default: one job for all idle ones]"),
        click.option("--for", "for_", default="168h", metavar="TIME", help="End after this time, though nodes are missing.  [168h]"),
        click.option("--window", metavar="HH:MM-HH:MM", help="Jobs run, and end, only between these times."),
        click.option("--queue-timeout", "queue_timeout_s", type=FiniteRange(1), metavar="S", help="Take back a job that has not begun.  [300]"),
        click.option("--nice", type=click.IntRange(0), metavar="N", help="Slurm's --nice of the jobs.  [10000]"),
        click.option("-A", "--account", metavar="NAME", help="Slurm account."),
        click.option("-g", "--gpus-per-node", callback=gpus_per_node, metavar="[TYPE:]N", help="GPUs that each node must have."),
        click.option("-t", "--time", metavar="TIME", help="Time limit of a job.  [default: an upper estimate]"),
        click.option("-l", "--launcher", metavar="NAME", help="A launcher with a scheduler.  [default: slurm]"),
        click.option("--container-image", metavar="IMAGE", help="Run the ranks in this image (Pyxis)."),
        click.option("--container-mounts", metavar="SRC:DST[,…]", help="Mount these into the container."),
        click.option("--slurm", multiple=True, metavar="KEY[=VALUE]", callback=pairs, help="Any other sbatch option."),
        runs_dir_option,
        baselines_dir_option,
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def campaign() -> None:
    """Test the whole fleet, idle nodes only, in nobody's way, and never twice.

    'campaign start' works through all nodes of a partition between users' jobs, those first that were accepted longest ago. When a user's job
    waits for nodes that are being tested, the test is ended. It may be killed at any moment: 'campaign resume' goes on.

    \b
    Example:
      hpcaccept campaign start --partition gpu --cap gpu=16 --nodes-per-job 8
      hpcaccept campaign status
      hpcaccept campaign report
    """


@campaign.command()
@_start_options
@click.option(
    "--no-wait", is_flag=True, help="Only write it down; 'campaign run-once' or 'campaign resume' does the rest."
)
@click.option("--dry-run", is_flag=True, help="Show which nodes and which jobs; write and start nothing.")
def start(
    no_wait: bool, dry_run: bool, name: str, caps: dict[str, int], max_jobs: int | None, for_: str, **options: Any
) -> int:
    """Begin a campaign, and stay with it until it is over.

    \b
    Examples:
      hpcaccept campaign start --partition gpu --dry-run
      hpcaccept campaign start --partition gpu --max-share 0.1 --slurm qos=scavenger
      hpcaccept campaign start --partition gpu,big --cap gpu=16 --cap big=2 --window 20:00-07:00 --for 120h
    """
    from hpcaccept.app.campaign.campaign import Order, begin, preview
    from hpcaccept.config.durations import seconds_in

    terms = {key: options.pop(key) for key in _TERMS}
    order = Order(_layered(options, terms), name, caps, max_jobs or 0, seconds_in(for_, "--for"))
    if dry_run:
        click.echo(preview(order))
        return 0
    site = begin(order, _say)
    _say(f"Campaign {site.folder.name}: {site.folder}")
    return 0 if no_wait else _go_on(site)


def _layered(options: dict[str, Any], terms: dict[str, Any]) -> Any:
    """Settings as ``submit`` has them; what rounds go by is asked for each time, and the night's own table does not count."""
    from dataclasses import replace

    from hpcaccept.config.nightly import NightlySettings, check
    from hpcaccept.config.settings import load_settings

    given = {key: value for key, value in terms.items() if value is not None}
    found = NightlySettings(**given)
    check(found, dict.fromkeys(vars(found), "command line"))
    return replace(load_settings(options), nightly=found)


def _say(line: str) -> None:
    from hpcaccept.report.printable import safe

    click.echo(safe(line), err=True)


def _site(options: dict[str, Any], name: str) -> Site:
    from hpcaccept.app.campaign.campaign import site_of
    from hpcaccept.config.settings import load_settings

    return site_of(Path(load_settings(options).settings.runs_dir).absolute(), name, _say)


def _go_on(site: Site, for_s: float | None = None) -> int:
    """Stay with it, then report where that is over."""
    from hpcaccept.app.campaign.campaign import take_on

    try:
        standing = take_on(site, for_s)
    except KeyboardInterrupt:
        _say(
            f"Submitted jobs go on, and do not make room for users until: hpcaccept campaign resume {site.folder.name}"
        )
        raise
    return _told(site, standing) if standing.closed else 0


def _go_on_unless_held(site: Site, otherwise: str) -> int:
    """Stay with it, unless another process does: then say so."""
    from hpcaccept.store.night_lock import LockHeld

    try:
        return _go_on(site)
    except LockHeld as fault:
        _say(f"{site.folder.name}: {otherwise}. {fault.message}")
        return 0


def _told(site: Site, standing: Standing) -> int:
    from hpcaccept.app.campaign.campaign import last_look
    from hpcaccept.app.campaign.report import report_of, text

    report = report_of(standing, last_look(site))
    click.echo(text(report), nl=False)
    return report.exit_code


@campaign.command("run-once")
@_name
@click.option(
    "--for", "for_", default="", metavar="TIME", help="Go on for this time, not only once: until cron comes again."
)
@runs_dir_option
def run_once(name: str, for_: str, **options: Any) -> int:
    """Do everything that can be done now, and end: for cron and timers.

    Judges what has ended, makes room for users, submits what there is room for. Where another process works on the campaign, nothing is done.

    \b
    Examples:
      hpcaccept campaign run-once
      hpcaccept campaign run-once --for 50s
    """
    from hpcaccept.config.durations import seconds_in
    from hpcaccept.store.night_lock import LockHeld

    site = _site(options, name)
    try:
        return _go_on(site, seconds_in(for_, "--for") if for_ else 0.0)
    except LockHeld as fault:
        _say(fault.message)
        return 0


@campaign.command()
@_name
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@runs_dir_option
def status(name: str, as_json: bool, **options: Any) -> int:
    """Show where a campaign stands, and whether a process works on it.

    The exit code is that of its report when it is over; before, 0, or 3 where no process works on it: for monitoring.
    """
    from hpcaccept.app.campaign.campaign import last_look, standing_in
    from hpcaccept.app.campaign.views import as_json as plain
    from hpcaccept.app.campaign.views import lines, status_of
    from hpcaccept.store.night_lock import read_holder

    site = _site(options, name)
    found = status_of(standing_in(site), read_holder(site.folder), last_look(site), site.clock())
    click.echo(plain(found) if as_json else "\n".join(lines(found)))
    return found.exit_code


@campaign.command()
@_name
@runs_dir_option
def pause(name: str, **options: Any) -> int:
    """Submit nothing more; what runs is seen through. 'campaign resume' goes on."""
    from hpcaccept.app.campaign.campaign import ask

    site = _site(options, name)
    ask(site, "pause")
    _say(f"{site.folder.name}: nothing more is submitted.")
    return 0


@campaign.command()
@_name
@click.option("--no-wait", is_flag=True, help="Only take the pause back; 'campaign run-once' does the rest.")
@runs_dir_option
def resume(name: str, no_wait: bool, **options: Any) -> int:
    """Go on with a campaign that was paused, or whose process was killed, and stay with it until it is over."""
    from hpcaccept.app.campaign.campaign import ask, standing_in

    site = _site(options, name)
    if standing_in(site).state == "paused" or standing_in(site).closed:
        ask(site, "resume")
    if no_wait:
        return 0
    return _go_on_unless_held(site, "a process works on it already")


@campaign.command()
@_name
@runs_dir_option
def stop(name: str, **options: Any) -> int:
    """End a campaign: its jobs are ended, what they have measured is judged, and the report names what is missing."""
    from hpcaccept.app.campaign.campaign import ask, standing_in

    site = _site(options, name)
    if standing_in(site).state != "stopping":
        ask(site, "stop")
    return _go_on_unless_held(site, "the process that works on it ends it now")


@campaign.command()
@_name
@click.option("--format", "form", type=click.Choice(["text", "json", "nodes", "prometheus", "junit"]), default="text", help="Output format; nodes: a line for each, separated by tabs; prometheus: for node_exporter's textfile collector.")  # fmt: skip
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write instead of printing.")
@after_run_options
@runs_dir_option
def report(name: str, form: str, output: Path | None, kind: Any, yes: bool, **options: Any) -> int:
    """One report over all runs of a campaign: each node, who was never idle, and the false-alarm rate of all of it.

    Exit code 0: every node was accepted; 1: one has failed; 3: anything else, nodes that were not tested included.
    """
    from hpcaccept.app.campaign.campaign import last_look, standing_in
    from hpcaccept.app.campaign.exports import as_junit, as_openmetrics
    from hpcaccept.app.campaign.report import as_json, node_table, report_of, text
    from hpcaccept.errors import UsageError
    from hpcaccept.store.replaced_files import replace_file

    site = _site(options, name)
    found = report_of(standing_in(site), last_look(site))
    forms: dict[str, Callable[[CampaignReport], str]] = {
        "text": text,
        "json": as_json,
        "nodes": node_table,
        "prometheus": lambda report: as_openmetrics(report, site.clock()),
        "junit": as_junit,
    }
    written = forms[form](found)
    try:
        if output:
            replace_file(output, written)
        else:
            click.echo(written, nl=False)
    except OSError as fault:
        raise UsageError(f"Cannot write {output}: {fault.strerror}.", "Choose another place with --output.") from None
    failed = [run["run"] for run in found.runs if "FAIL" in run["nodes"].values()]
    return after_runs(kind, failed, found.exit_code, yes, runs_dir=str(site.runs_dir))
