"""The command line. Commands are loaded when they are called: ``--help`` must not cost an import of numpy."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import resource
import sys
from typing import TYPE_CHECKING

import click

from hpcaccept.errors import HpcacceptError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Command → module, attribute, one line for ``--help``. Written out, so that nothing is imported to list them.
_COMMANDS = {
    "doctor": ("doctor", "doctor", "Look along the path from here to a measured number, before any time is spent."),
    "submit": ("submit", "submit", "Test nodes: plan, run, judge and report."),
    "plan": ("plan", "plan", "Say what a run would take, find and miss, or what of it fits a budget."),
    "isolate": ("isolate", "isolate", "Find out which node, link or leaf makes a test of many nodes fail."),
    "status": ("runs", "status", "Say where a run stands."),
    "wait": ("runs", "wait", "Wait for a run, then judge and report it."),
    "cancel": ("runs", "cancel", "End the job of a run; what it has measured is kept."),
    "collect": ("runs", "collect", "Gather the records of a run into run.h5."),
    "report": ("runs", "report", "Judge a run and show the report."),
    "runs": ("run_list", "runs", "List the runs: verdict, bad nodes, state; remove old ones."),
    "logs": ("run_list", "logs", "Show what happened in a run, and what its steps printed."),
    "facts": ("run_list", "facts", "Show hardware, firmware and software of the nodes of a run."),
    "nightly": ("nightly", "nightly", "Test idle nodes every night, and tell what changed."),
    "campaign": ("campaign", "campaign", "Test the whole fleet between users' jobs, and never twice."),
    "matrix": ("matrix", "matrix", "Try every image on every machine: one verdict per cell."),
    "node-check": (
        "node_check",
        "node_check",
        "Say whether a job may run on this node: a gate for Slurm and Kubernetes.",
    ),
    "nodes": ("nodes", "nodes", "Take nodes out of service and give them back, through a gate."),
    "checks": ("checks", "checks", "List the checks and suites; explain one."),
    "simulate": ("simulate", "simulate", "Say how small a fault is found in a simulated fleet."),
    "baseline": ("baseline", "baseline", "Learn, approve, compare and import what a device model reaches."),
    "import-results": (
        "import_results",
        "import_results",
        "Judge results of SuperBench: per node, peers, baseline, past.",
    ),
    "history": ("history", "history", "What past runs measured: trends, offenders, where GPUs were."),
    "compare": ("compare", "compare", "Say what changed between two runs: hardware or environment?"),
    "bundle": ("bundle", "bundle", "Pack the evidence about one faulty node for its vendor, redacted."),
    "certificate": ("certificate", "certificate", "Sign which nodes were accepted; verify such a statement."),
    "k8s": ("k8s", "k8s", "Print Kubernetes manifests; take runs out of logs."),
    "azure": ("azure", "azure", "Azure: a GPU scale set from one file, looked after and removed."),
    "vast": ("vast", "vast", "Rented machines (Vast.ai): find, check, rent, test and destroy them."),
    "schedule": ("schedule", "schedule", "Run a command later, here, on Slurm or rented, and know which commit ran."),
    "tester": ("tester", "tester", "Answer on a rented machine: what 'vast verify' starts there."),
    "files": ("files", "files", "Print where suites, baselines, sbatch scripts, Enroot files, dashboard and docs are."),
    "config": ("config", "config", "Show the settings and where each came from."),
    "sbatch-step": ("sbatch_step", "sbatch_step", "Write a run folder for an sbatch script, inside its job."),
}

_EPILOG = """\b
Exit codes, of every command:
  0  every node that was asked for passed all that is required
  1  at least one FAIL: a node, GPU or link is not fit for work
  2  the command line or a configuration file is wrong
  3  anything else: something required could not be judged, or is in doubt (WARN)
  130  interrupted; the job goes on
  141  the reader of the output (head, less) has gone

\b
Start here:
  hpcaccept submit --nodes 4             test four nodes (Slurm, or this machine)
  hpcaccept submit --nodes 4 --dry-run   see every script and command first
  hpcaccept report                       the latest run again

\b
Shell completion (bash; also zsh, fish):
  eval "$(_HPCACCEPT_COMPLETE=bash_source hpcaccept)"
"""


#: 128 + SIGPIPE, as shells say it.
_READER_GONE = 141
#: Characters of a line of an error.
_LONGEST_LINE = 1500
#: Processor time in which numpy is imported; a tenth of it is usual.
_IMPORT_S = 10


class Commands(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order of use."""
        return [name for name in _COMMANDS if name != "sbatch-step"]

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


