"""The files of hpcaccept that a site uses itself: what they are for, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpcaccept.config.suites import BUILT_IN
from hpcaccept.errors import UsageError, nearest
from hpcaccept.store.shipped import SHARE


@dataclass(frozen=True)
class Shipped:
    """One folder.

    Attributes:
        name: what it is asked for by.
        about: what it holds.
        path: absolute, where it lies.
    """

    name: str
    about: str
    path: Path


def shipped() -> tuple[Shipped, ...]:
    """Every folder that comes with hpcaccept, in a checkout as from a wheel."""
    return (
        Shipped("suites", "built-in suites, to copy and change", BUILT_IN),
        Shipped("baselines", "published figures of GPU models", SHARE / "baselines"),
        Shipped("sbatch", "scripts for sites that only use sbatch", SHARE / "sbatch"),
        Shipped("enroot", "configuration, hooks and import for Enroot", SHARE / "enroot"),
        Shipped("azure", "configurations and run book for Azure", SHARE / "azure"),
        Shipped("monitoring", "dashboard for Grafana and alerts for Prometheus", SHARE / "monitoring"),
        Shipped("docs", "this version's documentation", SHARE / "docs"),
    )


def shipped_as(name: str) -> Shipped:
    """The folder of that name.

    Raises:
        UsageError: there is none.
    """
    known = {each.name: each for each in shipped()}
    if name not in known:
        raise UsageError(f"hpcaccept files: found {name!r}, expected the name of a folder.", nearest(name, known))
    return known[name]
