"""How do frozen dataclasses become JSON and come back, strictly?

Unknown keys are refused, so that a file of another version is an error with a name, not a silent default.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")


@functools.cache
def _converter(*, omit_if_default: bool) -> Converter:
    """Plain JSON types out, ``forbid_extra_keys`` in. Imported when first used (40 ms)."""
    from cattrs.preconf.json import make_converter

    return make_converter(forbid_extra_keys=True, omit_if_default=omit_if_default)


def to_plain(thing: object) -> Any:
    """A dataclass as dicts, lists, strings and numbers, every field present."""
    return _converter(omit_if_default=False).unstructure(thing)


def from_plain(plain: object, kind: type[T]) -> T:
    """A dataclass of ``kind`` from what ``to_plain`` gave.

    Raises:
        ValueError: with every fault found, one per line, each with its place.
    """
    from cattrs import BaseValidationError, transform_error

    try:
        return _converter(omit_if_default=False).structure(plain, kind)
    except BaseValidationError as fault:
        raise ValueError("; ".join(transform_error(fault))) from None
    except (TypeError, KeyError, AttributeError) as fault:
        raise ValueError(f"{type(fault).__name__}: {fault}") from None


def dumps(thing: object) -> str:
    """One line of JSON without fields at their default. NaN is refused: what is no number must not travel as one."""
    plain = _converter(omit_if_default=True).unstructure(thing)
    line = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Bytes of the environment that are no UTF-8 are lone surrogates here, which no file takes.
    return line.encode("utf-8", "replace").decode()
