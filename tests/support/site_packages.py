"""Writes installed packages that add something to hpcaccept: a module and its dist-info, as pip leaves them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CHECK = '''
from dataclasses import dataclass
from typing import ClassVar

from hpcaccept.model.check import Check
from hpcaccept.model.metric import Metric, at_most
from hpcaccept.model.parameter import param


@dataclass(frozen=True)
class Fan(Check):
    """Reads nothing.

    Parameters:
        blocks: how often.
    """

    name: ClassVar = "{name}"
    revision: ClassVar = 3
    about: ClassVar = "Speed of nothing."
    metrics: ClassVar = (
        Metric("stopped", "fans", "lower", "Fans that stand still.", statistic="worst", limit=at_most(0, "fans", "ours")),
    )
    blocks: int = param(1, at_least=1, at_most=9)

    def measure(self, ctx: object) -> None:
        """Nothing."""
'''


def install(folder: Path, package: str, group: str, name: str, text: str, *, version: str = "1.0") -> str:
    """Put a package with one module into a folder of ``sys.path``; gives the name of the module."""
    module = f"{package.replace('-', '_')}_{name}"
    info = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (folder / f"{module}.py").write_text(text, "utf-8")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n", "utf-8")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}\n", "utf-8")
    return module
