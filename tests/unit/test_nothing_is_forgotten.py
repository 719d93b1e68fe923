"""Whoever adds a check or a format is told what else belongs to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcaccept import checks, container
from hpcaccept.config.suites import built_in, read_suite
from hpcaccept.plan.resolve import resolve_suite
from hpcaccept.report import formats

ROOT = Path(__file__).parents[2]


def in_suites() -> set[str]:
    return {spec.name.partition(":")[0] for name in built_in() for spec in resolve_suite(read_suite(name)).checks}


@pytest.mark.parametrize("name", checks.names())
def test_a_check_is_in_a_suite(name: str) -> None:
    assert name in in_suites(), f"no file of hpcaccept/config/suites has a table [checks.{name}]"


@pytest.mark.parametrize("name", checks.names())
def test_a_check_has_a_test(name: str) -> None:
    file = ROOT / "tests" / "unit" / "checks" / f"test_{name}.py"
    assert file.exists(), f"write {file.relative_to(ROOT)}: what the check finds, and what it must not blame"


@pytest.mark.parametrize("name", checks.names())
def test_a_check_stands_in_the_table_of_the_readme(name: str) -> None:
    table = (ROOT / "README.md").read_text("utf-8").partition("## What is checked")[2].partition("\n## ")[0]
    assert f"`{name}`" in table, f"add `{name}` to README's table under 'What is checked'"


@pytest.mark.parametrize("name", checks.names())
def test_a_check_shows_a_value_at_the_terminal(name: str) -> None:
    shown = [metric.name for metric in checks.load(name).metrics if metric.headline]
    assert shown, f"no metric of {name} has headline=True: the first page of a report would say nothing of it"


@pytest.mark.parametrize("name", formats.names())
def test_a_format_stands_in_the_table_of_the_reports_page(name: str) -> None:
    line = f"| `{name}` | {formats.about(name)} |"
    assert line in (ROOT / "docs/how-to/reports.md").read_text("utf-8"), (
        f"docs/how-to/reports.md lacks the line: {line}"
    )


@pytest.mark.parametrize("name", formats.names())
def test_a_format_is_tried_by_name(name: str) -> None:
    folder = ROOT / "tests" / "unit" / "report"
    named = [file for file in folder.rglob("test_*.py") if f'"{name}"' in file.read_text("utf-8")]
    assert named, f"write {folder.relative_to(ROOT)}/formats/test_{name.replace('-', '_')}.py"


@pytest.mark.parametrize("name", sorted(set(container.names()) - {"none"}))
def test_a_container_runtime_stands_in_the_docs(name: str) -> None:
    pages = [page for page in (ROOT / "docs/how-to").glob("*.md") if page.name != "extend.md"]
    words = (f"`{name}`", f"container-runtime {name}")
    told = [page for page in pages if page.stem == name or any(word in page.read_text("utf-8") for word in words)]
    assert told, f"no page of docs/how-to says what --container-runtime {name} is for"


@pytest.mark.parametrize("name", sorted(set(container.names()) - {"none"}))
def test_a_container_runtime_is_tried_by_name(name: str) -> None:
    folder = ROOT / "tests" / "unit" / "container"
    named = [file for file in folder.glob("test_*.py") if f'"{name}' in file.read_text("utf-8")]
    assert named, (
        f"write {folder.relative_to(ROOT)}/test_{name}.py: how it enters, and each of its failures by its own words"
    )
