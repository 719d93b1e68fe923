"""``hpcaccept plan``: what a run would take, find and miss; nothing is submitted."""

from __future__ import annotations

from typing import Any

import click

from hpcaccept.cli.options import asked_nodes, placement_options, run_options, runs_dir_option, suite_options


@click.command()
@run_options
@placement_options
@runs_dir_option
@click.option("--explain", is_flag=True, help="Say where each time comes from, and what more time would buy.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON: times in seconds, losses as shares.")
def plan(
    only: tuple[str, ...],
    skip: tuple[str, ...],
    changes: tuple[str, ...],
    search: bool,
    budget: str | None,
    all_nodes: bool,
    explain: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Say what a run would take, find and miss; nothing is submitted.

    Times are those of your earlier runs of the same shape: the longest of the latest five and a fifth more. Where there is none, a
    check counts with what it declares, or with its time limit. With --budget the checks that fit are chosen, as 'submit --budget' does.

    \b
    Examples:
      hpcaccept plan --nodes 64 --suite standard
      hpcaccept plan --nodes 64 --suite standard --budget 30m --explain
      hpcaccept plan --nodes idle --partition gpu --budget 40gpu-h
    """
    import json

    from hpcaccept.app.budget.order import Asked, plan_within
    from hpcaccept.app.budget.said import as_plain, in_words
    from hpcaccept.config.settings import load_settings

    nodes = asked_nodes(options, all_nodes=all_nodes)
    layered = load_settings(options, suite_options=suite_options(skip, changes, search))
    ordered = plan_within(layered, Asked(only, nodes, budget or ""), to_show=True, always=True)
    assert ordered.fit is not None
    if as_json:
        click.echo(json.dumps({**as_plain(ordered.fit), "nodes_left_out": ordered.left_out}, indent=1))
        return 0
    click.echo(in_words(ordered.fit, explain=explain))
    if ordered.left_out:
        click.echo("\n" + ordered.nodes_not_tested)
    return 0
