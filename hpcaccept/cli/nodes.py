"""``hpcaccept nodes``: quarantine, drain, resume, reboot, list, undo."""

from __future__ import annotations

import contextlib
import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hpcaccept.cli.finite import FiniteRange
from hpcaccept.cli.options import paths, runs_dir_option
from hpcaccept.errors import RunError, UsageError
from hpcaccept.report.printable import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hpcaccept.app.nodes.act import Hand
    from hpcaccept.app.nodes.plan import Plan
    from hpcaccept.model.node_mark import Acted, Kind

    F = TypeVar("F", bound=Callable[..., Any])

_DRY = "Nothing was changed. Type it again with --yes."


def _shared(command: F) -> F:
    options = (
        click.option("--yes", is_flag=True, help="Do it. Without: say what would be done."),
        click.option("--state-dir", metavar="DIR", help="Where audit.jsonl is.  [default: nodes, among the runs]"),
        runs_dir_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


def _marking(command: F) -> F:
    options = (
        click.argument("names", required=False, default="", metavar="[NODES]"),
        click.option("--run", "run", metavar="RUN", help="The nodes that are FAIL in this run; 'latest' is one."),
        click.option(
            "--max-share", type=FiniteRange(0, 1, min_open=True), default=0.1, metavar="X", show_default=True,
            help="Stop where more than this share of a partition would carry marks; one node always may.",
        ),
        click.option("--beyond-limit", is_flag=True, help="Go beyond that share."),
        click.option("--users", default="", metavar="NAMES", help="Who may test quarantined nodes.  [default: root and you]"),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return _shared(command)


@click.group()
def nodes() -> None:
    """Take nodes out of service and give them back, without touching what anybody else did to them.

    Every command says what it would do, and does it with --yes. A quarantine is a reservation of our own in which only the nodes can be
    tested; a drain has a reason of our own. Both name the run and the code. A node comes back through a gate: the checks that it failed,
    passed several times since.
    """


@nodes.command()
@_marking
def quarantine(**options: Any) -> int:
    """Put nodes under a MAINT reservation of our own: running jobs go on, new ones start elsewhere, and the nodes can be tested.

    A node that carries a drain of ours moves from the drain into the quarantine, so that it can be tested.
    """
    return _mark("quarantine", **options)


@nodes.command()
@_marking
def drain(**options: Any) -> int:
    """Drain nodes, with a reason that names the run and the code. Prefer a quarantine: that nobody can come in between of."""
    return _mark("drain", **options)


@nodes.command()
@click.argument("names", metavar="NODES")
@click.option(
    "--times", type=click.IntRange(1, 100), default=2, show_default=True, help="Runs that it must have passed."
)
@click.option(
    "--since",
    default="",
    metavar="TIME",
    help="Of the repair, ISO 8601; only runs after it count.  [default: of the mark]",
)
@_shared
def resume(names: str, times: int, since: str, yes: bool, **options: Any) -> int:
    """Give nodes back that have passed the gate: the checks they failed, passed in --times runs since. Exit code 3: not yet."""
    from hpcaccept.app.nodes.plan import plan_returns

    hand, runs_dir = _hand(**options)
    _time_of(since)
    found = plan_returns(hand.slurm, hand.audit, set(_names(names)), runs_dir, times, since)
    for one in found:
        click.echo(
            f"{one.seen.node}: {one.seen.kind} {one.seen.id}: {safe(one.gate.why) or 'passed ' + ', '.join(one.gate.runs)}"
        )
        if not one.gate.passed:
            click.echo(f"  → {_how_to_test(one.seen, one.mark.checks)}")
    ready = [one for one in found if one.gate.passed]
    held = len(found) > len(ready)
    if not ready:
        return 3
    if not yes:
        click.echo(_DRY)
        return 3 if held else 0
    with hand.audit.lock("giving nodes back"):
        # A drain comes off under a quarantine, so it comes first.
        done = [hand.release(one.seen, "resume", one.gate.runs) for one in sorted(ready, key=lambda one: one.seen.kind)]
    return max(_told(done), 3 if held else 0)


@nodes.command()
@click.argument("names", metavar="NODES")
@_shared
def reboot(names: str, yes: bool, **options: Any) -> int:
    """Have Slurm reboot nodes that are under a quarantine of ours, when their jobs have ended. They stay under it afterwards."""
    from hpcaccept.app.nodes.allowed import our_marks

    hand, _ = _hand(**options)
    wanted = set(_names(names))
    ours = our_marks(hand.slurm.nodes(), hand.slurm.reservations())
    marks = {one.node: one for one in ours if one.node in wanted and one.kind == "quarantine"}
    if lacking := sorted(wanted - marks.keys()):
        raise UsageError(
            f"{', '.join(lacking)}: not under a quarantine of hpcaccept, so jobs could start there after the boot.",
            f"First: hpcaccept nodes quarantine {','.join(lacking)}",
        )
    for name in sorted(marks):
        click.echo(f"{name}: scontrol reboot ASAP nextstate=DOWN")
    if not yes:
        click.echo(_DRY)
        return 0
    with hand.audit.lock("rebooting nodes"):
        return _told(hand.reboot(marks[name]) for name in sorted(marks))


@nodes.command()
@click.argument("names", metavar="NODES")
@click.option(
    "--users",
    default="",
    metavar="NAMES",
    help="Who may test nodes that go back into quarantine.  [default: root and you]",
)
@_shared
def undo(names: str, users: str, yes: bool, **options: Any) -> int:
    """Take back the last thing that was done to nodes: a mark comes off without the gate, one that was taken off comes back."""
    from hpcaccept.app.nodes.plan import undone

    hand, _ = _hand(**options)
    wanted = set(_names(names))
    if not yes:
        for at, entry in hand.audit.entries():
            if getattr(entry, "result", "") == "done" and getattr(entry, "node", "") in wanted:
                click.echo(f"{at}  {entry.node}: {entry.verb} {entry.mark}")  # type: ignore[union-attr]
        click.echo(f"The last of each node would be taken back. {_DRY}")
        return 0
    with hand.audit.lock("taking back"):
        return _told(undone(hand, wanted, _users(users)))


@nodes.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--state-dir", metavar="DIR", help="Where audit.jsonl is.  [default: nodes, among the runs]")
@runs_dir_option
def list_marks(as_json: bool, **options: Any) -> int:
    """List the marks of ours that are in Slurm now, and since when."""
    import json

    from hpcaccept.app.nodes.allowed import our_marks
    from hpcaccept.app.nodes.plan import known_mark
    from hpcaccept.serial import to_plain

    hand, _ = _hand(**options)
    found = our_marks(hand.slurm.nodes(), hand.slurm.reservations())
    marks = [(seen, known_mark(seen, hand.audit)) for seen in sorted(found, key=lambda one: one.node)]
    if as_json:
        click.echo(json.dumps([{**to_plain(mark), "reservation": seen.name} for seen, mark in marks], indent=1))
    elif not marks:
        click.echo("No node carries a mark of hpcaccept.")
    for seen, mark in () if as_json else marks:
        run = f" run {safe(mark.run)}" if mark.run else ""
        since = f" since {mark.at} by {safe(mark.by)}" if mark.at else ", made with another audit log"
        click.echo(f"{safe(seen.node)}  {seen.kind:<10}  {safe(mark.code)}{run}{since}")
    return 0


def _mark(
    kind: Kind, names: str, run: str | None, max_share: float, beyond_limit: bool, users: str, yes: bool, **options: Any
) -> int:
    from hpcaccept.app.nodes.plan import MANUAL

    if bool(names) == bool(run):
        raise UsageError(
            "Found neither nodes nor a run, or both; expected one of them.", f"hpcaccept nodes {kind} --run latest"
        )
    hand, runs_dir = _hand(**options)
    wanted, run_id = failing(runs_dir, run) if run else (dict.fromkeys(_names(names), (MANUAL, ())), "")
    if not wanted:
        click.echo(f"No node is FAIL in {run_id}.")
        return 0
    return mark_nodes(hand, kind, wanted, run_id, max_share, beyond_limit, _users(users), yes)


def mark_nodes(
    hand: Hand,
    kind: Kind,
    wanted: Mapping[str, tuple[str, tuple[str, ...]]],
    run: str,
    max_share: float,
    beyond_limit: bool,
    users: tuple[str, ...],
    yes: bool,
) -> int:
    """Say what would be done, and do it where somebody said so."""
    from hpcaccept.app.nodes.allowed import our_marks
    from hpcaccept.app.nodes.plan import plan_marks, to_quarantine

    drained = {}
    if kind == "quarantine":
        ours = our_marks(hand.slurm.nodes(), hand.slurm.reservations())
        drained = {one.node: one for one in ours if one.kind == "drain" and one.node in wanted}
    plan = plan_marks(hand.slurm, {n: w for n, w in wanted.items() if n not in drained}, kind, run, hand.by, max_share)
    for name in drained:
        click.echo(f"{safe(name)}: from our drain into a quarantine")
    _show(plan)
    if plan.beyond and not beyond_limit:
        for why in plan.beyond.values():
            click.echo(f"Stopped: {why}.", err=True)
        click.echo("  → Look whether so many nodes can be broken at once; then --beyond-limit.", err=True)
        return 3
    if not plan.marks and not drained:
        return 3
    if not yes:
        click.echo(_DRY)
        return 0
    with hand.audit.lock(f"{kind} of nodes"):
        done = [acted for seen in drained.values() for acted in to_quarantine(hand, seen, users)]
        return _told([*done, *(hand.mark(mark, users) for mark in plan.marks)])


def _show(plan: Plan) -> None:
    from hpcaccept.parse.slurm.marks import reason_of, reservation_of

    for mark in plan.marks:
        what = reason_of(mark) if mark.kind == "drain" else f"reservation {reservation_of(mark)}"
        click.echo(f"{safe(mark.node)}: {mark.kind}: {what}")
    for name, why in sorted(plan.refused.items()):
        click.echo(f"{safe(name)}: left alone: {safe(why)}")


def _told(acted: Iterable[Acted]) -> int:
    """Print what came of each; 3 where one was not done."""
    code = 0
    for one in acted:
        click.echo(f"{safe(one.node)}: {one.verb}: {one.result}{f': {safe(one.why)}' if one.why else ''}")
        code = code if one.result == "done" else 3
    return code


def _how_to_test(seen: Any, checks: tuple[str, ...]) -> str:
    if seen.kind == "drain":
        return f"Move it into a quarantine, where it can be tested: hpcaccept nodes quarantine {seen.node} --yes"
    with_checks = f" (its suite must hold {', '.join(checks)})" if checks else ""
    return f"Test it again: hpcaccept submit --nodelist {seen.node} --slurm reservation={seen.name}{with_checks}"


def after_run_options(command: F) -> F:
    """``--quarantine``, ``--drain`` and ``--yes`` of commands that judge a run."""
    options = (
        click.option(
            "--quarantine",
            "kind",
            flag_value="quarantine",
            help="Afterwards quarantine the nodes that are FAIL; with --yes.",
        ),
        click.option("--drain", "kind", flag_value="drain", help="Afterwards drain them instead; with --yes."),
        click.option(
            "--yes", is_flag=True, help="Do it. Without: say what would be done. 'hpcaccept nodes' has the rest."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def after_run(kind: Kind | None, run: str, code: int, yes: bool, **options: Any) -> int:
    """Mark the nodes that failed in a run that was judged just now; gives the exit code of the run, whatever came of that.

    The circuit breaker is the usual one, and nothing but ``hpcaccept nodes`` goes beyond it.
    """
    if kind is None:
        return code
    from hpcaccept.errors import HpcacceptError

    try:
        hand, runs_dir = _hand(**options)
        wanted, run_id = failing(runs_dir, run)
        if wanted:
            # Standard output is the report's.
            with contextlib.redirect_stdout(sys.stderr):
                mark_nodes(hand, kind, wanted, run_id, 0.1, False, _users(""), yes)
        else:
            click.echo(f"No node is FAIL in {run_id}: none is marked.", err=True)
    except HpcacceptError as fault:
        click.echo(
            f"Error: {safe(fault.message)}\n  → The run is judged; marks: hpcaccept nodes {kind} --run {run}", err=True
        )
        return code or 3
    return code


def after_runs(kind: Kind | None, runs: Iterable[str], code: int, yes: bool, **options: Any) -> int:
    """The same after several runs; gives the exit code of all of them."""
    for run in runs:
        code = after_run(kind, run, code, yes, **options)
    return code


def failing(runs_dir: Path, run: str) -> tuple[dict[str, tuple[str, tuple[str, ...]]], str]:
    """Nodes that are FAIL in a run, and its name."""
    from hpcaccept.app.nodes.gate import failed_nodes
    from hpcaccept.store.folder import find

    folder = find(runs_dir, "" if run == "latest" else run)
    try:
        return failed_nodes(folder), folder.run_id
    except (OSError, ValueError) as fault:
        raise RunError(
            f"{folder.report_file} cannot be read: {getattr(fault, 'strerror', None) or fault}.",
            f"Judge the run first: hpcaccept report {folder.run_id}",
        ) from None


def _hand(state_dir: str | None = None, **options: Any) -> tuple[Hand, Path]:
    from hpcaccept.app.nodes.act import Hand
    from hpcaccept.app.nodes.audit import Audit
    from hpcaccept.app.nodes.controller import Scontrol

    runs_dir = paths(**options)[0]
    return Hand(Scontrol(), Audit(Path(state_dir) if state_dir else runs_dir / "nodes"), getpass.getuser()), runs_dir


def _names(text: str) -> list[str]:
    from hpcaccept.plan.node_names import nodes_named
    from hpcaccept.report.phrases import is_host

    found = [str(name) for name in nodes_named(text, "NODES")]
    if not found or not all(is_host(name) for name in found):
        raise UsageError(f"{safe(text)!r} names no node.", "Write it like node[01-04],node7.")
    return found


def _users(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else tuple(dict.fromkeys(("root", getpass.getuser())))


def _time_of(text: str) -> None:
    from datetime import datetime

    try:
        if text:
            datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--since: found {text!r}, expected a time.", "For example 2026-11-30T14:00+00:00.") from None
