"""A site's overrides of a suite: tables over tables, with the origin of each value kept.

``[checks.burn] duration_s = 60`` in ``hpcaccept.toml`` changes ``burn`` in every suite that has it, under every label;
``[checks."burn:long"]`` only that one. A check that a suite does not have is not added to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.config.suites import SuiteText
from hpcaccept.errors import UsageError, nearest
from hpcaccept.model.metric_key import MetricKey, check_of

if TYPE_CHECKING:
    from collections.abc import Sequence

#: (table, name, key) → the place it was written in, as in ("checks", "burn", "duration_s").
Origins = dict[tuple[str, str, str], str]


def overridden(text: SuiteText, overrides: Sequence[SuiteText]) -> tuple[SuiteText, Origins]:
    """The suite with later overrides over earlier ones, and where each of its values comes from.

    The tables must have their right shapes already (``plan.resolve`` checks each file by itself before).
    """
    checks = {name: dict(table) for name, table in text.tables.get("checks", {}).items()}
    limits = {key: dict(table) for key, table in text.tables.get("limits", {}).items()}
    peers = dict(text.tables.get("peers", {}))
    origins: Origins = {}
    for kind, named in (("checks", checks), ("limits", limits), ("peers", {"": peers})):
        origins.update({(kind, name, key): str(text.file) for name, table in named.items() for key in table})
    for override in overrides:
        place = str(override.file)
        for name, table in override.tables.get("checks", {}).items():
            for mine in (c for c in checks if name in (c, check_of(c))):
                checks[mine].update(table)
                origins.update({("checks", mine, key): place for key in table})
        for limit, table in override.tables.get("limits", {}).items():
            if MetricKey.parse(limit).check_name in checks:
                limits[limit] = dict(table)  # whole: half a limit of another file would be nobody's limit
                origins.update({("limits", limit, key): place for key in table})
        found = override.tables.get("peers", {})
        peers.update(found)
        origins.update({("peers", "", key): place for key in found})
    tables = {**text.tables, "checks": checks, "limits": limits, "peers": peers}
    return SuiteText(text.file, tables), origins


#: Stays in every suite that has it: what a result is bound to (driver, image, model) is known from it.
ALWAYS = "identity"


def only_these(text: SuiteText, wanted: Sequence[str]) -> tuple[SuiteText, ...]:
    """The override that switches every other check of a suite off; none where nothing is wanted in particular.

    Args:
        text: the suite.
        wanted: names of checks, each with all of its labels, or with its own (``matmul:small``).

    Raises:
        UsageError: the suite has no such check.
    """
    if not wanted:
        return ()
    names = tuple(text.tables.get("checks", {}))
    for name in wanted:
        if not any(name in (mine, check_of(mine)) for mine in names):
            raise UsageError(f"--only {name}: the suite {text.file.stem} has no such check.", nearest(name, names))
    kept = {mine for mine in names if {mine, check_of(mine)} & {*wanted, ALWAYS}}
    # A check that is switched off takes its labels with it, so those that stay are switched on after it.
    off: dict[str, dict[str, bool]] = {mine: {"enabled": False} for mine in names if mine not in kept}
    on = {mine: {"enabled": True} for mine in names if mine in kept and check_of(mine) in off}
    return (SuiteText(Path("command line"), {"checks": {**off, **on}}),)
