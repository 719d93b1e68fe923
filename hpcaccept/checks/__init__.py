"""The checks: one file each, found by module name. There is no registry to edit.

A package of the site adds checks by entry points of the group ``hpcaccept.checks`` (see ``hpcaccept.discover``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpcaccept import discover
from hpcaccept.errors import UsageError, nearest
from hpcaccept.model.check import Check
from hpcaccept.model.metric_key import check_of
from hpcaccept.model.parameter import parameters

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from hpcaccept.model.metric import Metric


def the_check_of(module: ModuleType) -> type[Check]:
    """The only check that a module defines.

    Raises:
        TypeError: it defines none, or several.
    """
    found = [thing for thing in vars(module).values() if _is_check(thing, module.__name__)]
    if len(found) != 1:
        raise TypeError(f"{module.__name__} must hold exactly one Check, it holds {len(found)}")
    (kind,) = found
    return kind  # type: ignore[no-any-return]  # what a module holds has no type


def _is_check(thing: object, module: str) -> bool:
    # Python 3.10 calls an alias like dict[str, int] a type too, and then issubclass refuses it.
    is_class = isinstance(thing, type) and not hasattr(thing, "__origin__")
    return is_class and issubclass(thing, Check) and thing.__module__ == module  # type: ignore[arg-type]


KIND = discover.Kind("check", __name__, "hpcaccept.checks", "List them with 'hpcaccept checks'.", holds=the_check_of)


def names() -> tuple[str, ...]:
    """Every check there is, of hpcaccept and of installed packages; one of a package may turn out not to load."""
    return KIND.names()


def built_in() -> tuple[str, ...]:
    """The checks that hpcaccept brings, by the names of their files."""
    return KIND.built_in()


def load(name: str) -> type[Check]:
    """The class of a check. ``matmul:small`` is the check ``matmul`` under a label, to have it twice in a suite.

    Raises:
        PluginError: an installed package brings it, and it cannot be used.
        UsageError: there is no such check; the message names the nearest one.
    """
    return the_check_of(KIND.load(check_of(name)))


def find(name: str) -> type[Check] | None:
    """Like ``load()``, None where there is no such check that can be used."""
    try:
        return load(name)
    except UsageError:
        return None


def exists(name: str) -> bool:
    """True for the name of a check, with a label or without."""
    return KIND.exists(check_of(name))


def origin(name: str) -> str:
    """The installed package that brings a check, as in ``site-checks 1.2``; empty for those of hpcaccept."""
    return KIND.origin(check_of(name))


def catalogue(specs: Iterable[str]) -> dict[str, dict[str, Metric]]:
    """Check → metric name → metric, for the checks of a suite."""
    return {name: {metric.name: metric for metric in load(name).metrics} for name in specs}


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
