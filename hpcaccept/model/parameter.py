"""Declares what a parameter of a check may be: its bounds, its choices and its unit, beside its default.

``blocks: int = param(5, at_least=1, at_most=MOST_BLOCKS)`` is an ordinary field of a frozen dataclass. The bounds are
checked when the plan is made, so that a suite with ``blocks = 0`` is refused before a job exists.
"""

from __future__ import annotations

import functools
import json
import math
import re
import shlex
import sys
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from hpcaccept.errors import UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

_KEY = "hpcaccept.bounds"
#: Upper bounds that several checks share. They refuse what can only be a slip (a size in the wrong unit, a few zeros too
#: many), not what is merely large.
MOST_BLOCKS = 10_000
MOST_BYTES = 1 << 50
MOST_ROWS = 1 << 20
HOUR_S = 3600
WEEK_S = 7 * 24 * 3600


@dataclass(frozen=True)
class Bounds:
    """What a value may be; of a list, what each of its elements may be.

    Attributes:
        at_least: smallest allowed value.
        at_most: largest allowed value.
        above: every allowed value is larger.
        below: every allowed value is smaller.
        one_of: the only allowed values; empty: any within the bounds.
        also: allowed besides what the bounds allow, as in "0, or at least 32".
        multiple_of: 0: of nothing in particular.
        matching: regular expression that a text matches as a whole; empty: any text.
        not_empty: True when a list needs at least one element.
        unit: SI unit without prefix.
        help: one sentence for ``hpcaccept checks explain``, for what the manual of the check does not say.
        variants: True for a list of which each element that is asked for must get a number, or be called unsupported.
    """

    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    one_of: tuple[Any, ...] = ()
    also: tuple[Any, ...] = ()
    multiple_of: int = 0
    matching: str = ""
    not_empty: bool = False
    unit: str = ""
    help: str = ""
    variants: bool = False

    @property
    def closed(self) -> bool:
        """True when a number has a bound on both sides, or a choice."""
        low = self.at_least if self.above is None else self.above
        high = self.at_most if self.below is None else self.below
        return bool(self.one_of) or (low is not None and high is not None)

    def admit(self, value: Any) -> bool:
        """True when a value of the right kind, or an element of it, is allowed."""
        if value in self.also:
            return True
        if self.one_of:
            return value in self.one_of
        if isinstance(value, str):
            return not self.matching or re.fullmatch(self.matching, value) is not None
        return isinstance(value, bool) or self._holds(value)

    def _holds(self, number: float) -> bool:
        inside = (
            (self.at_least is None or number >= self.at_least)
            and (self.at_most is None or number <= self.at_most)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )
        return inside and not (self.multiple_of and number % self.multiple_of)

    def __str__(self) -> str:
        """What is expected, in words: ``at least 1``, ``0, or from 32 to 4096``, ``one of 'a', 'b'``."""
        return ", or ".join([*(repr(value) for value in self.also), *filter(None, [self._allowed()])])

    def _allowed(self) -> str:
        if self.one_of:
            return f"one of {', '.join(map(repr, self.one_of))}"
        if self.matching:
            return f"a text that matches {self.matching}"
        multiple = f"a multiple of {self.multiple_of}" if self.multiple_of else ""
        unit = f" {self.unit}" if self.unit else ""
        return ", ".join(filter(None, [self._range() and self._range() + unit, multiple]))

    def _range(self) -> str:
        if self.at_least is not None and self.at_most is not None:
            return f"from {_plain(self.at_least)} to {_plain(self.at_most)}"
        named = {"at least": self.at_least, "above": self.above, "at most": self.at_most, "below": self.below}
        return " and ".join(f"{word} {_plain(bound)}" for word, bound in named.items() if bound is not None)


