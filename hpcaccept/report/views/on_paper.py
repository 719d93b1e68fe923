"""A layout on a terminal, as wide as it is and in colour, or in a file without either."""

from __future__ import annotations

import io
import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import ConsoleOptions, RenderableType


class _Words(textwrap.TextWrapper):
    """Lines end at blanks, and within a list of names after its commas: never in the middle of a number."""

    def _split(self, text: str) -> list[str]:
        return [chunk for chunk in re.split(r"(\s+)|(?<=,)(?=\S)", text) if chunk]


@dataclass(frozen=True)
class Paragraph:
    """A text in as many lines as the terminal is narrow.

    Attributes:
        text: of one or more lines.
        style: of all of it.
        head: so many characters at its beginning have ``head_style``.
        head_style: of those.
    """

    text: str
    style: str = ""
    head: int = 0
    head_style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Its lines, as rich asks for them."""
        wrapper = _Words(options.max_width, break_on_hyphens=False)
        lines = [line for part in self.text.split("\n") for line in wrapper.wrap(part) or [""]]
        for number, line in enumerate(lines):
            text = Text(line, style=self.style, no_wrap=True, overflow="ignore")
            if number == 0 and self.head:
                text.stylize(self.head_style, 0, self.head)
            yield text


def show(layout: RenderableType) -> None:
    """To standard output."""
    Console(highlight=False).print(layout)


def printed(layout: RenderableType, width: int = 100) -> str:
    """As text of so many columns."""
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(layout)
    return out.getvalue()
