"""``hpcaccept baseline``."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path
from typing import Any

import click

from hpcaccept.cli.options import baselines_dir_option, paths, runs_dir_option
from hpcaccept.errors import UsageError

_accept = click.option(
    "--accept-decline", "accepted", multiple=True, metavar="KEY",
    help="Metric that may be worse than what was vouched for before ('*' stands for any text; repeatable).",
)  # fmt: skip
_by = click.option("--by", required=True, metavar="NAME", help="Who says so.")
_generation = click.option("--generation", type=int, default=0, metavar="N", help="Which one.  [default: the newest]")
_why = click.option("--why", default="", metavar="TEXT", help="Why, for those who come later.")


@click.group()
def baseline() -> None:
    """Learn, approve, compare and import what a device model reaches."""


@baseline.command()
@click.argument("runs", nargs=-1, metavar="RUN...")
@_accept
@click.option("--strict", is_flag=True, help="Refuse to judge with another driver, CUDA, torch or image.")
@click.option(
    "--unaccepted",
    multiple=True,
    metavar="RUN",
    help="Learn from this run although something in it failed or broke: what is not suspect in it. Repeatable.",
)
@runs_dir_option
@baselines_dir_option
def learn(
    runs: tuple[str, ...], accepted: tuple[str, ...], strict: bool, unaccepted: tuple[str, ...], **options: Any
) -> int:
    """Learn a draft from good runs (the latest by default), one generation per device model and power limit.

    A run with a FAIL, or of which something required was not measured, is refused unless it is named. Nodes with a FAIL or WARN, and
    metrics whose units differ too much, are left out and named. What is worse than what was vouched for is refused.
    """
    from hpcaccept.app.baseline.learn import learn_from
    from hpcaccept.report.printable import safe

    runs_dir, baselines_dir = paths(**options)
    for line in learn_from(runs_dir, runs or unaccepted or ("",), baselines_dir, accepted, strict, unaccepted):
        click.echo(safe(line))
    return 0


@baseline.command()
@click.argument("model", default="", required=False)
@baselines_dir_option
def show(model: str, **options: Any) -> int:
    """Show the baselines, or one of them with its limits and provenance (MODEL: part of its name)."""
    from hpcaccept.app.baseline.lifecycle import known_baselines
    from hpcaccept.report.printable import safe
    from hpcaccept.report.views.baselines import details, summary_line
    from hpcaccept.store.baseline_file import chained

    baselines_dir = paths(**options)[1]
    found = known_baselines(baselines_dir, model)
    if not found and model:
        raise UsageError(
            f"There is no baseline of {model!r} in {baselines_dir}.", "List them: hpcaccept baseline show."
        )
    if not found:
        click.echo(f"There is no baseline in {baselines_dir}. Learn one: hpcaccept baseline learn RUN")
    for file, generations in found:
        click.echo(_within_terminal(safe(summary_line(chained(generations)))))
        for line in details(file, generations) if model else ():
            click.echo(_within_terminal(safe(line)))
    return 0


def _within_terminal(line: str) -> str:
    """The line in as many as the terminal asks for, the further ones indented."""
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    width = shutil.get_terminal_size().columns
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


@baseline.command()
@click.argument("model")
@_by
@click.option("--until", default="", metavar="DATE", help="Last day on which it may judge (YYYY-MM-DD).")
@_generation
@_why
@_accept
@baselines_dir_option
def approve(
    model: str, by: str, until: str, generation: int, why: str, accepted: tuple[str, ...], **options: Any
) -> int:
    """Vouch for a draft: it then judges where a suite requires a baseline."""
    from hpcaccept.app.baseline import lifecycle

    click.echo(lifecycle.approve(paths(**options)[1], model, by, until, generation, why, accepted))
    return 0


@baseline.command()
@click.argument("model")
@_by
@_generation
@_why
@baselines_dir_option
def retire(model: str, by: str, generation: int, why: str, **options: Any) -> int:
    """Let a generation judge no more; it stays in the file."""
    from hpcaccept.app.baseline import lifecycle

    click.echo(lifecycle.retire(paths(**options)[1], model, by, generation, why))
    return 0


@baseline.command()
@click.argument("one", metavar="A")
@click.argument("other", metavar="B")
@baselines_dir_option
def diff(one: str, other: str, **options: Any) -> int:
    """Say what differs between two generations: MODEL, MODEL@2 or FILE.h5@2 (the newest without a number)."""
    from hpcaccept.app.baseline.lifecycle import one_generation
    from hpcaccept.report.printable import safe
    from hpcaccept.report.views.baselines import difference

    baselines_dir = paths(**options)[1]
    for line in difference(one_generation(baselines_dir, one), one_generation(baselines_dir, other)):
        click.echo(safe(line))
    return 0


@baseline.command()
@click.argument("model", default="", required=False)
@click.option("--run", "run", default=None, metavar="RUN", help="Also say which rates of this run can be judged.")
@runs_dir_option
@baselines_dir_option
def check(model: str, run: str | None, **options: Any) -> int:
    """Say whether files are whole, in date, and fit today's checks; exit 3 when something cannot judge."""
    from hpcaccept.app.baseline.check import check_files, check_run
    from hpcaccept.report.printable import safe

    runs_dir, baselines_dir = paths(**options)
    looked = [check_files(baselines_dir, model)] if run is None else [check_run(runs_dir, run, baselines_dir)]
    for line in (line for each in looked for line in each.lines):
        click.echo(safe(line))
    return 0 if all(each.sound for each in looked) else 3


