"""Turns frozen dataclasses into JSON and back, strictly.

Unknown keys are refused, so that a file of another version is an error with a name, not a silent default; so are values
of another type (an int may stand for a float). A dataclass may name keys of older files (``FORMER``: old name → field, or empty
for what is no longer kept): they are read, and never written. By hand, because a general converter (cattrs) costs every process of a run
50 ms of imports and generated code: a fifth of what hpcaccept takes to start four ranks on two cores.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
import reprlib
import types
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Reader = Callable[[Any], Any]

T = TypeVar("T")


class _Misfit(ValueError):
    """A plain value that does not fit, and on the way up the place where it stands."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
        self.place = ""

    def __str__(self) -> str:
        return f"{self.what} @ ${self.place}"


#: Digits of a whole number: what 64 bits can hold, and its sign.
_MOST_DIGITS = 20
_PLAIN = frozenset((str, int, float, bool, type(None)))
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 120


def loads(text: str | bytes) -> Any:
    """Plain values of JSON, strictly: what two readers could understand in two ways is refused.

    Raises:
        ValueError: it is no JSON or no UTF-8, nested too deeply, has a key twice, or a number that is none (NaN, 1e400) or has more
            than 64 bits.
    """
    text = text.decode("utf-8") if isinstance(text, bytes) else text
    try:
        plain = _QUICK.decode(text)
        if text.count('"') != 2 * _texts(plain):  # odd, or merely with a quotation mark in a text
            plain = _STRICT.decode(text)
        if "\\u" in text:  # an escaped lone surrogate could be written nowhere: UnicodeEncodeError, a ValueError
            json.dumps(plain, ensure_ascii=False).encode()
        return plain
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _texts(plain: Any) -> int:
    """How many keys and texts a value has; below zero where a number is infinite.

    A text of JSON has two quotation marks for each, more where one stands in a text, and more where a key is there twice, of which one is kept.
    So a count tells what else would take a call for each table and number, and twice the time.
    """
    inside: list[Any] = list(plain) if isinstance(plain, list) else [plain]
    keys = 0
    if set(map(type, inside)) == {dict}:
        # A table; or what journals are full of, samples, each of them one.
        keys = sum(map(len, inside))
        inside = list(itertools.chain.from_iterable(map(dict.values, inside)))
    kinds = list(map(type, inside))
    if math.inf in inside or -math.inf in inside:
        return -1
    found = keys + kinds.count(str)
    if dict in kinds or list in kinds:
        counts = [_texts(thing) for thing in inside if type(thing) in (dict, list)]
        return -1 if min(counts) < 0 else found + sum(counts)
    return found


def _refuse(constant: str) -> None:
    """NaN and Infinity are no JSON and no measurement."""
    raise ValueError(f"{constant} is not a number")


def _finite(text: str) -> float:
    """``1e400`` is infinite, and that is no measurement either."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is not a number")
    return number


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"{text[:40]}… has {len(text)} digits, expected at most {_MOST_DIGITS}")
    return int(text)


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice[:80]!r} is there twice")
    return table


#: Making one takes longer than reading or writing a line.
_LINE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_QUICK = json.JSONDecoder(parse_constant=_refuse, parse_int=_whole)
_STRICT = json.JSONDecoder(
    parse_constant=_refuse, parse_float=_finite, parse_int=_whole, object_pairs_hook=_each_key_once
)


def to_plain(thing: object) -> Any:
    """A dataclass as dicts, lists, strings and numbers, every field present."""
    return _plain(thing, omit=False)


def dumps(thing: object) -> str:
    """One line of JSON without fields at their default. NaN is refused: what is not a number must not travel as one."""
    line = _LINE.encode(_plain(thing, omit=True))
    # Bytes of the environment that are not UTF-8 are lone surrogates here, which no file takes.
    return line.encode("utf-8", "replace").decode()


def from_plain(plain: object, kind: type[T]) -> T:
    """A dataclass of ``kind`` from what ``to_plain`` gave.

    Raises:
        ValueError: the first thing that does not fit, and its place as in ``$.samples[3].value``.
    """
    thing: T = _reader(kind)(plain)  # type: ignore[arg-type]  # a type is hashable
    return thing


def _plain(thing: Any, *, omit: bool) -> Any:
    kind = type(thing)
    if kind in _PLAIN:
        return thing
    if dataclasses.is_dataclass(kind):
        pairs = [(name, getattr(thing, name), default) for name, default in _defaults(kind)]
        # Most fields are plain, and need no call.
        return {
            name: value if type(value) in _PLAIN else _plain(value, omit=omit)
            for name, value, default in pairs
            if not (omit and value == default)
        }
    if isinstance(thing, dict):
        return {key: value if type(value) in _PLAIN else _plain(value, omit=omit) for key, value in thing.items()}
    if isinstance(thing, (list, tuple, frozenset)):
        return [_plain(value, omit=omit) for value in thing]
    return thing.value if isinstance(thing, Enum) else thing


@functools.cache
def _defaults(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Each field with its default; ``MISSING`` equals nothing."""
    made = dataclasses.MISSING
    return tuple(
        (f.name, f.default if f.default_factory is made else f.default_factory()) for f in dataclasses.fields(kind)
    )


