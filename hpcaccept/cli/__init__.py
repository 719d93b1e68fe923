"""The command line. Commands are loaded when they are called: ``--help`` must not cost an import of numpy."""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import TYPE_CHECKING

import click

from hpcaccept import __version__
from hpcaccept.errors import HpcacceptError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Command → module, attribute, one line for ``--help``. Written out, so that nothing is imported to list them.
_COMMANDS = {
    "doctor": ("doctor", "doctor", "Look along the path from here to a measured number, before any time is spent."),
    "submit": ("submit", "submit", "Test nodes: plan, run, judge and report."),
    "status": ("runs", "status", "Say where a run stands."),
    "wait": ("runs", "wait", "Wait for a run, then judge and report it."),
    "cancel": ("runs", "cancel", "End the job of a run; what it has measured is kept."),
    "collect": ("runs", "collect", "Gather the records of a run into run.h5."),
    "report": ("runs", "report", "Judge a run and show the report."),
    "runs": ("runs", "runs", "List the runs."),
    "nightly": ("nightly", "nightly", "Test idle nodes every night, and tell what changed."),
    "checks": ("checks", "checks", "List the checks and suites; explain one."),
    "simulate": ("simulate", "simulate", "Say how small a fault is found in a simulated fleet."),
    "baseline": ("baseline", "baseline", "Learn, approve, compare and import what a device model reaches."),
    "history": ("history", "history", "What past runs measured: trends, offenders, where GPUs were."),
    "compare": ("compare", "compare", "Say what changed between two runs: hardware or environment?"),
    "bundle": ("bundle", "bundle", "Pack the evidence about one faulty node for its vendor, redacted."),
    "certificate": ("certificate", "certificate", "Sign which nodes were accepted; verify such a statement."),
    "k8s": ("k8s", "k8s", "Print Kubernetes manifests; take runs out of logs."),
    "files": ("files", "files", "Print where suites, baselines, sbatch scripts, Enroot files and docs are."),
    "config": ("config", "config", "Show the settings and where each came from."),
    "plan": ("plan", "plan", "Write a run folder for an sbatch script, inside its job."),
}

_EPILOG = """\b
Exit codes, of every command:
  0  every node that was asked for passed all that is required
  1  at least one FAIL: a node, GPU or link is not fit for work
  2  the command line or a configuration file is wrong
  3  anything else: something required could not be judged, or is in doubt (WARN)
  130  interrupted; the job goes on

\b
Start here:
  hpcaccept submit --nodes 4             test four nodes (Slurm, or this machine)
  hpcaccept submit --nodes 4 --dry-run   see every script and command first
  hpcaccept report                       the latest run again

\b
Shell completion (bash; also zsh, fish):
  eval "$(_HPCACCEPT_COMPLETE=bash_source hpcaccept)"
"""


class Commands(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order of use."""
        return [name for name in _COMMANDS if name != "plan"]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import one command."""
        if name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[name]
        command: click.Command = getattr(importlib.import_module(f"hpcaccept.cli.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the nearest name in the message."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in _COMMANDS:
            from hpcaccept.errors import nearest

            ctx.fail(f"There is no command {name!r}. {nearest(name, _COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][2]) for name in self.list_commands(ctx)])


#: Set by ``--debug``: an exception that nobody expected is shown whole.
_DEBUG = False


def _show_version(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    """Print version and commit, and end."""
    if not asked or context.resilient_parsing:
        return
    from hpcaccept.app.commit import commit

    of = commit()
    click.echo(f"hpcaccept, version {__version__}" + (f" (commit {of})" if of else ""))
    context.exit()


def _set_debug(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    global _DEBUG
    _DEBUG = asked


@click.command(
    cls=Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show version and commit.",
)
@click.option(
    "--debug",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_set_debug,
    help="Show the traceback of a fault.",
)
def group() -> None:
    """Acceptance testing for GPU clusters: which nodes, GPUs and links are not fit for work?

    Every verdict rests on a measured value and a limit. What was not measured is never a pass.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; gives its exit code. 1 is a FAIL verdict and nothing else: a fault of our own is 3, with a sentence."""
    for stream in (sys.stdout, sys.stderr):
        # A locale that lacks a sign shows another in its place; a report is never lost to an encoding.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        code = group.main(list(argv) if argv is not None else None, prog_name="hpcaccept", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as fault:
        fault.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return 130
    except HpcacceptError as fault:
        from hpcaccept.report.printable import safe

        click.echo(
            "\n".join(f"{'Error: ' if i == 0 else ''}{safe(x)}" for i, x in enumerate(str(fault).splitlines())),
            err=True,
        )
        return fault.exit_code
    except BrokenPipeError:
        # The reader (head, less) has gone: that is no error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as fault:
        if _DEBUG:
            raise
        return _own_fault(fault)


def _own_fault(fault: Exception) -> int:
    """What is said of an exception that nobody expected."""
    import traceback

    from hpcaccept.report.printable import safe

    where = traceback.extract_tb(fault.__traceback__)[-1:]
    place = f" ({where[0].filename.rpartition(os.sep)[2]}:{where[0].lineno})" if where else ""
    click.echo(f"Error: {safe(f'{type(fault).__name__}: {fault}'[:500])}{place}", err=True)
    click.echo(
        "  → This is a fault of hpcaccept or of its installation, and says nothing about a node. 'hpcaccept --debug …' shows where.",
        err=True,
    )
    return 3
