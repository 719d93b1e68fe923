"""User-visible sentences are those of a native-speaking engineer: turns of phrase that are not stay out (docs/reference/glossary.md)."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
#: Turn of phrase → what an engineer writes.
FOREIGN = {
    r"(?<![Tt]here )\b(?:is|are) no (?!longer\b|such\b)\w": "'is not a …'",
    r"\b(?:is|are) none of\b": "'is not one of'",
    r"\bwhoever\b": "name the person or program",
    r"\btold\b": "'reported', 'stated', 'asked'",
    r"\btells? of\b": "'reports', 'shows'",
    r"\bleft no word\b": "'wrote no record'",
    r"\bdo(?:es)? not begin\b": "'has not started'",
}


def sentences(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every text of a module that is not a docstring and has a blank in it."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docs
            and " " in node.value.strip()
        ):
            yield node.lineno, node.value


@functools.cache
def every_sentence() -> list[tuple[str, str]]:
    """Place and text of each in the package."""
    return [
        (f"{file.relative_to(ROOT)}:{line}", text)
        for file in sorted((ROOT / "hpcaccept").rglob("*.py"))
        for line, text in sentences(ast.parse(file.read_text("utf-8")))
    ]


@pytest.mark.parametrize("phrase", FOREIGN)
def test_foreign_turns_of_phrase_stay_out_of_what_people_read(phrase: str) -> None:
    found = [f"{place}: {text[:100]!r}" for place, text in every_sentence() if re.search(phrase, text)]
    assert found == [], f"write {FOREIGN[phrase]}"


def test_the_rule_sees_what_it_should() -> None:
    module = ast.parse('"""It is no list."""\ndef f():\n    """Whoever."""\n    return f"{x} is no list"\n')
    assert [text for _, text in sentences(module)] == [" is no list"]


def test_a_module_says_first_what_it_does_and_asks_nothing() -> None:
    """The first paragraph of its docstring is a statement."""
    files = sorted((ROOT / "hpcaccept").rglob("*.py"))
    first = {file: (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").split("\n\n")[0] for file in files}
    assert [f"{file.relative_to(ROOT)}: {text}" for file, text in first.items() if "?" in text] == []
