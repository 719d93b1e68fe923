"""The report formats: one file each, found by module name. There is no registry to edit.

A hyphen in the name of a format is an underscore in the name of its file: ``nodes-bad`` is ``nodes_bad.py``.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from hpcaccept import discover
from hpcaccept.errors import UsageError, nearest

if TYPE_CHECKING:
    from hpcaccept.report.judged import Judged

KIND = discover.Kind("report format", __name__, "hpcaccept.formats")
#: What is shown when nobody asks for a format.
DEFAULT = "table"


class Format(Protocol):
    """A module of this package.

    Attributes:
        ABOUT: whom it is for and what it holds, in one sentence: a literal, because ``--help`` reads it without importing.
    """

    ABOUT: str

    def render(self, judged: Judged) -> str:
        """The report as text that ends in a line feed. Raises RunError where the format cannot hold this run."""


@runtime_checkable
class TerminalFormat(Format, Protocol):
    """A format that looks different at a terminal: as wide as that is, and in colour."""

    def to_terminal(self, judged: Judged) -> None:
        """Print the report to standard output."""


def built_in() -> tuple[str, ...]:
    """The formats that hpcaccept brings, as ``--format`` takes them: the default first, then by name."""
    return _listed(KIND.built_in())


def names() -> tuple[str, ...]:
    """Every format there is, those of installed packages too."""
    return _listed(KIND.names())


def _listed(modules: tuple[str, ...]) -> tuple[str, ...]:
    found = {module.replace("_", "-") for module in modules}
    return (DEFAULT, *sorted(found - {DEFAULT}))


def exists(name: str) -> bool:
    """True when hpcaccept or an installed package brings it."""
    return KIND.exists(name.replace("-", "_"))


def load(name: str) -> Format:
    """The format of that name.

    Raises:
        PluginError: a package brings it that cannot be used.
        UsageError: there is no such format; the message names the nearest one.
    """
    if not exists(name):
        raise UsageError(f"There is no report format {name!r}.", nearest(name, names()))
    return cast("Format", KIND.load(name.replace("-", "_")))


def about(name: str) -> str:
    """The ``ABOUT`` of a format, read from its source: ``--help`` must not cost an import of rich and numpy.

    Of what an installed package brings it says whose it is: its code is not run for a help text.
    """
    module = name.replace("-", "_")
    if package := KIND.origin(module):
        return f"From the package {package}."
    spec = importlib.util.find_spec(f"{__name__}.{module}")
    source = Path(spec.origin).read_text("utf-8") if spec and spec.origin else ""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ABOUT":
            return cast("str", ast.literal_eval(node.value))
    raise TypeError(f"{__name__}.{module} has no ABOUT, expected one sentence as a literal")


def render(name: str, judged: Judged) -> str:
    """A report as text that ends in a line feed.

    Args:
        name: of the format.
        judged: the run.

    Raises:
        RunError: the format cannot hold this run (hpcaccept.report.node_lists).
        UsageError: there is no such format.
    """
    return load(name).render(judged)


def show(name: str, judged: Judged) -> None:
    """Print a report to standard output; a ``TerminalFormat`` does so itself. Raises what ``render`` raises."""
    form = load(name)
    if isinstance(form, TerminalFormat):
        form.to_terminal(judged)
    else:
        sys.stdout.write(form.render(judged))
