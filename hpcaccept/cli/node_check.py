"""``hpcaccept node-check``: the gate, ``--deep``, ``expect`` and ``install``."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcaccept.cli.finite import FiniteRange
from hpcaccept.config.node_check import FILE, read_expected
from hpcaccept.errors import UsageError
from hpcaccept.model.node_check import EXIT_CODES, PHASES, Expected

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hpcaccept.model.node_check import Gate, Phase

#: What Slurm is given where nothing could be judged.
_ON_UNKNOWN = {"unknown": 3, "fit": 0, "unfit": 1}
_DEADLINE_S = 8.0


@click.group(invoke_without_command=True)
@click.option("--config", "file", metavar="FILE", help=f"What this node has to have.  [default: {FILE}]")
@click.option("--phase", type=click.Choice(PHASES), default="health", help="What it is asked for.  [default: health]")
@click.option("--job", metavar="ID", help="The job before or after which it is asked.  [default: $SLURM_JOB_ID]")
@click.option("--state-dir", metavar="DIR", help="Where the node remembers.  [default: /var/lib/hpcaccept/node-check]")
@click.option(
    "--deadline", "deadline_s", type=FiniteRange(1, 60), default=_DEADLINE_S, metavar="S",
    help="Give a verdict after so many seconds whatever hangs.  [default: 8]",
)  # fmt: skip
@click.option(
    "--on-unknown", type=click.Choice(tuple(_ON_UNKNOWN)), default="unknown",
    help="Exit code where it could not be judged: 3, that of fit (0) or of unfit (1).  [default: unknown]",
)  # fmt: skip
@click.option("--nhc", is_flag=True, help="Print lines for NHC and the node problem detector instead of JSON.")
@click.option(
    "--prometheus",
    metavar="FILE",
    help="Write the verdict and its time there too, for node_exporter's textfile collector.",
)
@click.option(
    "--deep", is_flag=True, help="Measure a suite on this node while it is idle, and keep the verdict for the gate."
)
@click.option("--suite", default="auto", metavar="SUITE", help="Of --deep.  [default: quick with GPUs, cpu without]")
@click.option("--runs-dir", metavar="DIR", help="Of --deep.  [default: runs, in the state directory]")
@click.option(
    "--if-older",
    "if_older_s",
    type=float,
    default=0.0,
    metavar="S",
    help="Of --deep: only where the kept result is older.",
)
@click.option("--root", default="/", hidden=True)
@click.option("--kmsg", default="/dev/kmsg", hidden=True)
@click.pass_context
def node_check(
    context: click.Context, /, file: str | None, phase: Phase, job: str | None, **options: Any
) -> int | None:
    """Say whether a job may run on this node: a gate for Prolog, Epilog, HealthCheckProgram, NHC and Kubernetes.

    It reads files of the kernel and asks the GPU driver; it starts no program (no Slurm command either), opens no socket, and gives a verdict
    within 8 s whatever hangs. Prints JSON (docs/reference/node-check.schema.json). Exit code 0: fit. 1: not fit. 2: usage. 3: could not be judged.

    \b
    Examples:
      hpcaccept node-check expect > /etc/hpcaccept/node-check.toml    on a healthy node, then read it
      hpcaccept node-check
      hpcaccept node-check --phase prolog --on-unknown fit
      hpcaccept node-check --prometheus /var/lib/node_exporter/textfile/node-check.prom
      hpcaccept node-check install                                    show the lines for Slurm
    """
    if context.invoked_subcommand is not None:
        return None
    if options["deep"]:
        if options["prometheus"]:
            raise UsageError(
                "--deep writes no --prometheus file.", "The next look of the gate tells how old its result is."
            )
        return _deep(_expected(file), **options)
    with _backstop(options["deadline_s"]):
        gate = _look(file, phase, os.environ.get("SLURM_JOB_ID", "") if job is None else job, options)
    _print(gate, options["nhc"])
    if options["prometheus"]:
        _export(Path(options["prometheus"]), gate, options["deadline_s"])
    return _ON_UNKNOWN[options["on_unknown"]] if gate.exit_code == EXIT_CODES["UNKNOWN"] else gate.exit_code


def _export(file: Path, gate: Gate, deadline_s: float) -> None:
    """Last, when the verdict is out; what fails here changes nothing of it."""
    from hpcaccept.app.node_check.metrics import write_metrics
    from hpcaccept.measure.host.host import process_age_s
    from hpcaccept.report.printable import safe

    sys.stdout.flush()
    if why := write_metrics(file, gate, max(0.5, deadline_s - process_age_s())):
        click.echo(f"hpcaccept node-check: {safe(str(file))} was not written: {safe(why)}", err=True)


def _look(file: str | None, phase: Phase, job: str, options: Mapping[str, Any]) -> Gate:
    from hpcaccept.app.node_check.gate import Question, check_node
    from hpcaccept.app.node_check.state import FOLDER

    folder = Path(options["state_dir"]) if options["state_dir"] else FOLDER
    root, kmsg = Path(options["root"]), options["kmsg"]
    return check_node(Question(_expected(file), phase, job, folder, options["deadline_s"], root, kmsg))


def _deep(
    expected: Expected, state_dir: str | None, suite: str, runs_dir: str | None, if_older_s: float, **_options: Any
) -> int:
    import time

    from hpcaccept.app.node_check.deep import JobCame, measure_deep
    from hpcaccept.app.node_check.state import FOLDER, read_deep
    from hpcaccept.errors import RunError
    from hpcaccept.report.printable import safe

    folder = Path(state_dir) if state_dir else FOLDER
    try:
        kept = read_deep(folder)
    except (OSError, ValueError):
        kept = None
    if kept is not None and 0 <= time.time() - kept.at < if_older_s:
        click.echo(f"{kept.verdict}: the kept result is fresh enough ({safe(kept.run)}).")
        return EXIT_CODES[kept.verdict]
    try:
        found = measure_deep(
            expected,
            folder,
            suite,
            Path(runs_dir) if runs_dir else folder / "runs",
            lambda at: click.echo(safe(at), err=True),
        )
    except JobCame as came:
        click.echo(f"Not measured: {came}. The kept result stays, and grows old.", err=True)
        return 3
    except OSError as fault:
        raise RunError(
            f"The result cannot be kept in {folder}: {fault.strerror}.", "Name another folder with --state-dir."
        ) from None
    click.echo(
        f"{found.verdict}{f': {safe(found.reason)}' if found.reason else ''} (hpcaccept report {safe(found.run)})"
    )
    return EXIT_CODES[found.verdict]


@node_check.command()
def expect() -> int:
    """Print what is on this node now as a file of what is expected of it. Type it on a node that was accepted, and read it."""
    from hpcaccept.app.node_check.expect import expectation

    click.echo(expectation(), nl=False)
    return 0


@node_check.command()
@click.option("--folder", metavar="DIR", help="Where the scripts lie on every node.  [default: /etc/hpcaccept]")
@click.option("--config", "file", metavar="FILE", help=f"What a node has to have.  [default: {FILE}]")
@click.option("--state-dir", metavar="DIR", help="Where a node remembers.  [default: /var/lib/hpcaccept/node-check]")
@click.option("--log", metavar="FILE", help="What the scripts add to.  [default: /var/log/hpcaccept-node-check.log]")
@click.option(
    "--on-unknown",
    type=click.Choice(tuple(_ON_UNKNOWN)[1:]),
    default="fit",
    show_default=True,
    help="What Slurm does with a node that could not be judged.",
)
@click.option(
    "--interval",
    "interval_s",
    type=click.IntRange(10, 86400),
    default=300,
    show_default=True,
    metavar="S",
    help="Between two health checks.",
)
@click.option(
    "--prometheus", metavar="FILE", help="What the health check writes for node_exporter's textfile collector."
)
@click.option(
    "--slurm-conf",
    metavar="FILE",
    help="Put the lines into this slurm.conf too; a copy of what it was stays beside it.",
)
@click.option("--yes", is_flag=True, help="Write it. Without: show it.")
def install(yes: bool, file: str | None, slurm_conf: str | None, **options: Any) -> int:
    """Show the scripts for Slurm and the lines for slurm.conf; with --yes write the scripts, and with --slurm-conf the lines.

    slurm.conf is the site's: a line that it has stays as it is and is not repeated, and one that would have to be replaced (another Prolog) is named, and
    nothing is written. Then type 'scontrol reconfigure'.
    """
    import shutil

    from hpcaccept.app.node_check import slurm_conf as conf
    from hpcaccept.app.node_check.install import Site, scripts, slurm_lines, units, write_scripts
    from hpcaccept.report.printable import safe

    named = {
        "folder": options["folder"],
        "log": options["log"],
        "state": options["state_dir"],
        "config": file,
        "metrics": options["prometheus"],
    }
    given: dict[str, Any] = {name: Path(text).absolute() for name, text in named.items() if text}
    site = Site(
        **given, on_unknown=options["on_unknown"], interval_s=options["interval_s"],
        scontrol=shutil.which("scontrol") or "/usr/bin/scontrol",
        slurm_conf=os.environ.get("SLURM_CONF", ""),
    )  # fmt: skip
    for name, text in scripts(site).items():
        click.echo(f"# ---- file {site.folder / name}\n{text}")
    for name, text in units(site, site.state / "runs", "auto").items():
        click.echo(f"# ---- file /etc/systemd/system/{name} (not written: see docs/how-to/fleet.md)\n{text}")
    click.echo(f"# ---- lines for slurm.conf, on every node, then 'scontrol reconfigure'\n{slurm_lines(site)}")
    edit = conf.planned(Path(slurm_conf), slurm_lines(site).splitlines()) if slurm_conf else None
    if edit:
        click.echo(f"# ---- {edit.file}\n" + "\n".join(map(safe, edit.diff() or ["# It has these lines already."])))
    if not yes:
        click.echo("# Nothing was written. Type it again with --yes, on every node.")
        return 0
    write_scripts(site)
    click.echo(f"# Written: {', '.join(scripts(site))} in {site.folder}")
    if edit and edit.diff():
        click.echo(f"# Written: {edit.file}; what it was: {conf.write(edit).name}. Now type: scontrol reconfigure")
    return 0


def _expected(file: str | None) -> Expected:
    """By the file that was named, by the usual one where it is there, else that of any node."""
    if file is None and not FILE.exists():
        return Expected()
    return read_expected(Path(file) if file else FILE)


def _print(gate: Gate, lines: bool) -> None:
    from hpcaccept.app.node_check.lines import lines_of

    if lines:
        click.echo("\n".join(lines_of(gate)))
    else:
        import json

        from hpcaccept.serial import to_plain

        click.echo(json.dumps(to_plain(gate), indent=1, ensure_ascii=False))


@contextlib.contextmanager
def _backstop(deadline_s: float) -> Iterator[None]:
    """End this process where it hangs itself: the parts have a deadline of their own. Its start-up counts."""
    from hpcaccept.measure.host.host import process_age_s

    def end(_number: int, _frame: Any) -> None:
        os.write(2, b"hpcaccept node-check: UNKNOWN: gate-late: no verdict before the deadline\n")
        os._exit(3)

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, max(0.1, deadline_s - process_age_s()))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
