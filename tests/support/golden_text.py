"""How is a text held against what was accepted? A failure prints the difference and the command that accepts it."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "golden"
ACCEPT = "HPCACCEPT_ACCEPT"


def assert_golden(name: str, text: str) -> None:
    """The text equals tests/golden/<name>; with HPCACCEPT_ACCEPT=1 it becomes what is accepted."""
    file = FOLDER / name
    if os.environ.get(ACCEPT):
        file.write_text(text)
    accepted = file.read_text() if file.exists() else ""
    lines = difflib.unified_diff(accepted.splitlines(True), text.splitlines(True), f"tests/golden/{name}", "now")
    difference = "".join(lines)
    test = os.environ.get("PYTEST_CURRENT_TEST", "").split(" ")[0]
    assert not difference, f"\n{difference}\nAccept it: {ACCEPT}=1 python -m pytest {test!r}"
