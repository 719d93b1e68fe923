"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hpcaccept import container
from hpcaccept.cli.completion import complete_check, complete_partition, complete_run, complete_suite
from hpcaccept.cli.finite import FiniteRange
from hpcaccept.errors import UsageError
from hpcaccept.report import formats

F = TypeVar("F", bound=Callable[..., Any])


def run_argument(command: F) -> F:
    """``[RUN]``: a run by name, part of a name or path, the latest by default."""
    return click.argument("run", default="", required=False, metavar="[RUN]", shell_complete=complete_run)(command)


def runs_dir_option(command: F) -> F:
    """``--runs-dir``."""
    text = "Where runs are kept: a folder that all nodes see.  [default: runs]"
    return click.option("--runs-dir", metavar="DIR", help=text)(command)


def baselines_dir_option(command: F) -> F:
    """``--baselines-dir``."""
    text = "Where baselines are kept.  [default: baselines]"
    return click.option("--baselines-dir", metavar="DIR", help=text)(command)


def history_option(command: F) -> F:
    """``--history``."""
    text = "Where the past is kept.  [default: history, among the runs]"
    return click.option("--history", metavar="DIR", help=text)(command)


class _Format(click.Choice[str]):
    """The formats that hpcaccept brings; those of installed packages are looked for only where a name is none of them."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices and formats.exists(value):
            return value
        return super().convert(value, param, ctx)


def format_option(command: F) -> F:
    """``--format``."""
    return click.option(
        "--format",
        "form",
        type=_Format(formats.built_in()),
        default=formats.DEFAULT,
        show_default=True,
        help="Output format.",
    )(command)


class LauncherOption(click.Option):
    """``--launcher``; its help names every launcher there is, which are looked for when somebody reads it."""

    def get_help_record(self, context: click.Context) -> tuple[str, str] | None:
        """The option beside the launchers, in the order of ``auto``."""
        from hpcaccept import launch

        summaries = {name: launch.load(name).TRAITS.summary for name in launch.by_priority()}
        named = [f"{name} ({summary})" if summary else name for name, summary in summaries.items()]
        self.help = f"{', '.join(['auto', *named[:-1]])} or {named[-1]}.  [default: auto]"
        return super().get_help_record(context)


def pairs(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """``key=value`` and flags (an empty value) as a table; leading dashes of the key are forgiven."""
    table = {}
    for text in values:
        key, _, value = text.lstrip("-").partition("=")
        if not key or " " in key:
            raise UsageError(f"--slurm: found {text!r}, expected key=value or a flag.", "For example --slurm qos=high.")
        table[key.replace("-", "_")] = value
    return table


def gpus_per_node(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """``N`` or ``TYPE:N``, once it has one of these forms."""
    from hpcaccept.config.gpu_request import split_gpus

    if value is not None:
        split_gpus(value, "--gpus-per-node")
    return value


def variables(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """``NAME=VALUE`` as a table."""
    table = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"--container-env: found {text!r}, expected NAME=VALUE.", "For example NCCL_DEBUG=INFO.")
        table[name] = value
    return table


def suite_options(skip: tuple[str, ...], changes: tuple[str, ...], search: bool) -> dict[str, dict[str, Any]]:
    """``--skip``, ``--set`` and ``--search`` as tables of checks.

    Raises:
        UsageError: a change that is not CHECK.PARAMETER=VALUE, with VALUE as TOML writes it.
    """
    tables: dict[str, dict[str, Any]] = {name: {"enabled": False} for name in skip}
    if search:
        # A minute for each of seven formats, whatever the suite allows a measurement.
        tables.setdefault("matmul", {}).update(search=True, deadline_s=1200)
    for text in changes:
        key, equals, value = text.partition("=")
        check, _, parameter = key.rpartition(".")
        if not (equals and check and parameter):
            raise UsageError(
                f"--set: found {text!r}, expected CHECK.PARAMETER=VALUE.", "For example burn.duration_s=60."
            )
        tables.setdefault(check, {})[parameter] = _toml_value(value)
    return tables


def _toml_value(text: str) -> Any:
    from hpcaccept.config.toml import parse_toml

    try:
        return parse_toml(f"value = {text}", "--set")["value"]
    except UsageError:
        return text  # a bare word: nobody wants to quote quotes for a shell


def paths(**options: Any) -> tuple[Path, Path]:
    """Runs folder and baselines folder after all layers of configuration."""
    from hpcaccept.config.settings import load_settings

    settings = load_settings(options).settings
    return Path(settings.runs_dir).absolute(), Path(settings.baselines_dir).absolute()


def history_path(**options: Any) -> Path:
    """Folder of the history after all layers of configuration."""
    from hpcaccept.config.settings import load_settings

    return load_settings(options).settings.history_folder


def nodes_options(command: F) -> F:
    """``--nodes``, ``--nodelist`` and ``--exclude``."""
    return _all(_NODES, command)


class NodesOrWord(click.ParamType):  # type: ignore[type-arg]  # older versions of click take none
    """A number of nodes, or a word that means some of a partition."""

    name = "N|all|idle"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """The number, or the word as it is."""
        if isinstance(value, int) or value in WORDS_FOR_NODES:
            return value  # type: ignore[no-any-return]
        try:
            return int(value)
        except ValueError:
            self.fail(f"found {value!r}, expected a number, all or idle.", param, ctx)


def run_options(command: F) -> F:
    """What is tested, and on which nodes: the options that ``submit`` and ``plan`` share."""
    return _all(_RUN, command)


def asked_nodes(options: dict[str, Any], *, all_nodes: bool) -> str:
    """The word that ``--nodes`` or ``--all`` gave, taken out of the options; empty where nodes are counted or named.

    Raises:
        UsageError: --all stands beside another number or word.
    """
    word = options["nodes"] if isinstance(options["nodes"], str) else ""
    if all_nodes and options["nodes"] not in (None, ALL_NODES):
        raise UsageError(f"--all and --nodes {options['nodes']} both say how many.", "Leave one of them out.")
    if word:
        options["nodes"] = None
    return ALL_NODES if all_nodes else word


def placement_options(command: F) -> F:
    """Where and how a job's ranks are started."""
    return _all(_PLACEMENT, command)


