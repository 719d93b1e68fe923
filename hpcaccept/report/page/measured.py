"""What every check measured, over all subjects. Rates first, what is the same everywhere in a line, the rest folded away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.model.metric import describe
from hpcaccept.model.verdict import Outcome
from hpcaccept.report.page.bad_subjects import badge
from hpcaccept.report.page.markup import Markup, joined, separated, tag
from hpcaccept.report.page.matrix import is_cell
from hpcaccept.report.page.names import link_to, without_variant
from hpcaccept.report.phrases import counted
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.report.model import CheckRow, Summary
    from hpcaccept.report.page.bad_subjects import Gallery

#: Heads of the numbers; on a narrow screen those of class ``wider`` give way to the others.
_NUMBERS = {"units": "number wider", "slowest": "number", "median": "number", "fastest": "number"}
_HEADS = {"metric": None, **_NUMBERS, "distribution": "wider"}
_COLUMNS = len(_HEADS)
_AGAINST = {Outcome.PASS: "meets its baseline", Outcome.FAIL: "below its baseline", Outcome.NO_BASELINE: "no baseline"}


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
        words = "its numbers are under the table" if more else "nothing was measured"
        lines = lines or [tag("td", words, colspan=_COLUMNS, class_="quiet")]
        groups.append(_group(_head(row), lines))
        if more:
            others.append(_group(tag("th", row.name, colspan=_COLUMNS, scope="rowgroup", class_="name"), more))
    folded = ""
    if others:
        folded = tag("details", tag("summary", "Other numbers, on which no verdict of a rate rests"), _table(others))
    return joined([_table(groups), folded])


def _table(groups: Sequence[Markup]) -> Markup:
    heads = [tag("th", name, scope="col", class_=kind) for name, kind in _HEADS.items()]
    table = tag("table", tag("thead", tag("tr", joined(heads))), joined(groups), class_="checks")
    return tag("div", table, class_="wide")


def _head(row: CheckRow) -> Markup:
    baseline = _AGAINST.get(row.baseline, "") if row.baseline else ""
    beside = separated([f"{row.judged:,} of {counted(row.asked, 'node')} judged", baseline])
    return tag(
        "th",
        tag("span", row.name, class_="name"),
        " ",
        badge(row.outcome.value),
        " ",
        tag("span", beside, class_="quiet"),
        colspan=_COLUMNS,
        scope="rowgroup",
    )


def _group(head: Markup, lines: Sequence[Markup]) -> Markup:
    return tag("tbody", tag("tr", head, class_="check"), joined(tag("tr", line) for line in lines))


def _lines(
    columns: Sequence[Values], gallery: Gallery, bad: set[str], nodes: frozenset[str]
) -> tuple[list[Markup], list[Markup]]:
    """The lines of one metric with all its variants: those that count, and the others."""
    metric = columns[0].metric
    cells = [column for column in columns if metric.is_rate and is_cell(column, nodes)]
    first: list[Markup] = []
    if cells:
        first.append(tag("td", link_to(cells[0].key, without_variant(metric)), f" of {counted(len(cells), 'pair')}, as maps below", colspan=_COLUMNS, class_="quiet"))  # fmt: skip
    plain = [column for column in columns if column not in cells]
    shown = [column for column in plain if (metric.is_rate and metric.headline) or column.key in bad]
    rest = [column for column in plain if column not in shown]
    first += [_figure(column, gallery) for column in shown]
    if metric.limit and len({value for column in rest for value in (column.value.min(), column.value.max())}) == 1:
        return [*first, _same(rest)], []
    return first, [_figure(column, gallery) for column in rest]


def _same(columns: Sequence[Values]) -> Markup:
    """Variants of a metric that all have one value."""
    one = columns[0]
    several = tag("span", f" {len(columns)} variants", class_="variant") if len(columns) > 1 else ""
    name = link_to(one.key, without_variant(one.metric) if several else one.metric.named(one.variant))
    subjects = max(len(column.value) for column in columns)
    value = show(float(one.value[0]), one.metric.unit)
    return joined([
        tag("td", name, several, _limit(one)),
        tag("td", f"{subjects:,}", class_=_NUMBERS["units"]),
        tag("td", f"{value} everywhere", colspan=3, class_="number same"),
        tag("td", class_="wider"),
    ])  # fmt: skip


def _figure(column: Values, gallery: Gallery) -> Markup:
    """The cells of one metric over all subjects."""
    unit, value = column.metric.unit, column.value
    low, middle, high = float(value.min()), 2 * float(np.median(value / 2)), float(value.max())
    if low == high and len(value) > 1:
        return _same([column])
    slowest, fastest = (high, low) if column.metric.direction == "lower" else (low, high)
    like = gallery.draw(column.key, 0) if len(value) > 3 else None
    use = tag("use", href=f"#{like.ident}", width=320, height=56) if like else ""
    drawing = tag("svg", use, viewBox="0 0 320 46", class_="small", aria_hidden="true") if like else ""
    numbers = (slowest, middle, fastest) if len(value) > 1 else ("", middle, "")
    return joined([
        tag("td", link_to(column.key, column.metric.named(column.variant)), _limit(column)),
        tag("td", f"{len(value):,}", class_=_NUMBERS["units"]),
        *(tag("td", show(x, unit) if isinstance(x, float) else x, class_="number") for x in numbers),
        tag("td", drawing, class_="wider"),
    ])  # fmt: skip


def _limit(column: Values) -> Markup | str:
    return tag("span", f" {describe(column.metric.limit)}", class_="quiet") if column.metric.limit else ""
