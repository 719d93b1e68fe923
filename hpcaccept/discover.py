"""Finds modules by their names: those of a package of hpcaccept, and those that installed packages add to it.

A site adds a check, a format, a container runtime or a launcher with a package of its own, whose ``pyproject.toml`` says::

    [project.entry-points."hpcaccept.checks"]
    fan = "site_checks.fan"

The entry point is called like the check, and names its module. Looking through what is installed takes 50 ms and more, so it
is done only for a name that hpcaccept does not bring, and where all names are listed.
https://packaging.python.org/en/latest/specifications/entry-points/
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from hpcaccept import __version__
from hpcaccept.errors import PluginError, UsageError, nearest


@dataclass(frozen=True)
class Plugin:
    """A module that an installed package adds.

    Attributes:
        name: of the entry point.
        module: that it names, with an attribute where it wrongly names one.
        package: distribution that brings it.
        version: of the distribution.
    """

    name: str
    module: str
    package: str
    version: str

    @property
    def origin(self) -> str:
        """``site-checks 1.2``."""
        return f"{self.package} {self.version}"


@dataclass(frozen=True)
class Kind:
    """One kind of module that is found by its name.

    Attributes:
        noun: what it is called in messages.
        package: of hpcaccept, each of whose modules is one.
        group: of the entry points by which installed packages add more.
        remedy: what to type to see what there is.
        also: names that mean something without being a module.
        holds: what a module must hold; raises TypeError where it does not.
    """

    noun: str
    package: str
    group: str
    remedy: str = ""
    also: tuple[str, ...] = ()
    holds: Callable[[ModuleType], object] = bool

    def built_in(self) -> tuple[str, ...]:
        """The names that hpcaccept brings."""
        return _modules_in(tuple(importlib.import_module(self.package).__path__))

    def plugins(self) -> tuple[Plugin, ...]:
        """What installed packages add, usable or not, in the order of names."""
        return _entry_points(self.group, tuple(sys.path))

    def names(self) -> tuple[str, ...]:
        """Every name there is, of hpcaccept and of installed packages."""
        return tuple(sorted({*self.built_in(), *(plugin.name for plugin in self.plugins())}))

    def exists(self, name: str) -> bool:
        """True when hpcaccept or an installed package brings it."""
        return name in self.built_in() or any(plugin.name == name for plugin in self.plugins())

    def origin(self, name: str) -> str:
        """The package that adds a name, as in ``site-checks 1.2``; empty for what hpcaccept brings, and where there is none."""
        if name in self.built_in():
            return ""
        return " and ".join(plugin.origin for plugin in self.plugins() if plugin.name == name)

    def load(self, name: str) -> ModuleType:
        """The module of that name. What hpcaccept brings goes first: a package cannot replace it.

        Raises:
            PluginError: a package brings it that cannot be used.
            UsageError: nobody brings it.
        """
        if name in self.built_in():
            return importlib.import_module(f"{self.package}.{name}")
        found = [plugin for plugin in self.plugins() if plugin.name == name]
        if not found:
            known = nearest(name, (*self.names(), *self.also))
            raise UsageError(f"There is no {self.noun} {name!r}.", f"{known} {self.remedy}".strip())
        if fault := self._clash(found[0]):
            raise fault
        return self._imported(found[0])

    def faults(self) -> tuple[PluginError, ...]:
        """Why plug-ins cannot be used: each of them is imported."""
        return tuple(fault for plugin in self.plugins() if (fault := self._fault(plugin)))

    def usable(self, plugin: Plugin) -> bool:
        """True when it can be loaded."""
        return self._fault(plugin) is None

    def _fault(self, plugin: Plugin) -> PluginError | None:
        if clash := self._clash(plugin):
            return clash
        try:
            self._imported(plugin)
        except PluginError as fault:
            return fault
        return None

    def _clash(self, plugin: Plugin) -> PluginError | None:
        """Two packages bring the same name: nobody could say which one is meant."""
        others = [other.origin for other in self.plugins() if other.name == plugin.name and other != plugin]
        if plugin.name in self.built_in():
            others = [f"hpcaccept {__version__}"]
        if not others:
            return None
        return PluginError(
            f"The {self.noun} {plugin.name!r} of the package {plugin.origin} is refused: {others[0]} has one of that name.",
            f"Rename it in the entry points of {plugin.package}, or: pip uninstall {plugin.package}",
        )

    def _imported(self, plugin: Plugin) -> ModuleType:
        thing = f"The {self.noun} {plugin.name!r} of the package {plugin.origin}"
        if ":" in plugin.module or not plugin.name.isidentifier():
            raise PluginError(
                f"{thing} has the entry point '{plugin.name} = {plugin.module}', expected NAME = PACKAGE.MODULE.",
                f"Correct it in the pyproject.toml of {plugin.package}, and install it again.",
            )
        try:
            module = importlib.import_module(plugin.module)
            self.holds(module)
        except (Exception, SystemExit) as fault:  # somebody else's code may raise anything
            raise PluginError(
                f"{thing} cannot be used: {type(fault).__name__}: {fault}.",
                f"See where: python3 -c 'import {plugin.module}'. Without it: pip uninstall {plugin.package}",
            ) from fault
        return module


@functools.cache
def _modules_in(path: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(m.name for m in pkgutil.iter_modules(path) if not m.ispkg and not m.name.startswith("_")))


@functools.cache
def _entry_points(group: str, path: tuple[str, ...]) -> tuple[Plugin, ...]:
    """What the packages on this path add. The path is asked for only so that another one is looked through anew."""
    from importlib.metadata import entry_points

    found = (
        Plugin(entry.name, entry.value, *((entry.dist.name, entry.dist.version) if entry.dist else ("?", "?")))
        for entry in entry_points(group=group)
    )
    return tuple(sorted(found, key=lambda plugin: (plugin.name, plugin.package)))
