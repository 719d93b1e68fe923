"""Turns ``gpu_ram>7 verified=any geolocation in [SE,NO]`` into the query that Vast.ai takes.

::

    query      = comparison comparison …
    comparison = FIELD OPERATOR VALUE
    operator   = = == != > >= < <= | eq neq gt gte lt lte in nin notin "not in" "not eq"
    value      = word | "quoted words" | [value, value, …] | any

The language is that of the official client (``vastai`` 1.9.1, ``parse_query``): an underscore in a value becomes a blank, ``any``, ``?`` and
``*`` remove a filter. It is stricter where that one guesses: unknown fields, values of another type, a comparison that stands twice, and
text that is left over are refused, and a name can only become the key of a field. Numbers travel as numbers, as the API's document shows them;
the official client sends most of them as text.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from hpcaccept.errors import UsageError, nearest
from hpcaccept.provider.vast.fields import Field, field_of

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What holds unless the query names the field: those of the official Python client.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "verified": {"eq": True},
    "external": {"eq": False},
    "rentable": {"eq": True},
    "rented": {"eq": False},
}
#: As typed → as sent.
OPERATORS = {
    ">=": "gte", ">": "gt", "<=": "lte", "<": "lt", "!=": "neq", "==": "eq", "=": "eq",
    "gte": "gte", "gt": "gt", "lte": "lte", "lt": "lt", "neq": "neq", "noteq": "neq", "not eq": "neq", "eq": "eq",
    "notin": "notin", "not in": "notin", "nin": "notin", "in": "in",
}  # fmt: skip
_EQUAL = ("eq", "neq")
_OF_KIND = {"boolean": _EQUAL, "text": (*_EQUAL, "in", "notin")}
_WORD_OPERATORS = "not +eq|not +in|noteq|notin|neq|nin|gte|lte|gt|lt|eq|in"
_FIELD = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)")
_OPERATOR = re.compile(rf"\s*([=><!]+)\s*|\s+({_WORD_OPERATORS})(?=[\s\[\"'])\s*")
_VALUE = re.compile(r"(\[[^\[\]]*\])|\"([^\"]*)\"|'([^']*)'|([^\s\[\]\"']+)")
_ITEM = re.compile(r"\s*(?:\"([^\"]*)\"|'([^']*)'|([^,\"']*?))\s*(?:,|$)")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?")
_VERSION = re.compile(r"(\d{1,3})(?:\.(\d{1,3}))?(?:\.(\d{1,3}))?")
_ANY = ("any", "?", "*")
_LITERALS = {"true": True, "True": True, "false": False, "False": False}
_NOTHING = ("null", "None")
#: Characters: no list of ids that somebody types comes near it.
_LONGEST = 20_000


def parse_query(text: str, defaults: Mapping[str, Mapping[str, Any]] = DEFAULTS) -> dict[str, dict[str, Any]]:
    """Filters by field, as Vast.ai takes them.

    Args:
        text: of the query; empty: the defaults alone.
        defaults: each holds unless the text names its field.

    Raises:
        UsageError: the text is no query; the message has the place.
    """
    if len(text) > _LONGEST:
        raise UsageError(f"The query has {len(text):,} characters, expected at most {_LONGEST:,}.")
    found: dict[str, dict[str, Any]] = {}
    removed: set[str] = set()
    at = 0
    while text[at:].strip():
        field, operator, raw, at = _comparison(text, at)
        if operator in _EQUAL and raw in _ANY:
            if operator != "eq":
                raise UsageError(f"{field.name} != any: any means no filter, and takes =.")
            removed.add(field.name)
            continue
        if operator in found.setdefault(field.name, {}):
            raise UsageError(f"The query compares {field.name} twice by {operator!r}.", "Keep one of them.")
        found[field.name][operator] = _value_of(field, operator, raw)
    if both := removed & set(found):
        raise UsageError(f"The query says {min(both)}=any and compares {min(both)} with a value.", "Keep one of them.")
    kept = {name: dict(filters) for name, filters in defaults.items() if name not in removed and name not in found}
    return kept | found


def _comparison(text: str, at: int) -> tuple[Field, str, str | list[str], int]:
    """Field, operator as sent, raw value, and where the next comparison begins."""
    name = _FIELD.match(text, at)
    if not name:
        raise UsageError(f"The query cannot be read from here: {_shown(text, at)!r}.", "Expected FIELD OPERATOR VALUE.")
    field = field_of(name[1])
    sign = _OPERATOR.match(text, name.end())
    operator = re.sub(" +", " ", sign[1] or sign[2]) if sign else ""
    if not sign or operator not in OPERATORS:
        after = _shown(text, name.end())
        known = "= != > >= < <= in notin"
        raise UsageError(
            f"After {name[1]} the query has {after!r}, expected one of {known}, and a value.",
            "Quote the whole query: the shell reads > and < itself.",
        )
    value = _VALUE.match(text, sign.end())
    if not value or not (raw := _raw(value)):
        raise UsageError(
            f"{name[1]} {operator} has no value, found {_shown(text, sign.end())!r}.",
            "Quote the whole query: the shell reads > and < itself.",
        )
    end = value.end()
    if end < len(text) and not text[end].isspace():
        raise UsageError(f"The query goes on without a blank: {_shown(text, value.start())!r}.")
    return field, OPERATORS[operator], raw, end


def _raw(value: re.Match[str]) -> str | list[str]:
    """Without quotes; items of a list apart."""
    if value[1] is None:
        return str(next(each for each in value.groups()[1:] if each is not None)).strip()
    inside, at, items = value[1][1:-1], 0, []
    while at < len(inside):
        item = _ITEM.match(inside, at)
        if not item:
            raise UsageError(f"Invalid list {value[1][:80]!r}.", "Expected [A,B,C].")
        items.append(next(each for each in item.groups() if each is not None).strip())
        at = item.end()
    return [each for each in items if each]


def _value_of(field: Field, operator: str, raw: str | list[str]) -> Any:
    allowed = _OF_KIND.get(field.kind)
    if allowed and operator not in allowed:
        raise UsageError(
            f"{field.name} is {_noun(field)} and cannot be compared by {operator!r}.", f"Use {_words(allowed)}."
        )
    if operator in ("in", "notin"):
        items = raw if isinstance(raw, list) else [each.strip() for each in raw.split(",") if each.strip()]
        return [_typed(field, each) for each in items]
    if isinstance(raw, list):
        raise UsageError(f"{field.name} is compared with a list by {operator!r}.", "A list takes in or notin.")
    if raw in _NOTHING and operator in _EQUAL:
        return None
    return _typed(field, raw)


def _typed(field: Field, text: str) -> Any:
    if any(ord(char) < 32 or 0x7F <= ord(char) <= 0x9F for char in text):
        raise UsageError(f"The value of {field.name} has control characters.")
    if field.kind == "boolean":
        if text not in _LITERALS:
            raise UsageError(f"{field.name}: found {text!r}, expected true, false or any. {_guess(text)}".rstrip())
        return _LITERALS[text]
    if field.kind == "text":
        return text.replace("_", " ")
    if field.kind == "version":
        return _version(field, text)
    return _number(field, text)


def _number(field: Field, text: str) -> float:
    """In the unit that is sent."""
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise UsageError(f"{field.name}: found {text!r}, expected a number ({field.about}).")
    if (field.least is not None and value < field.least) or (field.most is not None and value > field.most):
        raise UsageError(f"{field.name}: found {text}, which it never is: {field.about}.")
    if field.kind == "integer" and value != int(value):
        raise UsageError(f"{field.name}: found {text}, expected a whole number ({field.about}).")
    scaled = value * field.factor
    return int(scaled) if scaled == int(scaled) and abs(scaled) < 2**53 else scaled


def _version(field: Field, text: str) -> int:
    """``535.86.05`` → 535086005: Vast.ai compares drivers as numbers of three digits for each part."""
    parts = _VERSION.fullmatch(text)
    if not parts:
        raise UsageError(f"{field.name}: found {text!r}, expected a version such as 535.86.05.")
    return int("".join((each or "0").zfill(3) for each in parts.groups()))


def _guess(text: str) -> str:
    guess = nearest(text.lower(), ("true", "false", "any"))
    return guess if guess.startswith("Did you mean") else ""


def _noun(field: Field) -> str:
    return {"boolean": "true or false", "text": "a text"}.get(field.kind, "a number")


def _words(operators: tuple[str, ...]) -> str:
    signs = {"eq": "=", "neq": "!=", "in": "in", "notin": "notin"}
    return ", ".join(signs[each] for each in operators)


def _shown(text: str, at: int) -> str:
    return text[at:].strip()[:60]
