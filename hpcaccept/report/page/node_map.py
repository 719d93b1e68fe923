"""All nodes of a run at a glance: a square each, the worst first, so that three bad ones of 16,384 are seen."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hpcaccept.report.page.markup import Markup, joined, tag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcaccept.model.verdict import Outcome

#: Columns of the map for each row of it: it is as wide as the page and not high.
_WIDE = 6
#: Up to so many nodes each square has its name; of more, squares of one verdict are one path.
NAMED = 1024
#: Side of a square, and what it takes with its gap.
_SIDE, _STEP = 8, 10
#: Fewest columns: a few nodes are not drawn as large as the page.
_COLUMNS = 48


def node_map(nodes: Mapping[str, Outcome], order: Sequence[Outcome]) -> Markup:
    """The map as one SVG; empty without nodes.

    Args:
        nodes: name → worst verdict.
        order: verdicts, the worst first.
    """
    if not nodes:
        return Markup("")
    ranked = sorted(nodes.items(), key=lambda item: order.index(item[1]))
    columns = max(_COLUMNS, math.ceil(math.sqrt(len(ranked) * _WIDE)))
    rows = math.ceil(len(ranked) / columns)
    draw = _squares if len(ranked) <= NAMED else _paths
    counts = {outcome: sum(found is outcome for found in nodes.values()) for outcome in order}
    words = ", ".join(f"{count:,} {outcome.value.replace('_', ' ')}" for outcome, count in counts.items() if count)
    return tag(
        "svg",
        joined(draw(ranked, columns)),
        viewBox=f"0 0 {columns * _STEP} {rows * _STEP}",
        class_="node-map",
        role="img",
        aria_label=f"Every node as a square, the worst first: {words}",
    )


def _place(number: int, columns: int) -> tuple[int, int]:
    return number % columns * _STEP, number // columns * _STEP


def _squares(ranked: list[tuple[str, Outcome]], columns: int) -> list[Markup]:
    found = []
    for number, (name, outcome) in enumerate(ranked):
        x, y = _place(number, columns)
        title = tag("title", f"{name}: {outcome.value.replace('_', ' ')}")
        found.append(tag("rect", title, x=x, y=y, width=_SIDE, height=_SIDE, class_=f"fill {outcome.value}"))
    return found


def _paths(ranked: list[tuple[str, Outcome]], columns: int) -> list[Markup]:
    steps: dict[Outcome, list[str]] = {}
    for number, (_, outcome) in enumerate(ranked):
        x, y = _place(number, columns)
        steps.setdefault(outcome, []).append(f"M{x} {y}h{_SIDE}v{_SIDE}h-{_SIDE}z")
    return [tag("path", d="".join(parts), class_=f"fill {outcome.value}") for outcome, parts in steps.items()]
