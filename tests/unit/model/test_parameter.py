"""What a parameter may be is declared beside its default, and said in words where it is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from hpcaccept.errors import UsageError
from hpcaccept.model.parameter import Bounds, param, parameters


@dataclass(frozen=True)
class Declared:
    blocks: int = param(5, at_least=1, at_most=100)
    share: float = param(0.5, above=0, at_most=1, unit="share")
    pixels: int = param(0, also=(0,), at_least=32)
    source: str = param("", one_of=("", "kmsg", "dmesg"), help="Where the log is read.")
    sizes: tuple[int, ...] = param((), at_least=8, multiple_of=8, unit="B")
    words: tuple[str, ...] = param(("a",), matching="[a-z]+", not_empty=True)
    search: bool = False


def fitted(key: str, value: object) -> Any:
    return parameters(Declared)[key].fitted(value, "mine.toml: ", "declared")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("blocks", 1, 1),
        ("blocks", 100, 100),
        ("share", 1, 1.0),
        ("pixels", 0, 0),
        ("pixels", 32, 32),
        ("source", "dmesg", "dmesg"),
        ("sizes", [], ()),
        ("sizes", [8, 64], (8, 64)),
        ("words", ["b", "c"], ("b", "c")),
        ("search", True, True),
    ],
)
def test_what_is_allowed_becomes_the_kind_of_the_field(key: str, value: object, expected: object) -> None:
    found = fitted(key, value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("blocks", 0, "is 0, expected from 1 to 100."),
        ("blocks", 101, "is 101, expected from 1 to 100."),
        ("blocks", 5.0, "is 5.0, expected int like 5."),
        ("blocks", True, "is True, expected int like 5."),
        ("share", 0.0, "is 0.0, expected above 0 and at most 1 share."),
        ("share", float("nan"), "is nan, expected a finite number, above 0 and at most 1 share."),
        ("share", 10**400, "is inf, expected a finite number, above 0 and at most 1 share."),
        ("pixels", 31, "is 31, expected 0, or at least 32."),
        ("source", "syslog", "is 'syslog', expected one of '', 'kmsg', 'dmesg'."),
        ("sizes", [8, 12], "has 12 at place 2, expected at least 8 B, a multiple of 8."),
        ("sizes", ["8"], "is ['8'], expected list of int."),
        ("sizes", 8, "is 8, expected list of int."),
        ("words", [], "is empty, expected at least one: a text that matches [a-z]+."),
        ("words", ["b;rm"], "has 'b;rm' at place 1, expected a text that matches [a-z]+."),
    ],
)
def test_what_is_not_allowed_is_refused_with_what_was_found_and_expected(key: str, value: object, words: str) -> None:
    with pytest.raises(UsageError) as fault:
        fitted(key, value)
    assert fault.value.message == f"mine.toml: parameter '{key}' of check 'declared' {words}"


def test_the_remedy_can_be_typed() -> None:
    with pytest.raises(UsageError) as fault:
        fitted("words", [])
    assert fault.value.remedy == """Its default: words = ["a"] in the suite, or --set 'declared.words=["a"]'."""
    with pytest.raises(UsageError) as fault:
        fitted("source", "dmseg")
    assert fault.value.remedy.startswith("Did you mean 'dmesg'? Its default: source = ")


def test_a_default_that_is_not_allowed_is_a_mistake_of_the_check() -> None:
    with pytest.raises(ValueError, match="the default 0 is not allowed: is 0, expected at least 1"):
        param(0, at_least=1)


@pytest.mark.parametrize(
    ("bounds", "closed"),
    [
        (Bounds(at_least=1), False),
        (Bounds(at_least=1, at_most=2), True),
        (Bounds(above=0, below=1), True),
        (Bounds(one_of=(1, 2)), True),
        (Bounds(at_most=2), False),
    ],
)
def test_bounds_are_closed_when_both_sides_are_named(bounds: Bounds, closed: bool) -> None:
    assert bounds.closed is closed
