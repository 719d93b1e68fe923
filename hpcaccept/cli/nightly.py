"""``hpcaccept nightly``: run, status, install, uninstall."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hpcaccept.cli.nodes import after_run_options, after_runs
from hpcaccept.cli.options import baselines_dir_option, gpus_per_node, pairs, runs_dir_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.app.campaign.site import Site

    F = TypeVar("F", bound=Callable[..., Any])

#: Options that are settings of the table [nightly].
_NIGHTLY = ("window", "max_nodes", "max_share", "nodes_per_job", "queue_timeout_s", "notify")


def _run_options(command: F) -> F:
    """What a night asks for: the options of ``submit`` that make sense unattended, and its own."""
    options = (
        click.option("-w", "--nodelist", metavar="NAMES", help="Only nodes among these."),
        click.option("-x", "--exclude", metavar="NAMES", help="Not these nodes."),
        click.option("-s", "--suite", metavar="SUITE", help="A suite's name or .toml file.  [default: as submit]"),
        click.option("-p", "--partition", metavar="NAME", help="Slurm partition.  [default: Slurm's]"),
        click.option("-A", "--account", metavar="NAME", help="Slurm account."),
        click.option(
            "-g", "--gpus-per-node", callback=gpus_per_node, metavar="[TYPE:]N", help="GPUs that each node must have."
        ),
        click.option("-t", "--time", metavar="TIME", help="Time limit of a job.  [default: an upper estimate]"),
        click.option("-l", "--launcher", metavar="NAME", help="slurm, or local: this machine alone.  [default: slurm]"),
        click.option("--container-image", metavar="IMAGE", help="Run the ranks in this image (Pyxis)."),
        click.option("--container-mounts", metavar="SRC:DST[,…]", help="Mount these into the container."),
        click.option("--slurm", multiple=True, metavar="KEY[=VALUE]", callback=pairs, help="Any other sbatch option."),
        click.option("--window", metavar="HH:MM-HH:MM", help="Jobs run, and end, only between these times."),
        click.option("--max-nodes", type=int, metavar="N", help="At most so many nodes a night."),
        click.option("--max-share", type=float, metavar="X", help="At most this share of the partition.  [0.25]"),
        click.option("--nodes-per-job", type=int, metavar="N", help="Nodes of one job.  [default: one job for all]"),
        click.option(
            "--queue-timeout",
            "queue_timeout_s",
            type=float,
            metavar="S",
            help="Take back a job that has not begun.  [300]",
        ),
        click.option("--notify", metavar="WHEN", help="changes, always or never.  [changes]"),
        runs_dir_option,
        baselines_dir_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


def _site(options: dict[str, Any]) -> Site:
    from hpcaccept.app.nightly.night import site_of
    from hpcaccept.config.settings import load_settings
    from hpcaccept.report.printable import safe

    of_nightly = {name: options.pop(name) for name in _NIGHTLY if name in options}
    layered = load_settings(options, nightly_options=of_nightly)
    return site_of(layered, lambda line: click.echo(safe(line), err=True))


@click.group()
def nightly() -> None:
    """Test idle nodes every night: those that were tested longest ago, and never in anybody's way.

    'hpcaccept nightly run' is one night. Mail, webhook and the rest are set in the table [nightly] of a settings file
    ('hpcaccept config').
    """


@nightly.command()
@_run_options
@click.option("--dry-run", is_flag=True, help="Say what would be chosen and submitted; write and start nothing.")
@after_run_options
def run(dry_run: bool = False, kind: Any = None, yes: bool = False, **options: Any) -> int:
    """One night: finish what a crash has left, choose idle nodes, test them, tell what changed.

    Jobs are bound to nodes that are idle now and that Slurm has not planned for anybody; they queue behind everybody
    (--nice), and a job that does not begin soon is taken back. A second run at the same time is refused with exit code 3.

    \b
    Examples:
      hpcaccept nightly run --dry-run
      hpcaccept nightly run --partition gpu --max-nodes 16 --window 22:00-05:00
      hpcaccept nightly run --max-share 0.1 --slurm qos=scavenger --notify always
    """
    from hpcaccept.app.nightly.message import text
    from hpcaccept.app.nightly.night import preview, run_night

    site = _site(options)
    if dry_run:
        click.echo(preview(site))
        return 0
    report = run_night(site)
    click.echo(text(report), nl=False)
    failed = [Path(run).name for run in report.runs] if report.exit_code == 1 else []
    return after_runs(kind, failed, report.exit_code, yes, runs_dir=str(site.runs_dir))


@nightly.command()
@runs_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool, **options: Any) -> int:
    """Show the last nights, what runs, who holds the lock, and which nights were missed.

    The exit code is that of the last night, or 3 when a night is missing or was cut short: for whatever watches this machine.
    """
    import json
    from datetime import datetime, timezone

    from hpcaccept.app.campaign.memory import recall
    from hpcaccept.app.nightly.status import as_json as plain
    from hpcaccept.app.nightly.status import lines, status_of
    from hpcaccept.model.nightly.window import Here
    from hpcaccept.store.night_journal import read
    from hpcaccept.store.night_lock import read_holder

    site = _site(options)
    now = datetime.now(timezone.utc)
    # Twice: a night that begins or ends between the two files is neither running nor cut short in one of them.
    before = read_holder(site.folder)
    said, unreadable = read(site.journal)
    held = read_holder(site.folder) if before.free else before
    found = status_of(recall(said), held, site.layered.nightly.at, now, Here(), unreadable)
    click.echo(json.dumps(plain(found), indent=1) if as_json else "\n".join(lines(found, now)))
    return found.exit_code


@nightly.command(context_settings={"ignore_unknown_options": False})
@click.option("--at", default="", metavar="HH:MM", help="When, every day.  [default: at under [nightly], else 02:00]")
@click.option("--cron", "how", flag_value="cron", help="The user's crontab.  [default]")
@click.option("--systemd", "how", flag_value="systemd", help="A timer of systemd's manager of the user.")
@click.option("--yes", is_flag=True, help="Do it. Without this it is only shown.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[-- OPTIONS OF RUN]")
def install(at: str, how: str | None, yes: bool, options: tuple[str, ...]) -> int:
    """Have cron or systemd start 'nightly run' every day. Shows what it would write; --yes writes it.

    It is started from this folder, by this Python, with this PATH's Slurm; it needs no root. Lines of others in the
    crontab stay as they are, byte for byte.

    \b
    Examples:
      hpcaccept nightly install
      hpcaccept nightly install --at 23:30 --yes -- --partition gpu --max-nodes 16
    """
    from hpcaccept.app.nightly import install as installing
    from hpcaccept.app.nightly.schedule import cron_block, units
    from hpcaccept.errors import UsageError
    from hpcaccept.model.nightly.night import Scheduled

    left = installing.left_behind()
    site = _site(_parsed(options))
    clock = at or site.layered.nightly.at or "02:00"
    try:
        schedule = installing.schedule_of(clock, options, site.runs_dir)
    except ValueError as fault:
        raise UsageError(f"--at: {fault}.") from None
    if how == "systemd":
        for name, text in units(schedule).items():
            click.echo(f"# ---- {installing.units_folder() / name}\n{text}")
    else:
        click.echo("# ---- crontab")
        click.echo(cron_block(schedule), nl=False)
    if left:
        click.echo(f"Set here, and not at night: {', '.join(left)}. Put them into a settings file.", err=True)
    if not yes:
        click.echo("Nothing is written: --yes does it.", err=True)
        return 0
    schedule.log.parent.mkdir(parents=True, exist_ok=True)
    if how == "systemd":
        click.echo(installing.install_systemd(schedule), err=True)
    else:
        installing.install_cron(schedule)
    site.write(Scheduled(f"{schedule.clock:%H:%M}"))
    click.echo(f"Every day at {schedule.clock:%H:%M}; what it says: {schedule.log}", err=True)
    return 0


def _parsed(options: tuple[str, ...]) -> dict[str, Any]:
    """The options that ``run`` would be started with; a mistake is found now and not at night."""
    context = run.make_context("run", list(options))
    return {name: value for name, value in context.params.items() if name not in ("dry_run", "kind", "yes")}


@nightly.command()
@runs_dir_option
def uninstall(**options: Any) -> int:
    """Take the line out of the crontab and the timer out of systemd: those of this runs folder, and nothing else."""
    from hpcaccept.app.nightly import install as installing
    from hpcaccept.model.nightly.night import Scheduled

    site = _site(options)
    gone = [
        where
        for where, was_there in (
            ("crontab", installing.uninstall_cron(site.runs_dir)),
            ("systemd", installing.uninstall_systemd(site.runs_dir)),
        )
        if was_there
    ]
    if site.folder.is_dir() and site.memory().clock:
        site.write(Scheduled(""))
    click.echo(f"Removed from {' and '.join(gone)}." if gone else f"Nothing is installed for {site.runs_dir}.")
    return 0
