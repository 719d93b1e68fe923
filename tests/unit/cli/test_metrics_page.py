"""docs/reference/metrics.md is what the checks declare."""

from __future__ import annotations

import difflib
from pathlib import Path

from hpcaccept.cli.checks import metrics_page

PAGE = Path(__file__).parents[3] / "docs/reference/metrics.md"


def test_the_page_of_metrics_is_up_to_date() -> None:
    found, expected = PAGE.read_text("utf-8"), metrics_page()
    difference = "".join(difflib.unified_diff(found.splitlines(True), expected.splitlines(True), "docs", "code"))
    assert not difference, f"{difference}\nAccept it: python -m hpcaccept checks reference > docs/reference/metrics.md"
