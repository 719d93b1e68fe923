"""A layout on a terminal, as wide as it is and in colour, or in a file without either."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.console import RenderableType


def show(layout: RenderableType) -> None:
    """To standard output."""
    Console(highlight=False).print(layout)


def printed(layout: RenderableType, width: int = 100) -> str:
    """As text of so many columns."""
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(layout)
    return out.getvalue()
