"""Results of long tables, kept line by line: what is interrupted goes on where it was."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def keep(into: Path | None, key: list[str], result: Any) -> None:
    """Append the result of one run of a cell; without a file nothing is kept."""
    if into:
        with into.open("a", encoding="utf-8") as file:
            file.write(json.dumps([key, result]) + "\n")


def kept(into: Path | None) -> list[tuple[list[str], Any]]:
    """(key of the cell, result) of the runs that a file has."""
    return [json.loads(line) for line in into.read_text("utf-8").splitlines()] if into and into.exists() else []
