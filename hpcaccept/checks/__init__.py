"""The checks: one file each, found by module name. There is no registry to edit."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from hpcaccept.errors import UsageError, nearest
from hpcaccept.model.check import Check
from hpcaccept.model.metric_key import check_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcaccept.model.metric import Metric


@functools.cache
def names() -> tuple[str, ...]:
    """Every check there is, by the name of its file."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg))


def load(name: str) -> type[Check]:
    """The class of a check. ``matmul:small`` is the check ``matmul`` under a label, to have it twice in a suite.

    Raises:
        UsageError: there is no such check; the message names the nearest one.
    """
    name = check_of(name)
    if name not in names():
        raise UsageError(f"There is no check {name!r}.", f"{nearest(name, names())} List them with 'hpcaccept checks'.")
    module = importlib.import_module(f"{__name__}.{name}")
    classes = [c for c in vars(module).values() if _is_check(c, module.__name__)]
    if len(classes) != 1:
        raise TypeError(f"{module.__name__} must hold exactly one Check, it holds {len(classes)}")
    found: type[Check] = classes[0]
    return found


def catalogue(specs: Iterable[str]) -> dict[str, dict[str, Metric]]:
    """Check → metric name → metric, for the checks of a suite."""
    return {name: {metric.name: metric for metric in load(name).metrics} for name in specs}


def _is_check(thing: object, module: str) -> bool:
    return isinstance(thing, type) and issubclass(thing, Check) and thing.__module__ == module


def build(name: str, params: dict[str, Any], where: str = "") -> Check:
    """A check with its parameters.

    Args:
        name: of the check.
        params: field → value as TOML or JSON gives it.
        where: file and table, for the message.

    Raises:
        UsageError: an unknown field (with the nearest valid name) or a value of the wrong kind.
    """
    kind = load(name)
    known = {f.name: f for f in fields(kind)}
    at = f"{where}: " if where else ""
    for key in params:
        if key not in known:
            raise UsageError(f"{at}check {name!r} has no parameter {key!r}.", nearest(key, known))
    values = {key: _fit(at, name, key, value, known[key].default) for key, value in params.items()}
    return kind(**values)


def _fit(at: str, check: str, key: str, value: object, default: object) -> object:
    """The value as the kind of its default: a list becomes a tuple, an int may stand for a float."""
    if default is MISSING:
        return value
    if isinstance(default, tuple) and isinstance(value, (list, tuple)):
        return tuple(value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(default):
        raise UsageError(
            f"{at}parameter {key!r} of check {check!r} is {value!r}, expected {type(default).__name__} like {default!r}."
        )
    return value
