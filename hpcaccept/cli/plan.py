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
    from hpcaccept.app.budget.order import Asked, nodes_not_tested, reckon
    from hpcaccept.app.budget.said import as_json as for_programs
    from hpcaccept.app.budget.said import in_words
    from hpcaccept.config.settings import load_settings

    nodes = asked_nodes(options, all_nodes=all_nodes)
    layered = load_settings(options, suite_options=suite_options(skip, changes, search))
    fit, left_out = reckon(layered, Asked(only, nodes, budget or ""))
    if as_json:
        click.echo(for_programs(fit, left_out), nl=False)
        return 0
    click.echo("\n\n".join(filter(None, (in_words(fit, explain=explain), nodes_not_tested(left_out)))))
    return 0
