"""docs/reference/baseline-coverage.md is what the shipped baselines hold."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.app.baseline.build_shipped import shipped_baselines
from hpcaccept.cli import main
from hpcaccept.report.views.baseline_coverage import coverage_page
from hpcaccept.store.baseline_file import SHIPPED, read_generations

if TYPE_CHECKING:
    import pytest

PAGE = Path(__file__).parents[3] / "docs/reference/baseline-coverage.md"


def test_the_page_of_coverage_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["baseline", "coverage"]) == 0
    found, expected = PAGE.read_text("utf-8"), capsys.readouterr().out
    difference = "".join(difflib.unified_diff(found.splitlines(True), expected.splitlines(True), "docs", "code"))
    assert not difference, f"{difference}\nAccept it: hpcaccept baseline coverage > docs/reference/baseline-coverage.md"


def test_what_the_page_says_is_in_the_files() -> None:
    files = [read_generations(file)[0] for file in sorted(SHIPPED.glob("*.h5"))]
    assert {one.model: one.entries for one in files} == {one.model: one.entries for one in shipped_baselines()}


def test_a_cell_is_a_limit_the_floor_or_nothing() -> None:
    lines = PAGE.read_text("utf-8").splitlines()
    assert "| NVIDIA B200 | 1000 W | floor | 1,281 | floor | 659 | floor | floor |" in lines
    assert "| NVIDIA A10G | any | – | – | – | – |" in lines
    assert any(line.startswith("| NVIDIA B300 SXM6 AC | 1100 W | 719 (1GiB), 822 (16GiB) |") for line in lines)
    assert "0 models, 0 of them with limits" in coverage_page([])