@baseline.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--model", required=True, metavar="NAME", help="Exact name the driver gives the GPU: nvidia-smi -L.")
@click.option("--power-limit-w", type=float, default=0.0, metavar="W", help="Of the boards that the figures are of.")
@click.option("--memory-gib", type=float, default=0.0, metavar="GIB", help="Of these boards.")
@click.option("--gpus", type=click.IntRange(min=0), default=0, metavar="N", help="GPUs per node that nccl-bw ran on.")
@baselines_dir_option
def import_(
    files: tuple[Path, ...], model: str, power_limit_w: float, memory_gib: float, gpus: int, **options: Any
) -> int:
    """Take limits from AzNHC (.conf), SuperBench (.json, .jsonl) and tables (.csv); the rest is listed."""
    from hpcaccept.app.baseline.import_limits import import_files
    from hpcaccept.report.printable import safe

    for line in import_files(files, model, paths(**options)[1], power_limit_w, memory_gib, gpus):
        click.echo(safe(line))
    return 0


@baseline.command()
@click.argument("model", default="", required=False)
@baselines_dir_option
def upgrade(model: str, **options: Any) -> int:
    """Write files of an earlier format in today's (learning and approving do so too)."""
    from hpcaccept.app.baseline import lifecycle

    for line in lifecycle.upgrade(paths(**options)[1], model):
        click.echo(line)
    return 0


@baseline.command()
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit 3 when a file differs from its source.")
@click.option("--sources", type=click.Path(path_type=Path), default=None, metavar="DIR", help="Of the text files.")
@click.option("--output", type=click.Path(path_type=Path), default=None, metavar="DIR", help="Of the .h5 files.")
def build(only_check: bool, sources: Path | None, output: Path | None) -> int:
    """Build the baselines that come with hpcaccept from their text sources."""
    from hpcaccept.app.baseline import build_shipped
    from hpcaccept.store.baseline_file import SHIPPED

    work = build_shipped.check if only_check else build_shipped.build
    for line in work(sources or build_shipped.SOURCES, output or SHIPPED):
        click.echo(line)
    return 0


@baseline.command()
def coverage() -> int:
    """Print which metrics of which model are judged by what comes with hpcaccept (docs/reference/baseline-coverage.md)."""
    from hpcaccept.app.baseline.build_shipped import shipped_baselines
    from hpcaccept.report.views.baseline_coverage import coverage_page

    click.echo(coverage_page(shipped_baselines()), nl=False)
    return 0