@functools.cache
def _reader(hint: Any) -> Reader:
    """What reads a value of this type; made once for each type."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return lambda plain: plain
    if dataclasses.is_dataclass(hint):
        return _fields_reader(hint)
    if origin in (tuple, frozenset, list):
        return _list_reader(_reader(args[0]), origin)
    if origin is dict:
        return _dict_reader(_reader(args[1]))
    if origin is Literal:
        return _choice_reader(args)
    if origin in (Union, types.UnionType):
        (some,) = (_reader(arg) for arg in args if arg is not type(None))
        return lambda plain: None if plain is None else some(plain)
    return _scalar_reader(hint)


def _scalar_reader(kind: type) -> Reader:
    def read(plain: Any) -> Any:
        if type(plain) is kind:
            return plain
        if kind is float and type(plain) is int:
            try:
                return float(plain)
            except OverflowError:
                raise _Misfit(f"invalid value of {plain.bit_length()} bits, expected a number") from None
        raise _Misfit(f"invalid value {_SHORT.repr(plain)}, expected {kind.__name__}")

    return read


def _choice_reader(choices: tuple[Any, ...]) -> Reader:
    def read(plain: Any) -> Any:
        if plain in choices:
            return plain
        raise _Misfit(f"invalid value {_SHORT.repr(plain)}, expected one of {choices}")

    return read


def _list_reader(item: Reader, make: Callable[[list[Any]], Any]) -> Reader:
    def read(plain: Any) -> Any:
        if not isinstance(plain, (list, tuple)):
            raise _Misfit(f"invalid value {_SHORT.repr(plain)}, expected a list")
        try:
            return make([item(value) for value in plain])
        except _Misfit as fault:
            return _located(fault, item, enumerate(plain), "[{}]")

    return read


def _dict_reader(item: Reader) -> Reader:
    def read(plain: Any) -> Any:
        if not isinstance(plain, dict):
            raise _Misfit(f"invalid value {_SHORT.repr(plain)}, expected a table")
        try:
            return {key: item(value) for key, value in plain.items()}
        except _Misfit as fault:
            return _located(fault, item, plain.items(), "[{!r}]")

    return read


def _located(fault: _Misfit, item: Reader, pairs: Any, form: str) -> Any:
    """Find out which one did not fit: only then is the time spent."""
    for place, value in pairs:
        try:
            item(value)
        except _Misfit as again:
            again.place = form.format(place if isinstance(place, int) else place[:80]) + again.place
            raise again from None
    raise fault


def _renamed(plain: dict[str, Any], former: Mapping[str, str]) -> dict[str, Any]:
    now = {former.get(name, name): value for name, value in plain.items()}
    now.pop("", None)
    return now


def _fields_reader(kind: Any) -> Reader:
    hints = get_type_hints(kind)
    readers = {f.name: _reader(hints[f.name]) for f in dataclasses.fields(kind)}
    # Most fields are plain, and most values right: those are seen without a call (twice as fast for 200,000 records).
    plain_kinds = {name: hint for name, hint in hints.items() if hint in (str, int, float, bool)}
    needed = frozenset(name for name, default in _defaults(kind) if default is dataclasses.MISSING)
    former: Mapping[str, str] = getattr(kind, "FORMER", {})

    def read(plain: Any) -> Any:
        if not isinstance(plain, dict):
            raise _Misfit(f"invalid value {_SHORT.repr(plain)}, expected a table for {kind.__name__}")
        if not former.keys().isdisjoint(plain):
            plain = _renamed(plain, former)
        values = dict(plain)
        for name, value in plain.items():
            if type(value) is plain_kinds.get(name):
                continue
            try:
                values[name] = readers[name](value)
            except KeyError:
                raise _Misfit(f"unknown key {_SHORT.repr(name)} in {kind.__name__}") from None
            except _Misfit as fault:
                fault.place = f".{name}{fault.place}"
                raise
        if missing := sorted(needed - values.keys()):
            raise _Misfit(f"key {missing[0]!r} is missing in {kind.__name__}")
        try:
            return kind(**values)
        except ValueError as fault:
            raise _Misfit(f"invalid value: {fault}") from None

    return read
