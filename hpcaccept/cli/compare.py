"""``hpcaccept compare``."""

from __future__ import annotations

from typing import Any

import click

from hpcaccept.cli.options import baselines_dir_option, paths, runs_dir_option


@click.command()
@click.argument("earlier", metavar="RUN_A")
@click.argument("later", metavar="RUN_B")
@runs_dir_option
@baselines_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(earlier: str, later: str, as_json: bool, **options: Any) -> int:
    """Say what changed from RUN_A to RUN_B: nodes, environment, numbers, and whether the hardware is to blame.

    Each GPU is compared with itself, wherever it is. Slower in the same environment is hardware; what all lost alike with a new driver or
    image is the environment, what one lost beyond that is hardware. Exit code 1: hardware. 3: it cannot be told.
    """
    from hpcaccept.app.compare import compare_runs
    from hpcaccept.store.folder import find

    runs_dir, baselines_dir = paths(**options)
    found = compare_runs(find(runs_dir, earlier), find(runs_dir, later), baselines_dir)
    if as_json:
        import json

        from hpcaccept.serial import to_plain

        click.echo(json.dumps(to_plain(found), ensure_ascii=False, indent=1))
    else:
        from rich.console import Console

        from hpcaccept.report.views.comparison import render_comparison

        Console(highlight=False).print(render_comparison(found))
    return found.exit_code
