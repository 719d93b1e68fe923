"""``hpcaccept baseline``."""

from __future__ import annotations

from typing import Any

import click

from hpcaccept.cli.options import baselines_dir_option, paths, runs_dir_option


@click.group()
def baseline() -> None:
    """Learn and show what a device model reaches."""


@baseline.command()
@click.argument("runs", nargs=-1, metavar="RUN...")
@runs_dir_option
@baselines_dir_option
def learn(runs: tuple[str, ...], **options: Any) -> int:
    """Learn a baseline from good runs (the latest by default), one file per device model.

    Nodes with a FAIL or WARN are left out and named. An earlier baseline of the model is replaced.
    """
    from hpcaccept.app.baselines import learn_from

    runs_dir, baselines_dir = paths(**options)
    for line in learn_from(runs_dir, runs or ("",), baselines_dir):
        click.echo(line)
    return 0


@baseline.command()
@click.argument("model", default="", required=False)
@baselines_dir_option
def show(model: str, **options: Any) -> int:
    """Show the baselines, or one of them with its limits and provenance (MODEL: part of its name)."""
    from hpcaccept.app.baselines import describe

    for line in describe(paths(**options)[1], model):
        click.echo(line)
    return 0