def _all(options: tuple[Callable[[F], F], ...], command: F) -> F:
    for option in reversed(options):
        command = option(command)
    return command


_NODES: tuple[Callable[[Any], Any], ...] = (
    click.option("-N", "--nodes", type=int, metavar="N", help="How many nodes.  [default: 1]"),
    click.option("-w", "--nodelist", metavar="NAMES", help="These nodes: node[01-04],node7."),
    click.option("-x", "--exclude", metavar="NAMES", help="Not these nodes."),
)
#: What ``--nodes`` takes beside a number.
ALL_NODES = "all"
WORDS_FOR_NODES = (ALL_NODES, "idle")
_RUN: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "-N",
        "--nodes",
        type=NodesOrWord(),
        metavar="N|all|idle",
        help="How many nodes, all that the partition can give, or those that are idle now.  [default: 1]",
    ),
    click.option("--all", "all_nodes", is_flag=True, help="The same as --nodes all."),
    *_NODES[1:],
    click.option(
        "-s",
        "--suite",
        metavar="SUITE",
        shell_complete=complete_suite,
        help="A suite's name or .toml file.  [default: quick with GPUs, cpu without]",
    ),
    click.option(
        "--only",
        multiple=True,
        metavar="CHECK",
        shell_complete=complete_check,
        help="Of the suite, run this check alone; may be repeated. identity stays.",
    ),
    click.option(
        "--skip",
        multiple=True,
        metavar="CHECK",
        shell_complete=complete_check,
        help="Leave this check of the suite out; may be repeated.",
    ),
    click.option(
        "--set",
        "changes",
        multiple=True,
        metavar="CHECK.PARAM=VALUE",
        help="Change a parameter of a check; may be repeated. 'hpcaccept config --suite' shows all.",
    ),
    click.option("--search", is_flag=True, help="Let matmul search its best shapes; the report says how to keep them."),
    click.option(
        "--budget",
        metavar="TIME|Ngpu-h",
        help="What the job may take: 30m, 2h, 40gpu-h. Of the suite, what fits is run; 'hpcaccept plan' says what.",
    ),
)
_PLACEMENT: tuple[Callable[[Any], Any], ...] = (
    click.option("-p", "--partition", metavar="NAME", shell_complete=complete_partition, help="Slurm partition."),
    click.option("-A", "--account", metavar="NAME", help="Slurm account."),
    click.option(
        "-g",
        "--gpus-per-node",
        callback=gpus_per_node,
        metavar="[TYPE:]N",
        help="GPUs that each node must have; fewer is a FAIL.  [default: what Slurm's gres say]",
    ),
    click.option("--ranks-per-node", type=int, metavar="N", help="MPI ranks per node.  [default: one per GPU, else 1]"),
    click.option("-t", "--time", metavar="TIME", help="Time limit in Slurm's notation.  [default: an upper estimate]"),
    click.option("-l", "--launcher", metavar="NAME", cls=LauncherOption),
    click.option(
        "--container-image",
        metavar="IMAGE",
        help="Run the ranks in this image: REGISTRY#PATH@sha256:…, a tag, a .sqsh or a .sif.",
    ),
    click.option("--container-mounts", metavar="SRC:DST[,…]", help="Mount these into the container."),
    click.option(
        "--container-env",
        metavar="NAME=VALUE",
        multiple=True,
        callback=variables,
        help="Set a variable inside, over the image's; may be repeated. Kept in the plan: nothing secret.",
    ),
    click.option(
        "--container-runtime",
        metavar="NAME",
        help=f"One of {', '.join(container.built_in_runtimes())}.  [default: pyxis under Slurm, else what is here and takes the image]",
    ),
    click.option("--mpi", metavar="TYPE", help="How srun starts MPI.  [default: the best of 'srun --mpi=list']"),
    click.option(
        "--slurm",
        multiple=True,
        metavar="KEY[=VALUE]",
        callback=pairs,
        help="Any other sbatch option; may be repeated.",
    ),
    click.option(
        "--start-timeout",
        "start_timeout_s",
        type=FiniteRange(min=1),
        metavar="S",
        help="Seconds for image pull and MPI start.  [default: 300]",
    ),
    click.option(
        "--queue-timeout",
        "queue_timeout_s",
        type=FiniteRange(min=0),
        metavar="S",
        help="Stop waiting in the queue after this long.  [default: never]",
    ),
)
