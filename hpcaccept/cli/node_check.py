"""``hpcaccept node-check``: the gate, ``--deep``, ``expect`` and ``install``."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcaccept.config.node_check import FILE, read_expected
from hpcaccept.model.node_check import EXIT_CODES, PHASES, Expected

if TYPE_CHECKING:
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
    "--deadline", "deadline_s", type=click.FloatRange(1, 60), default=_DEADLINE_S, metavar="S",
    help="Give a verdict after so many seconds whatever hangs.  [default: 8]",
)  # fmt: skip
@click.option(
    "--on-unknown", type=click.Choice(tuple(_ON_UNKNOWN)), default="unknown",
    help="Exit code where it could not be judged: 3, that of fit (0) or of unfit (1).  [default: unknown]",
)  # fmt: skip
@click.option("--nhc", is_flag=True, help="Print lines for NHC and the node problem detector instead of JSON.")
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
      hpcaccept node-check install                                    show the lines for Slurm
    """
    if context.invoked_subcommand is not None:
        return None
    _backstop(options["deadline_s"])
    from hpcaccept.app.node_check.gate import Question, check_node
    from hpcaccept.app.node_check.state import FOLDER

    gate = check_node(
        Question(
            _expected(file),
            phase,
            os.environ.get("SLURM_JOB_ID", "") if job is None else job,
            Path(options["state_dir"]) if options["state_dir"] else FOLDER,
            options["deadline_s"],
            Path(options["root"]),
            options["kmsg"],
        )
    )
    _print(gate, options["nhc"])
    return _ON_UNKNOWN[options["on_unknown"]] if gate.exit_code == EXIT_CODES["UNKNOWN"] else gate.exit_code


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


def _backstop(deadline_s: float) -> None:
    """End this process where it hangs itself: the parts have a deadline of their own."""

    def end(_number: int, _frame: Any) -> None:
        os.write(2, b"hpcaccept node-check: UNKNOWN: gate-late: no verdict before the deadline\n")
        os._exit(3)

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, deadline_s)
