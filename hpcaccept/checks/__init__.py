"""The checks: one file each, found by module name. There is no registry to edit."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from hpcaccept.errors import UsageError, nearest
from hpcaccept.model.check import Check
from hpcaccept.model.parameter import parameters

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
    name = name.partition(":")[0]
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
        UsageError: an unknown field (with the nearest valid name), a value of the wrong kind or out of its bounds, or
            values that do not go together.
    """
    kind = load(name)
    at = f"{where}: " if where else ""
    known = parameters(kind)
    for key in params:
        if key not in known:
            raise UsageError(f"{at}check {name!r} has no parameter {key!r}.", nearest(key, known))
    values = {key: known[key].fitted(value, at, name) for key, value in params.items()}
    try:
        return kind(**values)
    except UsageError as fault:  # parameters that do not go together
        raise UsageError(f"{at}{fault.message}", fault.remedy) from None
