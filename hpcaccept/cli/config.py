"""``hpcaccept config``."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click

from hpcaccept.config.settings import PROJECT_FILE, SYSTEM_FILE, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcaccept.config.settings import Layered

#: Section, name, value, origin.
Row = tuple[str, str, Any, str]


@click.command()
@click.option(
    "-s", "--suite", metavar="SUITE", help="Show this suite too, with every parameter, limit and rule in force."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def config(suite: str | None, as_json: bool) -> None:
    """Show every setting, its value, and the place it came from.

    \b
    Later places win:
      default, /etc/hpcaccept.toml, ~/.config/hpcaccept/config.toml, ./hpcaccept.toml,
      HPCACCEPT_* in the environment, options of the command line

    The files may also hold a site's changes to suites: tables [checks.NAME], [limits."CHECK.METRIC"] and [peers] apply
    to every suite that has such a check; enabled = false switches a check off. [nightly] is what 'hpcaccept nightly' asks.
    """
    layered = load_settings({})
    rows = [("", f.name, getattr(layered.settings, f.name), layered.origin[f.name]) for f in fields(layered.settings)]
    rows += [
        ("nightly", f.name, getattr(layered.nightly, f.name), layered.nightly_origin[f.name])
        for f in fields(layered.nightly)
    ]
    if suite:
        rows += _suite_rows(suite, layered)
    if as_json:
        import json

        click.echo(json.dumps(_tables(rows), indent=1))
        return
    section = ""
    for place, name, value, origin in rows:
        if place != section:
            click.echo(f"\n[{place}]")
            section = place
        if name:
            click.echo(f"{name:<18} {value!r:<28} {origin}")
    if all(origin == "default" for place, _, _, origin in rows if place in ("", "nightly")) and not layered.overrides:
        click.echo(
            f"\nNothing is set yet. Put settings into {PROJECT_FILE}, ~/.config/hpcaccept/config.toml or {SYSTEM_FILE}."
        )


def _tables(rows: list[Row]) -> dict[str, Any]:
    """Settings by name; a suite's sections as tables beside them."""
    found: dict[str, Any] = {}
    for section, name, value, origin in rows:
        table = found.setdefault(section, {}) if section else found
        if name:
            table[name] = {"value": value, "origin": origin}
    return found


def _suite_rows(name: str, layered: Layered) -> Iterator[Row]:
    """Every parameter of every check, every limit and the peer rule, with their origins."""
    from hpcaccept import checks
    from hpcaccept.config.suites import read_suite
    from hpcaccept.plan.override import overridden
    from hpcaccept.plan.resolve import resolve_suite

    text = read_suite(name)
    suite = resolve_suite(text, layered.overrides)
    merged, origins = overridden(text, layered.overrides)
    yield f"suite {suite.name}", "about", suite.about, suite.source
    yield f"suite {suite.name}", "baseline", suite.baseline, suite.source
    specs = {spec.name: spec for spec in suite.checks}
    for check in merged.tables["checks"]:
        section = f"checks.{check}" if ":" not in check else f'checks."{check}"'
        spec = specs.get(check)
        if spec is None:
            yield section, "enabled", False, origins["checks", check, "enabled"]
            continue
        built = checks.build(check, spec.params)
        of_every = {"deadline_s": spec.deadline_s, "required": spec.required}
        for key, value in {**of_every, **{f.name: getattr(built, f.name) for f in fields(built)}}.items():
            yield section, key, value, origins.get(("checks", check, key), "default")
    for key, limit in suite.limits.items():
        for side in ("lower", "upper", "unit"):
            if (bound := getattr(limit, side)) is not None:
                yield f'limits."{key}"', side, bound, origins["limits", key, side]
    for field in fields(suite.peers):
        yield "peers", field.name, getattr(suite.peers, field.name), origins.get(("peers", "", field.name), "default")
