"""The plots of one verdict as a picture of its own: SVG that needs neither a page nor a style beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.report.junit_parts import xml_text
from hpcaccept.report.page import plots
from hpcaccept.report.page.markup import Markup, joined, tag, verbatim

if TYPE_CHECKING:
    from hpcaccept.report.page.bad_subjects import Drawn

_WIDTH, _MARGIN, _LINE = 640, 16, 18
#: The page's colours in the light, by the classes of ``plots``.
_STYLE = (
    "text{font:13px sans-serif;fill:#1a1f24}.key{font-weight:bold}.quiet{fill:#5a646e}.bars{fill:#8fa3b8}.axis{stroke:#aab3bd;fill:none}"
    ".outside{fill:#ad330026}.band{fill:#56a58c}.center{stroke:#1a1f24;stroke-width:2}.limit{stroke:#ad3300;stroke-dasharray:3 3;fill:none}"
    ".mark{fill:#ad3300}.line{stroke:#8fa3b8;stroke-width:1.5;fill:none}circle.past{fill:#8fa3b8}.change{stroke:#aab3bd;stroke-dasharray:2 3}"
)
_LEGEND = "Bars: the other units. Arrow: this one. Dashed: the limit; shaded: fails. Green: what the baseline allows."


def svg_file(title: str, reason: str, drawn: Drawn) -> str:
    """The file.

    Args:
        title: what was judged, and of whom.
        reason: one sentence.
        drawn: its plots.
    """

    def line(text: str, y: int, kind: str) -> Markup:
        return tag("text", xml_text(text), x=_MARGIN, y=y, class_=kind)

    y = 28
    parts = [line(title, y, "key"), *(line(text, y := y + _LINE, "quiet") for text in _wrapped(reason))]
    for drawing, text in drawn.figures:
        y += 12
        height = 2 * plots.HEIGHT
        parts.append(tag("svg", drawing, x=_MARGIN, y=y, width=_WIDTH - 2 * _MARGIN, height=height))
        y += height + _LINE
        parts.append(line(text, y, "quiet"))
    y += _LINE
    parts += [line(text, y := y + _LINE, "quiet") for text in _wrapped(_LEGEND)]
    height = y + _MARGIN
    ground = tag("rect", width=_WIDTH, height=height, fill="#fff")
    whole = joined([verbatim("style", _STYLE), ground, drawn.others, *parts])
    root = tag(
        "svg",
        whole,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_WIDTH} {height}",
        width=_WIDTH,
        height=height,
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{root}\n'


def _wrapped(text: str, most: int = 84) -> list[str]:
    import textwrap

    return textwrap.wrap(text, most, max_lines=4, placeholder=" …") or [""]
