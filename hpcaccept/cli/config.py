"""``hpcaccept config``."""

from __future__ import annotations

from dataclasses import fields

import click

from hpcaccept.config.settings import PROJECT_FILE, SYSTEM_FILE, load_settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def config(as_json: bool) -> None:
    """Show every setting, its value, and the place it came from.

    \b
    Later places win:
      default, /etc/hpcaccept.toml, ~/.config/hpcaccept/config.toml, ./hpcaccept.toml,
      HPCACCEPT_* in the environment, options of the command line
    """
    layered = load_settings({})
    rows = [(f.name, getattr(layered.settings, f.name), layered.origin[f.name]) for f in fields(layered.settings)]
    if as_json:
        import json

        click.echo(json.dumps({name: {"value": value, "origin": origin} for name, value, origin in rows}, indent=1))
        return
    for name, value, origin in rows:
        click.echo(f"{name:<18} {value!r:<28} {origin}")
    if all(origin == "default" for _, _, origin in rows):
        click.echo(
            f"\nNothing is set yet. Put settings into {PROJECT_FILE}, ~/.config/hpcaccept/config.toml or {SYSTEM_FILE}."
        )
