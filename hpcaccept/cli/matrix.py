"""``hpcaccept matrix``: plan, run, status, report, diff, cancel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hpcaccept.cli.finite import FiniteRange

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.app.matrix.state import State

    F = TypeVar("F", bound=Callable[..., Any])

_file = click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
_folder = click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False), default=Path("matrix-runs"), callback=lambda _, __, value: value.absolute(), help="Where runs are kept.  [matrix-runs]"
)  # fmt: skip
_image = click.option("--image", "images", multiple=True, metavar="NAMES", help="Only these images; patterns, commas.")
_machine = click.option("--machine", "machines", multiple=True, metavar="NAMES", help="Only these machines.")
_run = click.option("--run", "run_name", default="", metavar="RUN", help="Which run.  [default: the latest]")


def _choice(command: F) -> F:
    options = (
        click.option("--full", "how", flag_value="full", help="Every cell.  [default]"),
        click.option("--cover", "how", flag_value="cover", help="Each image and each machine at least once, rotating."),
        click.option("--pairs", "how", flag_value="pairs", help="Every pair of values of all factors (covertable)."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def matrix() -> None:
    """Try every image on every machine: one verdict per cell, with its log.

    One TOML file names images (containers, virtual environments, modules), machines (partitions and features of Slurm, this machine) and tests.
    """


@matrix.command()
@_file
@_folder
@_image
@_machine
@_choice
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(file: Path, folder: Path, images: tuple[str, ...], machines: tuple[str, ...], how: str | None, as_json: bool) -> int:  # fmt: skip
    """Show how many cells a run would try, their hours and cost, what is impossible, and what stays uncovered. Starts nothing.

    \b
    Examples:
      hpcaccept matrix plan runtimes.toml
      hpcaccept matrix plan runtimes.toml --cover
      hpcaccept matrix plan runtimes.toml --image 'torch*' --machine a100
    """
    import json

    from hpcaccept.app.matrix.choose import as_plain, choose, plan_lines
    from hpcaccept.app.matrix.session import all_patterns
    from hpcaccept.config.matrix import read_matrix

    there, _ = read_matrix(file)
    choice = choose(there, folder, how or "full", all_patterns(images), all_patterns(machines))
    click.echo(json.dumps(as_plain(there, choice), indent=1) if as_json else "\n".join(plan_lines(there, choice)))
    return 0


@matrix.command()
@_file
@_folder
@_image
@_machine
@_choice
@click.option("--new", is_flag=True, help="Begin a new run, though the latest is not done.")
@click.option("--again", type=click.Choice(["failed", "errors", "flaky", "all"]), default=None, help="Run these cells of the latest run once more.")  # fmt: skip
@click.option("--parallel", type=click.IntRange(1), metavar="N", help="Cells at the same time.  [as the file says]")
@click.option("--max-cells", type=click.IntRange(1), metavar="N", help="Start at most so many cells.")
@click.option("-y", "--yes", is_flag=True, help="Rent machines, where the file has any. Needs --max-usd.")
@click.option("--max-usd", type=FiniteRange(0), metavar="USD", help="Start nothing that could cost more in all.")
def run(
    file: Path, folder: Path, images: tuple[str, ...], machines: tuple[str, ...], how: str | None, again: str | None, **options: Any
) -> int:  # fmt: skip
    """Run the cells, and go on with the latest run where it stopped: a cell that was run is not run again unless --again asks for it.

    Jobs outlive this command: after ^C, or when it is killed, the same command finds them. 'hpcaccept matrix cancel' ends them.

    \b
    Examples:
      hpcaccept matrix run runtimes.toml
      hpcaccept matrix run runtimes.toml --cover --new
      hpcaccept matrix run runtimes.toml --image 'torch*' --parallel 8 --max-usd 20
      hpcaccept matrix run runtimes.toml --again failed --machine a100
    """
    from hpcaccept.app.matrix.report import write_reports
    from hpcaccept.app.matrix.session import Wish, all_patterns, run_matrix
    from hpcaccept.app.matrix.views import lines
    from hpcaccept.report.printable import safe

    wish = Wish(file, folder, how or "full", images=all_patterns(images), machines=all_patterns(machines), again=again or "", **options)  # fmt: skip
    state = run_matrix(wish, lambda line: click.echo(safe(line), err=True))
    click.echo("\n".join(lines(state)))
    click.echo(f"report: {write_reports(state, folder)}", err=True)
    return state.exit_code


@matrix.command()
@_file
@_folder
@_run
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(file: Path, folder: Path, run_name: str, as_json: bool) -> int:
    """Show where a run stands: each cell's verdict so far, what runs, what waits and why."""
    from hpcaccept.app.matrix.views import as_json as plain
    from hpcaccept.app.matrix.views import lines

    state = _state(file, folder, run_name)
    click.echo(plain(state) if as_json else "\n".join(lines(state)))
    return state.exit_code


