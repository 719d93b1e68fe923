"""What every check measured, over all subjects. Rates first, what is the same everywhere in a line, the rest folded away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.model.metric import describe
from hpcaccept.report.page.bad_subjects import badge
from hpcaccept.report.page.markup import Markup, joined, tag
from hpcaccept.report.page.matrix import is_cell
from hpcaccept.report.phrases import counted
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.report.model import CheckRow, Summary
    from hpcaccept.report.page.bad_subjects import Gallery

_NUMBERS = ("units", "slowest", "median", "fastest")


def measured(values: Sequence[Values], summary: Summary, gallery: Gallery, nodes: frozenset[str]) -> Markup:
    """A table with a group per check, and what no verdict rests on in a second one that is folded.

    Args:
        values: of the run.
        summary: of the run.
        gallery: which draws the distributions.
        nodes: names, by which cells of matrices are known.
    """
    bad = {verdict.key for verdict in summary.bad}
    by_check: dict[str, dict[str, list[Values]]] = {row.name: {} for row in summary.rows}
    for column in values:
        if column.check in by_check:
            by_check[column.check].setdefault(column.parts.metric, []).append(column)
    groups, others = [], []
    for row in summary.rows:
        lines: list[Markup] = []
        more: list[Markup] = []
        for columns in by_check[row.name].values():
            first, rest = _lines(columns, gallery, bad, nodes)
            lines += first
            more += rest
        lines = lines or [tag("td", "nothing was measured", colspan=6, class_="quiet")]
        groups.append(_group(_head(row, len(lines)), lines))
        if more:
            others.append(_group(tag("th", row.name, rowspan=len(more), scope="rowgroup", class_="name"), more))
    folded = ""
    if others:
        folded = tag("details", tag("summary", "Other numbers, on which no verdict of a rate rests"), _table(others))
    return joined([_table(groups), folded])


def _table(groups: Sequence[Markup]) -> Markup:
    names = ("check", "metric", *_NUMBERS, "distribution")
    heads = [tag("th", name, scope="col", class_="number" if name in _NUMBERS else None) for name in names]
    table = tag("table", tag("thead", tag("tr", joined(heads))), joined(groups), class_="checks")
    return tag("div", table, class_="wide")


def _head(row: CheckRow, height: int) -> Markup:
    baseline = f"baseline: {row.baseline.value.replace('_', ' ')}" if row.baseline else ""
    return tag(
        "th",
        tag("div", row.name, class_="name"),
        badge(row.outcome.value),
        tag("div", f"{row.judged:,} of {row.asked:,} nodes", class_="quiet"),
        tag("div", baseline, class_="quiet") if baseline else "",
        rowspan=height,
        scope="rowgroup",
    )


def _group(head: Markup, lines: Sequence[Markup]) -> Markup:
    return tag("tbody", joined(tag("tr", head if number == 0 else "", line) for number, line in enumerate(lines)))


def _lines(
    columns: Sequence[Values], gallery: Gallery, bad: set[str], nodes: frozenset[str]
) -> tuple[list[Markup], list[Markup]]:
    """The lines of one metric with all its variants: those that count, and the others."""
    metric, name = columns[0].metric, columns[0].parts.metric
    cells = [column for column in columns if metric.is_rate and is_cell(column, nodes)]
    first: list[Markup] = []
    if cells:
        first.append(tag("td", f"{name} of {counted(len(cells), 'pair')}, as maps below", colspan=6, class_="quiet"))
    plain = [column for column in columns if column not in cells]
    shown = [column for column in plain if (metric.is_rate and metric.headline) or column.key in bad]
    rest = [column for column in plain if column not in shown]
    first += [_figure(column, gallery) for column in shown]
    if metric.limit and len({value for column in rest for value in (column.value.min(), column.value.max())}) == 1:
        return [*first, _same(rest)], []
    return first, [_figure(column, gallery) for column in rest]


def _same(columns: Sequence[Values]) -> Markup:
    """Variants of a metric that all have one value."""
    metric, name = columns[0].metric, columns[0].parts.metric
    several = tag("span", f"{len(columns)} variants", class_="variant") if len(columns) > 1 else _variant(columns[0])
    limit = tag("span", describe(metric.limit), class_="quiet") if metric.limit else ""
    subjects = max(len(column.value) for column in columns)
    value = show(float(columns[0].value[0]), metric.unit)
    return joined([
        tag("td", tag("span", name, title=metric.help), " ", several, " ", limit),
        tag("td", f"{subjects:,}", class_="number"),
        tag("td", f"{value} everywhere", colspan=3, class_="number same"),
        tag("td"),
    ])  # fmt: skip


def _figure(column: Values, gallery: Gallery) -> Markup:
    """The cells of one metric over all subjects."""
    name, unit, value = column.parts.metric, column.metric.unit, column.value
    low, middle, high = float(value.min()), 2 * float(np.median(value / 2)), float(value.max())
    if low == high and len(value) > 1:
        return _same([column])
    slowest, fastest = (high, low) if column.metric.direction == "lower" else (low, high)
    limit = tag("span", describe(column.metric.limit), class_="quiet") if column.metric.limit else ""
    like = gallery.draw(column.key, 0) if len(value) > 3 else None
    use = tag("use", href=f"#{like.ident}", width=320, height=56) if like else ""
    drawing = tag("svg", use, viewBox="0 0 320 46", class_="small", aria_hidden="true") if like else ""
    numbers = (slowest, middle, fastest) if len(value) > 1 else ("", middle, "")
    return joined([
        tag("td", tag("span", name, title=column.metric.help), " ", _variant(column), " ", limit),
        tag("td", f"{len(value):,}", class_="number"),
        *(tag("td", show(x, unit) if isinstance(x, float) else x, class_="number") for x in numbers),
        tag("td", drawing),
    ])  # fmt: skip


def _variant(column: Values) -> Markup | str:
    return tag("span", column.variant, class_="variant") if column.variant else ""
