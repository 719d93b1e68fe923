"""Finds and reads suites: TOML tables in, plain tables out; ``plan.resolve`` gives them meaning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcaccept.config.toml import read_toml
from hpcaccept.errors import UsageError, nearest

BUILT_IN = Path(__file__).parent / "suites"


@dataclass(frozen=True)
class SuiteText:
    """A suite file as it stands.

    Attributes:
        file: its path.
        tables: as TOML gives them.
    """

    file: Path
    tables: dict[str, Any]


def built_in() -> dict[str, Path]:
    """Name → file of the suites that hpcaccept brings."""
    return {file.stem: file for file in sorted(BUILT_IN.glob("*.toml"))}


def read_suite(name: str) -> SuiteText:
    """A built-in suite by name, or any file whose name ends in ``.toml``.

    Raises:
        UsageError: there is neither; the message names the nearest suite.
    """
    file = Path(name) if name.endswith(".toml") else built_in().get(name)
    if file is None:
        known = nearest(name, built_in())
        raise UsageError(f"There is no suite {name!r}.", f"{known} Or give the path of a .toml file.")
    return SuiteText(file, read_toml(file))