@matrix.command()
@_file
@_folder
@_run
@click.option("--format", "which", type=click.Choice(["table", "html", "json", "junit", "markdown"]), default="table", help="Output format.")  # fmt: skip
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write instead of printing.")
def report(file: Path, folder: Path, run_name: str, which: str, output: Path | None) -> int:
    """Print a run as a table, an HTML grid, JUnit, JSON or Markdown: one verdict per cell, with its log."""
    from hpcaccept.app.matrix.report import rendered
    from hpcaccept.store.replaced_files import replace_file

    state = _state(file, folder, run_name)
    text = rendered(state, folder, which)
    if output:
        replace_file(output, text)
    else:
        click.echo(text, nl=False)
    return state.exit_code


@matrix.command()
@_file
@_folder
@_run
@click.option("--against", default="", metavar="RUN", help="The run to compare with.  [default: the one before]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diff(file: Path, folder: Path, run_name: str, against: str, as_json: bool) -> int:
    """Say what broke since an earlier run, and whether image, driver, machine or content changed.

    The exit code is 1 where a cell broke, 3 where one can be judged no longer or is flaky now, else 0.
    """
    import json
    from dataclasses import asdict

    from hpcaccept.app.matrix.diff import changes_of
    from hpcaccept.config.matrix import read_matrix

    there, _ = read_matrix(file)
    found = changes_of(folder, there.name, run_name, against)
    click.echo(json.dumps(asdict(found), indent=1) if as_json else "\n".join(found.lines()))
    return found.exit_code


@matrix.command()
@_file
@_folder
@_run
def cancel(file: Path, folder: Path, run_name: str) -> int:
    """End the jobs of a run that are queued or running; what they have found is kept as logs, and the cells count as not run."""
    from hpcaccept.app.matrix.folder import run_named
    from hpcaccept.app.matrix.session import cancel as end
    from hpcaccept.config.matrix import read_matrix

    there, _ = read_matrix(file)
    count = end(run_named(folder, there.name, run_name), lambda line: click.echo(line, err=True))
    click.echo(f"{count} jobs were ended." if count else "Nothing of it is queued or running.")
    return 0


@matrix.command(hidden=True)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
def cell(folder: Path) -> int:
    """Try one cell on the machine that this runs on: what the job of a cell does."""
    from hpcaccept.app.matrix.on_machine import run_cell

    return run_cell(folder)


@matrix.command(hidden=True)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
def rent(folder: Path) -> int:
    """Try one cell on a machine that is rented for it: what the process of a rented cell does."""
    from hpcaccept.app.matrix.rent import rent_cell

    return rent_cell(folder, lambda line: click.echo(line))


def _state(file: Path, folder: Path, run_name: str) -> State:
    from hpcaccept.app.matrix.folder import run_named
    from hpcaccept.app.matrix.state import state_of
    from hpcaccept.config.matrix import read_matrix

    there, _ = read_matrix(file)
    return state_of(run_named(folder, there.name, run_name))