#: Set by a shell that completes words (click's protocol).
_COMPLETION = "_HPCACCEPT_COMPLETE"
#: Set by ``--debug``: an exception that nobody expected is shown whole.
_DEBUG = False


def _show_version(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    """Print version and commit, and end."""
    if not asked or context.resilient_parsing:
        return
    from hpcaccept.app.commit import version_line

    click.echo(version_line())
    context.exit()


def _set_debug(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    global _DEBUG
    _DEBUG = asked
    _set_verbose(context, parameter, asked)


def _set_verbose(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    """Begin to print what is started and connected to; nothing while a shell completes words."""
    if asked and not context.resilient_parsing:
        from hpcaccept.cli.tracing import trace

        trace()


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
    "--verbose",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_set_verbose,
    help="Print every program that is started and every connection that is made, on standard error.",
)
@click.option(
    "--debug",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_set_debug,
    help="The same, and show the traceback of a fault.",
)
def group() -> None:
    """Acceptance testing for GPU clusters: which nodes, GPUs and links are not fit for work?

    Every verdict rests on a measured value and a limit. What was not measured is never a pass.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; gives its exit code. 1 is a FAIL verdict and nothing else: a fault of our own is 3, with a sentence."""
    _open_what_was_closed()
    out = sys.stdout
    for stream in (sys.stdout, sys.stderr):
        # A locale that lacks a sign shows another in its place; a report is never lost to an encoding.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if _memory_is_limited() and not _numpy_loads():
        _say("Error: numpy does not load under this memory limit (ulimit -v, ulimit -d), and ends the program.")
        _say("  → Raise the limit, or type this on another machine; nothing is said of any node.")
        return 3
    try:
        code = group.main(list(argv) if argv is not None else None, prog_name="hpcaccept", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as fault:
        with contextlib.suppress(OSError):
            fault.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        _say("Interrupted.")
        return 130
    except HpcacceptError as fault:
        from hpcaccept.report.printable import safe

        _say(
            "\n".join(f"{'Error: ' if i == 0 else ''}{_short(safe(x))}" for i, x in enumerate(str(fault).splitlines()))
        )
        return fault.exit_code
    except BrokenPipeError:
        return _reader_has_gone()
    except SystemExit as end:
        if _COMPLETION in os.environ:
            return int(end.code or 0)  # click has printed the words of a shell, and ends
        # Where the reader has gone click puts a quiet stream there and ends with 1, and so does rich. A module that ends us is broken.
        gone = sys.stdout is not out or isinstance(end.__context__, BrokenPipeError)
        return _reader_has_gone() if gone else _own_fault(end)
    except Exception as fault:
        if _DEBUG:
            raise
        return _own_fault(fault)


def _open_what_was_closed() -> None:
    """A closed standard stream leads nowhere: else the next file that is opened is taken for it, and what is printed lands there."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _memory_is_limited() -> bool:
    """True under ``ulimit -v`` or ``-d``, as some login nodes have them."""
    limits = (resource.getrlimit(which)[0] for which in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    return any(limit != resource.RLIM_INFINITY for limit in limits)


def _numpy_loads() -> bool:
    """Whether a child that imports numpy lives: where its OpenBLAS finds no memory it calls exit(1), which would be a verdict.

    That of numpy 2.2 asks for memory without end.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with contextlib.suppress(BaseException):
        resource.setrlimit(resource.RLIMIT_CPU, (_IMPORT_S, _IMPORT_S))
        importlib.import_module("numpy")
    os._exit(0)  # what Python itself can tell is told later


def _reader_has_gone() -> int:
    """The exit code where nobody reads on (head, less): that of a program that a closed pipe has ended, and of no verdict."""
    for number in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return _READER_GONE


def _say(text: str) -> None:
    """Print on standard error; where that is full or gone, the exit code has to do."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def _short(line: str) -> str:
    """A line of an error as people can read it: what was found may be a whole file."""
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]} …"


def _own_fault(fault: BaseException) -> int:
    """What is said of an exception that nobody expected."""
    import traceback

    from hpcaccept.report.printable import safe

    where = traceback.extract_tb(fault.__traceback__)[-1:]
    place = f" ({where[0].filename.rpartition(os.sep)[2]}:{where[0].lineno})" if where else ""
    _say(f"Error: {safe(f'{type(fault).__name__}: {fault}'[:500])}{place}")
    _say(
        "  → This is a fault of hpcaccept or of its installation, and says nothing about a node. 'hpcaccept --debug …' shows where."
    )
    return 3
