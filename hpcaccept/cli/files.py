"""``hpcaccept files``."""

from __future__ import annotations

import click


@click.command()
@click.argument("name", default="", required=False, metavar="[NAME]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def files(name: str, as_json: bool) -> None:
    """Print where suites, baselines, sbatch scripts, Enroot files, dashboard and docs are.

    \b
    With a NAME the path alone is printed, for use in a shell:
      sbatch -N 16 "$(hpcaccept files sbatch)/multi_node_ddp.sbatch"
      less "$(hpcaccept files docs)/how-to/sbatch.md"
    """
    from hpcaccept.app.files import shipped, shipped_as

    asked = (shipped_as(name),) if name else shipped()
    if as_json:
        import json

        click.echo(json.dumps({each.name: {"about": each.about, "path": str(each.path)} for each in asked}, indent=1))
    elif name:
        click.echo(asked[0].path)
    else:
        for each in asked:
            click.echo(f"{each.name:<10} {each.path}")
