"""``hpcaccept schedule``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hpcaccept.cli.finite import FiniteRange

if TYPE_CHECKING:
    from hpcaccept.app.schedule.add import Request
    from hpcaccept.app.schedule.records import Record, Records
    from hpcaccept.model.schedule.entry import Wish
    from hpcaccept.model.schedule.recipe import Recipe

F = TypeVar("F", bound=Callable[..., Any])

_run = click.argument("run", default="", metavar="[RUN]")
_dry = click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing.")


@click.group()
def schedule() -> None:
    """Run a command later, here, on Slurm or on a rented machine, and know which code ran.

    A run is recorded with its commit, the changes on top of it and a copy of every file, before anything is started or rented. Its stop rules
    are kept by a timer: 'schedule install' has cron or systemd call 'schedule run-once' every minute.

    \b
    Example:
      hpcaccept schedule init --command 'python train.py'
      hpcaccept schedule add --at 05:23
      hpcaccept schedule status
    """


def _say(text: str) -> None:
    from hpcaccept.report.printable import safe

    for line in text.splitlines():
        click.echo(safe(line))


def _complain(text: str) -> None:
    from hpcaccept.report.printable import safe

    for line in text.splitlines():
        click.echo(safe(line), err=True)


def _tree() -> tuple[Path, Records]:
    from hpcaccept.app.schedule.add import top_and_records

    return top_and_records(Path.cwd())


def _one(run: str) -> Record:
    return _tree()[1].one(run)


_STOP = click.option(
    "--stop",
    "stops",
    multiple=True,
    metavar="RULE",
    help="End it when: 'val_loss does not improve for 50 epochs', 'idle GPU for 20 minutes', 'after 8 hours'. May be repeated.",
)


def _recipe_options(command: F) -> F:
    """What stands in run.toml."""
    for option in (
        click.option(
            "--freeze/--no-freeze",
            default=None,
            help="Freeze the packages of this Python, and make the same environment there.",
        ),
        click.option("--disk", "disk_gb", type=FiniteRange(1), metavar="GB", help="Disk of a rented machine."),
        click.option("--image", metavar="REF", help="Image of a rented machine."),
        click.option("--cudnn", metavar="VERSION", help="Least version of torch's cuDNN."),
        click.option("--cuda", metavar="VERSION", help="Least version of CUDA that the driver supports."),
        click.option("--python", metavar="FILE", help="Interpreter, whose folder comes first in PATH."),
        click.option("--exclude", multiple=True, metavar="PATTERN", help="Files that are neither sent nor fetched."),
        click.option(
            "--send", multiple=True, metavar="PATH", help="Folder or file to send.  [default: . (the working tree)]"
        ),
        _STOP,
        click.option("--command", metavar="COMMAND", help="Shell command, run at the top of the copy."),
    ):
        command = option(command)
    return command


@schedule.command()
@_recipe_options
@click.option("-y", "--yes", is_flag=True, help="Ask nothing: take the options, and what is in run.toml.")
@_dry
def init(yes: bool, dry_run: bool, **options: Any) -> int:
    """Write .hpcaccept/run.toml: what is sent and run.

    Shows the start-up script that is made from it.
    Asks what is not given by options; where there is a run.toml, only about what has changed since.
    """
    top, _ = _tree()
    _show_init(top, _init(top, options, yes=yes, dry_run=dry_run))
    return 0


def _init(top: Path, options: dict[str, Any], *, yes: bool, dry_run: bool) -> Recipe:
    from dataclasses import replace
    from functools import reduce

    from hpcaccept.app.schedule import ask
    from hpcaccept.app.schedule.recipe_file import FOLDER, NAME, check, read_recipe, write_recipe
    from hpcaccept.errors import UsageError
    from hpcaccept.model.schedule.recipe import Recipe
    from hpcaccept.parse.stop_rule import with_rule
    from hpcaccept.store.replaced_files import replace_file

    file = top / FOLDER / NAME
    there = file.exists()
    recipe = read_recipe(file) if there else Recipe("")
    freeze, stops = options.pop("freeze", None), options.pop("stops", ())
    given = {key: value for key, value in options.items() if value not in (None, ())}
    rental = {key: given.pop(key) for key in ("image", "disk_gb") if key in given}
    stop = reduce(with_rule, stops, recipe.stop)
    recipe = replace(recipe, **given, rental=replace(recipe.rental, **rental), stop=stop)
    if freeze is not None:
        recipe = replace(recipe, requirements=ask.FROZEN if freeze else "")
    changes = ask.changed(recipe, top) if there else []
    for each in changes:
        _complain(f"changed: {each.key}: {each.why}")
    if not yes and _terminal():
        keys = (
            {each.key for each in changes}
            if there
            else {key for key, _ in ask.QUESTIONS.values()} - {*given, *(f"rental.{key}" for key in rental)}
        )
        recipe = ask.asked(recipe, keys, lambda text, default: str(click.prompt(text, default=default)))
    if not yes and _terminal() and not there and freeze is None:
        python = recipe.python or "python3"
        if click.confirm(f"Freeze what is installed for {python}, and make the same there?", default=False, err=True):
            recipe = replace(recipe, requirements=ask.FROZEN)
    if not recipe.command:
        raise UsageError("init needs a command.", "hpcaccept schedule init --command 'python train.py'")
    check(recipe, str(file))
    if not dry_run:
        write_recipe(file, recipe)
        if recipe.requirements == ask.FROZEN:
            replace_file(top / ask.FROZEN, ask.freeze(recipe.python or "python3"))
    return recipe


def _terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _show_init(top: Path, recipe: Recipe) -> None:
    from datetime import datetime, timezone

    from hpcaccept.app.schedule.add import Request, preview, top_and_records
    from hpcaccept.app.schedule.recipe_file import recipe_text
    from hpcaccept.app.schedule.views import content_lines, link_of

    _say(recipe_text(recipe))
    shown = preview(Request(top, recipe, "here", datetime.now(timezone.utc)))
    _say("# ---- start.sh")
    _say(shown.script)
    for line in content_lines(shown.contents, link_of(recipe.rental, top_and_records(top)[1].all())):
        _complain(line)


def _place_options(command: F) -> F:
    """Where, and at which price."""
    for option in (
        click.option("-y", "--yes", is_flag=True, help="Do not ask whether run.toml is up to date; needed to rent."),
        _dry,
        click.option("--key-file", metavar="FILE", help="Key of the marketplace, mode 0600."),
        click.option(
            "--max-hours",
            type=FiniteRange(0, min_open=True),
            metavar="H",
            help="Stop after so many hours of running.",
        ),
        click.option(
            "--max-usd",
            type=FiniteRange(0, min_open=True),
            metavar="USD",
            help="Stop at this cost; needed to rent.",
        ),
        click.option("--premium", metavar="PERCENT", help="Rent at most so much above the cheapest offer: 10%."),
        click.option(
            "--max-price",
            type=FiniteRange(0, min_open=True),
            metavar="USD",
            help="Most that an hour may cost; needed to rent.",
        ),
        click.option("--filter", "query", metavar="QUERY", help="Which machines, as in hpcaccept vast search."),
        click.option("--slurm", "options", multiple=True, metavar="KEY=VALUE", help="Option of sbatch."),
        _STOP,
        click.option(
            "--on",
            "place",
            type=click.Choice(("here", "slurm", "rented")),
            default="here",
            show_default=True,
            help="Where it runs.",
        ),
    ):
        command = option(command)
    return command


@schedule.command()
@click.option(
    "--at", required=True, metavar="TIME", help="'2026-12-01 05:23', 05:23 (the next), +2h, or with Z or an offset."
)
@_place_options
def add(at: str, **options: Any) -> int:
    """Record a run that begins at a time. Local time, unless an offset or Z stands behind it.

    Runs init first where there is no run.toml, and asks whether it is up to date where there is one.

    \b
    Example:
      hpcaccept schedule add --at '2026-12-01 05:23'
      hpcaccept schedule add --at +2h --on slurm --slurm partition=gpu --slurm time=8:00:00
      hpcaccept schedule add --at 05:23 --on rented --filter 'gpu_name=RTX_4090 num_gpus=1' --max-price 0.5 --premium 10% --max-usd 5 --yes
    """
    return _add(at, options)


@schedule.command()
@_place_options
def create(**options: Any) -> int:
    """Record a run and begin it now."""
    return _add("now", options)


def _add(at: str, options: dict[str, Any]) -> int:
    from datetime import datetime, timezone

    from hpcaccept.app.schedule import add as adding
    from hpcaccept.app.schedule import when
    from hpcaccept.app.schedule.timer import begin
    from hpcaccept.model.nightly.window import Here

    now = datetime.now(timezone.utc)
    instant = when.instant_of(at, now, Here())
    top, there = _tree()
    recipe = _with_options(_confirmed(top, yes=options["yes"] or options["dry_run"]), options)
    request = adding.Request(top, recipe, options["place"], instant)
    if options["dry_run"] or (options["place"] == "rented" and not options["yes"]):
        _show_add(request)
        _complain(
            "Nothing was recorded: that is a dry run."
            if options["dry_run"]
            else "Nothing was recorded: add --yes to have a machine rented at that time."
        )
        return 0
    record = adding.add(request, there, now, _complain)
    _say(f"{record.run}: recorded in {record.folder}")
    begin(there, record, _complain)
    _after_add(request, record)
    return 0


def _after_add(request: Request, record: Record) -> None:
    from hpcaccept.app.schedule.views import commit_line, local
    from hpcaccept.model.nightly.window import Here

    standing = record.standing()
    _say(f"{record.run}: {commit_line(standing)}")
    if standing.state == "scheduled":
        _say(
            f"{record.run}: begins at {local(request.at, Here())} = {request.at:%Y-%m-%d %H:%M:%S} UTC, if a timer looks then:"
        )
        _say(
            "  hpcaccept schedule install --yes    cron or systemd look every minute; or once: hpcaccept schedule run-once"
        )


def _show_add(request: Request) -> None:
    from hpcaccept.app.schedule.add import preview, top_and_records
    from hpcaccept.app.schedule.views import content_lines, link_of, local
    from hpcaccept.model.nightly.window import Here

    shown = preview(request)
    commit = shown.commit
    _say(f"commit {commit.hash} {commit.subject}")
    _say(
        f"changes on top of it: {len(commit.diff):,} bytes of diff; {len(commit.untracked)} untracked files{':' if commit.untracked else ''}"
    )
    for name in commit.untracked[:20]:
        _say(f"  {name}")
    for name in commit.submodules:
        _say(f"submodule {name.strip()}")
    _say(f"begins at {local(request.at, Here())} = {request.at:%Y-%m-%d %H:%M:%S} UTC on {request.place}")
    for line in content_lines(shown.contents, link_of(request.recipe.rental, top_and_records(request.top)[1].all())):
        _say(line)
    from hpcaccept.app.schedule.places import place_of

    for line in place_of(request.place).preview(request.recipe, request.at):
        _say(line)
    _say("# ---- start.sh")
    _say(shown.script)


def _confirmed(top: Path, *, yes: bool) -> Recipe:
    """The recipe, once somebody has said that it is up to date."""
    from hpcaccept.app.schedule import ask
    from hpcaccept.app.schedule.recipe_file import FOLDER, NAME, read_recipe, recipe_text

    file = top / FOLDER / NAME
    if not file.exists():
        return _init(top, {}, yes=yes, dry_run=False)
    recipe = read_recipe(file)
    changes = ask.changed(recipe, top)
    for each in changes:
        _complain(f"changed: {each.key}: {each.why}")
    if not yes and _terminal():
        _complain(recipe_text(recipe))
        if changes or not click.confirm(f"Is {file} up to date?", default=True, err=True):
            return _init(top, {}, yes=False, dry_run=False)
    return recipe


def _with_options(recipe: Recipe, options: dict[str, Any]) -> Recipe:
    """The recipe of this one run."""
    from dataclasses import replace
    from functools import reduce

    from hpcaccept.app.schedule.recipe_file import check
    from hpcaccept.cli.options import pairs
    from hpcaccept.parse.stop_rule import with_rule

    rental = {
        "filter": options["query"],
        "max_price": options["max_price"],
        "premium": _share(options["premium"]),
        "key_file": options["key_file"],
    }
    stop = {"max_usd": options["max_usd"], "max_hours": options["max_hours"]}
    slurm = pairs(click.get_current_context(), click.Option(["--slurm"]), options["options"])
    changed = replace(
        recipe,
        slurm={**recipe.slurm, **slurm},
        rental=replace(recipe.rental, **{key: value for key, value in rental.items() if value is not None}),
        stop=reduce(
            with_rule, options["stops"], replace(recipe.stop, **{k: v for k, v in stop.items() if v is not None})
        ),
    )
    check(changed, "the options")
    return changed


def _share(text: str | None) -> float | None:
    from hpcaccept.errors import UsageError

    if text is None:
        return None
    try:
        return float(text.strip().removesuffix("%")) / 100
    except ValueError:
        raise UsageError(f"--premium: found {text!r}, expected percent.", "--premium 10%") from None


@schedule.command()
@click.argument("runs", nargs=-1, metavar="[RUN…]")
@click.option(
    "--diff", "diff", metavar="RUN", help="Show what ran: the changes on top of the commit, and untracked files."
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(runs: tuple[str, ...], diff: str | None, as_json: bool) -> int:
    """Show runs, grouped by commit.

    State, time, place, cost, why, and the last line of the log. Exit code 0 whatever they came to: a failed command is no FAIL of a node.
    """
    from hpcaccept.app.schedule.views import as_plain, status_lines
    from hpcaccept.model.nightly.window import Here

    there = _tree()[1]
    if diff is not None:
        _show_diff(there.one(diff))
        return 0
    found = [there.one(each) for each in runs] or there.all()
    if as_json:
        click.echo(json.dumps([as_plain(each) for each in found], indent=1, ensure_ascii=False))
        return 0
    for line in status_lines(found, Here()):
        _say(line)
    if not found:
        _say("No run is recorded here: hpcaccept schedule add --at +1h")
    return 0


def _show_diff(record: Record) -> None:
    from hpcaccept.app.schedule import records
    from hpcaccept.app.schedule.views import commit_line

    standing = record.standing()
    _say(f"# {record.run}: {commit_line(standing)}")
    for name, about in ((records.UNTRACKED, "untracked, and sent"), (records.DIFF, "")):
        file = record.file(name)
        text = file.read_text("utf-8", "replace") if file.exists() else ""
        for line in text.splitlines():
            _say(f"# {about}: {line}" if about else line)
    for line in standing.added.submodules:
        _say(f"# submodule: {line.strip()}")
    _say(
        f"# git checkout {standing.added.commit}"
        + (f" && git apply {record.file(records.DIFF)}" if standing.added.dirty else "")
    )


@schedule.command()
@_run
@click.option("--tail", type=click.IntRange(1), default=50, show_default=True, metavar="N", help="Last lines.")
def logs(run: str, tail: int) -> int:
    """Show the end of a run's log.

    All of its attempts write into one.
    """
    from hpcaccept.app.schedule import records
    from hpcaccept.bounded import end_of

    record = _one(run)
    for line in end_of(record.file(records.LOG), 4 * 1024 * 1024).splitlines()[-tail:]:
        _say(line)
    return 0


def _wish(run: str, wish: Wish, *, dry_run: bool) -> int:
    from hpcaccept.app.schedule.timer import carry_out
    from hpcaccept.errors import UsageError

    there = _tree()[1]
    record = there.one(run)
    standing = record.standing()
    if standing.final:
        raise UsageError(f"{record.run} is {standing.state} already: {standing.why}.")
    if wish == "pause" and standing.state == "paused":
        raise UsageError(f"{record.run} is paused already.", f"hpcaccept schedule resume {record.run}")
    if wish == "resume" and standing.state != "paused" and standing.wish != "pause":
        raise UsageError(f"{record.run} is {standing.state}, not paused.")
    if dry_run:
        _say(f"{record.run} is {standing.state}; {wish} would be written down and carried out.")
        return 0
    carry_out(there, record, wish, _complain)
    after = record.standing()
    _say(f"{record.run}: {after.state}{f': {after.why}' if after.why else ''}")
    return 0


@schedule.command()
@_run
@_dry
def pause(run: str, dry_run: bool) -> int:
    """End the command of a run until it is resumed.

    It gets SIGTERM and the time to write a checkpoint. Its results are kept, and a rented machine is given back.
    """
    return _wish(run, "pause", dry_run=dry_run)


@schedule.command()
@_run
@_dry
def resume(run: str, dry_run: bool) -> int:
    """Go on with a paused run from its checkpoint.

    The command is started again in the same folder, with the same log.
    """
    return _wish(run, "resume", dry_run=dry_run)


@schedule.command()
@_run
@_dry
def stop(run: str, dry_run: bool) -> int:
    """End a run for good; its results are kept first.

    What it has rented is destroyed.
    """
    return _wish(run, "stop", dry_run=dry_run)


@schedule.command()
@click.argument("run")
@click.option("-y", "--yes", is_flag=True, help="Remove it. Without it, what would be removed is shown.")
def rm(run: str, yes: bool) -> int:
    """Remove the record and results of a run."""
    from hpcaccept.app.schedule.timer import remove

    there = _tree()[1]
    record = there.one(run)
    if not yes:
        _say(f"would remove {record.folder}")
        return 0
    remove(there, record)
    _say(f"removed {record.folder}")
    return 0


@schedule.command("next")
def next_() -> int:
    """Say what will happen when."""
    from datetime import datetime, timezone

    from hpcaccept.app.schedule.views import next_lines
    from hpcaccept.model.nightly.window import Here

    for line in next_lines(_tree()[1].all(), Here(), datetime.now(timezone.utc)) or ["Nothing is scheduled."]:
        _say(line)
    return 0


@schedule.command("run-once")
@_dry
def run_once(dry_run: bool) -> int:
    """Start what is due, and look after what runs.

    Keeps the stop rules, and gives back what is not needed any more; then ends. Cron or a timer of systemd call it every minute. It may be killed at any moment: the next one goes on.
    """
    from hpcaccept.app.schedule import timer

    there = _tree()[1]
    if dry_run:
        return int(next_.callback() or 0) if next_.callback else 0
    try:
        return 3 if timer.run_once(there, _say) else 0
    except timer.Busy as busy:
        _complain(busy.message)
        return 0


@schedule.command()
@click.option("--cron", "how", flag_value="cron", help="The user's crontab.  [default]")
@click.option("--systemd", "how", flag_value="systemd", help="A timer of systemd's manager of the user.")
@click.option("-y", "--yes", is_flag=True, help="Write it. Without it, what would be written is shown.")
def install(how: str | None, yes: bool) -> int:
    """Have cron or systemd call 'run-once' every minute.

    For this working tree. Shows what it would write; --yes writes it.
    It needs no root. Lines of others in the crontab stay as they are, byte for byte.
    """
    import os

    from hpcaccept.app.schedule import install as installing

    top, there = _tree()
    if how == "systemd":
        from hpcaccept.app.nightly.install import units_folder

        for name, text in installing.units(top, os.environ).items():
            click.echo(f"# ---- {units_folder() / name}\n{text}")
    else:
        click.echo("# ---- crontab")
        click.echo(installing.cron_block(top, os.environ), nl=False)
    for name in installing.left_behind(os.environ):
        _complain(
            f"{name} is set here, and the timer will not have it: put the key into a file of mode 0600, and add --key-file."
        )
    if not yes:
        _complain("Nothing is written: --yes does it.")
        return 0
    there.folder.mkdir(parents=True, exist_ok=True)
    if how == "systemd":
        _complain(installing.install_systemd(top, os.environ))
    else:
        installing.install_cron(top, os.environ)
    _complain(f"Every minute; what it says: {installing.log_of(top)}")
    return 0


@schedule.command()
def uninstall() -> int:
    """Remove the timer of this working tree.

    The line of the crontab, the units of systemd, and nothing else.
    """
    from hpcaccept.app.schedule import install as installing

    top, _ = _tree()
    gone = [
        where
        for where, was_there in (
            ("crontab", installing.uninstall_cron(top)),
            ("systemd", installing.uninstall_systemd(top)),
        )
        if was_there
    ]
    _say(f"Removed from {' and '.join(gone)}." if gone else f"Nothing is installed for {top}.")
    return 0