def _plain(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


def param(
    default: T,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    one_of: tuple[Any, ...] = (),
    also: tuple[Any, ...] = (),
    multiple_of: int = 0,
    matching: str = "",
    not_empty: bool = False,
    unit: str = "",
    help: str = "",
    variants: bool = False,
) -> T:
    """A field of a check with its default and what else it may be; see ``Bounds`` for the arguments.

    Raises:
        ValueError: the default itself is not allowed.
    """
    bounds = Bounds(
        at_least, at_most, above, below, one_of, also, multiple_of, matching, not_empty, unit, help, variants
    )
    if fault := _fault(default, bounds):
        raise ValueError(f"the default {default!r} is not allowed: {fault}")
    # A dataclass takes the field for the value: https://docs.python.org/3/library/dataclasses.html#dataclasses.field
    return field(default=default, metadata={_KEY: bounds})


@dataclass(frozen=True)
class Parameter:
    """A parameter as its check declares it.

    Attributes:
        name: of the field.
        kind: ``int``, ``float``, ``str`` or ``bool``; of a list, the kind of its elements.
        is_list: True for a list of them.
        default: its value where nothing is said.
        bounds: what is allowed.
    """

    name: str
    kind: type
    is_list: bool
    default: Any
    bounds: Bounds

    @property
    def is_number(self) -> bool:
        """True for numbers and lists of them."""
        return self.kind in (int, float)

    def fitted(self, value: object, at: str, check: str) -> Any:
        """The value as the check gets it: a list becomes a tuple, an int may stand for a float.

        Args:
            value: as TOML or JSON gives it.
            at: how a message begins: where the value stands.
            check: whose parameter it is.

        Raises:
            UsageError: a value of another kind, or one that is not allowed.
        """
        is_list = self.is_list and isinstance(value, (list, tuple))
        fitted = tuple(_number(v, self.kind) for v in value) if is_list else _number(value, self.kind)  # type: ignore[attr-defined]
        thing = f"{at}parameter {self.name!r} of check {check!r}"
        remedy = f"Its default: {self.name} = {_as_toml(self.default)} in the suite, or {self._set_default(check)}."
        if not self._of_right_kind(fitted):
            raise UsageError(f"{thing} is {value!r}, expected {self._kind_in_words()}.", remedy)
        if fault := _fault(fitted, self.bounds):
            raise UsageError(f"{thing} {fault}.", " ".join(filter(None, [self._near(fitted), remedy])))
        return fitted

    def _set_default(self, check: str) -> str:
        return f"--set {shlex.quote(f'{check}.{self.name}={_as_toml(self.default)}')}"

    def _of_right_kind(self, value: object) -> bool:
        values = value if isinstance(value, tuple) else (value,)
        return isinstance(value, tuple) == self.is_list and all(type(v) is self.kind for v in values)

    def _kind_in_words(self) -> str:
        """``int like 5``, ``list of str like ('fp32',)``."""
        kind = f"list of {self.kind.__name__}" if self.is_list else self.kind.__name__
        return kind if self.default == () else f"{kind} like {self.default!r}"

    def _near(self, value: Any) -> str:
        """The choice that was probably meant; every other one stands in the message already."""
        wrong = next(v for v in (value if self.is_list else (value,)) if not self.bounds.admit(v)) if value else None
        choices = filter(None, self.bounds.one_of)
        near = nearest(wrong, choices) if isinstance(wrong, str) else ""
        return near if near.startswith("Did") else ""


@functools.cache
def parameters(kind: type) -> Mapping[str, Parameter]:
    """The parameters of a check, by name, in the order of its fields."""
    # Of the fields alone: Python 3.10 takes a bare ClassVar, as the others have it, for no type.
    bare = type(kind.__name__, (), {"__annotations__": {f.name: f.type for f in fields(kind)}})
    hints = get_type_hints(bare, vars(sys.modules[kind.__module__]))
    return {f.name: _parameter(f.name, hints[f.name], f.default, f.metadata) for f in fields(kind)}


def _parameter(name: str, hint: Any, default: Any, metadata: Mapping[str, Any]) -> Parameter:
    elements = get_args(hint)
    return Parameter(name, elements[0] if elements else hint, bool(elements), default, metadata.get(_KEY, Bounds()))


def _number(value: Any, kind: type) -> Any:
    """An int where a float is meant. One too large for a float is infinite, and refused as that."""
    if kind is not float or type(value) is not int:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _fault(value: Any, bounds: Bounds) -> str:
    """What is found and what was expected; empty when the value, or every element of it, is allowed."""
    if not isinstance(value, tuple):
        expected = _expected(value, bounds)
        return f"is {value!r}, expected {expected}" if expected else ""
    if bounds.not_empty and not value:
        return f"is empty, expected at least one: {bounds}"
    wrong = ((place, v, _expected(v, bounds)) for place, v in enumerate(value, 1))
    return next((f"has {v!r} at place {place}, expected {expected}" for place, v, expected in wrong if expected), "")


def _expected(value: Any, bounds: Bounds) -> str:
    """What was expected instead of a value; empty when it is allowed."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"a finite number, {bounds}".rstrip(", ")
    return "" if bounds.admit(value) else str(bounds)


def _as_toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_as_toml, value))}]"
    # A JSON text, true or number is a TOML one.
    return json.dumps(value)
