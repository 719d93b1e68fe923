"""Shows the slow pair: heat maps of what was measured between nodes, and between the GPUs of a node.

A metric says whether its variants are cells (``Metric.cells``): pairs within a node, or partners of a node. Colours
are shares of the median of the matrix, in classes; a cell that was judged bad has a border, and small matrices have numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcaccept.model.metric_key import MetricKey, Pair
from hpcaccept.report.page.markup import Markup, joined, tag
from hpcaccept.report.page.names import without_variant
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hpcaccept.judge.statistics.aggregate import Values

Floats = npt.NDArray[np.float64]

#: Lower bounds of the classes of colour, as shares of the median; the last class is all above.
CLASSES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98)
#: From so many rows on cells have no numbers; no names; are drawn as a whole; and stand for several pairs each.
_NUMBERS, _NAMES, _SINGLE, _MOST = 9, 41, 41, 97
#: Nodes whose own matrices are shown, and slow cells that are listed.
_OWN, _LISTED = 6, 10


@dataclass(frozen=True)
class Matrix:
    """What was measured between two things each.

    Attributes:
        title: what it is.
        unit: SI unit of the values.
        higher: True when more is better.
        rows: names of where it comes from.
        columns: names of where it goes to.
        value: float64[rows, columns], NaN where nothing was measured.
        bad: bool[rows, columns], judged bad.
        merged: how many rows (and columns) share a cell, of which the worst is shown.
    """

    title: str
    unit: str
    higher: bool
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    value: Floats
    bad: npt.NDArray[np.bool_]
    merged: int = 1


def is_cell(column: Values, nodes: frozenset[str]) -> bool:
    """True for a column whose variant names a pair or a partner, not a kind of measurement."""
    if column.metric.cells == "pair":
        return Pair.parse(column.variant) is not None
    return column.metric.cells == "partner" and column.variant in nodes


def matrices(values: Sequence[Values], nodes: tuple[str, ...], bad: Mapping[str, set[str]]) -> list[Matrix]:
    """Every matrix of a run: between nodes; of the worst cells over all nodes; of the nodes that are bad.

    Args:
        values: of the run.
        nodes: of the run.
        bad: metric key → nodes that were judged bad by it.
    """
    known = frozenset(nodes)
    groups: dict[tuple[MetricKey, bool], list[Values]] = {}
    for column in values:
        if column.metric.is_rate and is_cell(column, known):
            groups.setdefault(_matrix_of(column), []).append(column)
    found: list[Matrix] = []
    for (key, both_ways), columns in groups.items():
        title = columns[0].metric.named(key.variant) if key.variant else without_variant(columns[0].metric)
        if columns[0].metric.cells == "partner":
            found += _between(title, columns, nodes, bad)
        else:
            found += _within(f"{title}, both ways at once" if both_ways else title, columns, bad)
    return found


def _matrix_of(column: Values) -> tuple[MetricKey, bool]:
    """Which cells belong together: those of one metric and test, one way or both ways."""
    pair = Pair.parse(column.variant) if column.metric.cells == "pair" else None
    return (replace(column.parts, variant=pair.test), pair.both_ways) if pair else (column.parts.bare, False)


def _between(title: str, columns: list[Values], nodes: tuple[str, ...], bad: Mapping[str, set[str]]) -> list[Matrix]:
    """Rows are nodes that measured, columns their partners; of several devices the worst."""
    place = {node: number for number, node in enumerate(nodes)}
    merged = -(-len(nodes) // (_MOST - 1))
    size = -(-len(nodes) // merged)
    higher = columns[0].metric.direction == "higher"
    worst = np.full((size, size), np.inf if higher else -np.inf)
    marked = np.zeros((size, size), bool)
    keep = np.minimum if higher else np.maximum
    at_node = np.array([place.get(subject.node, -1) for subject in columns[0].table_subjects], np.intp)
    for column in columns:
        partner = place[column.variant] // merged
        rows = at_node[column.subject] // merged
        keep.at(worst[:, partner], rows[rows >= 0], column.value[rows >= 0])
        for node in bad.get(column.key, ()):
            marked[place[node] // merged, partner] = True
    names = tuple(nodes[::merged]) if merged > 1 else nodes
    worst[~np.isfinite(worst)] = np.nan
    return [Matrix(title, columns[0].metric.unit, higher, names, names, worst, marked, merged)]


def _within(title: str, columns: list[Values], bad: Mapping[str, set[str]]) -> list[Matrix]:
    """The worst over all nodes, then each bad node alone."""
    cells = [(column, pair.first, pair.second) for column in columns if (pair := Pair.parse(column.variant))]
    rows = tuple(sorted({a for _, a, _ in cells}, key=_natural))
    across = tuple(sorted({b for _, _, b in cells}, key=_natural))
    higher, unit = columns[0].metric.direction == "higher", columns[0].metric.unit
    subjects = columns[0].table_subjects
    measured = {
        subjects[number].node: number for number in np.unique(np.concatenate([c.subject for c in columns])).tolist()
    }
    suspects = sorted({node for column in columns for node in bad.get(column.key, ())} & measured.keys())
    found = []
    if len(measured) > 1:
        value, marked = _empty(rows, across)
        for column, a, b in cells:
            at = rows.index(a), across.index(b)
            value[at] = column.value.min() if higher else column.value.max()
            marked[at] = bool(bad.get(column.key))
        name = f"{title}: the worst of {len(measured):,} nodes"
        found.append(Matrix(name, unit, higher, rows, across, value, marked))
    for node in suspects[:_OWN] if len(measured) > 1 else measured:
        value, marked = _empty(rows, across)
        for column, a, b in cells:
            at = rows.index(a), across.index(b)
            mine = column.value[column.subject == measured[node]]
            value[at] = mine[0] if len(mine) else np.nan
            marked[at] = node in bad.get(column.key, ())
        found.append(Matrix(f"{title}: {node}", unit, higher, rows, across, value, marked))
    return found


def _empty(rows: Sequence[str], columns: Sequence[str]) -> tuple[Floats, npt.NDArray[np.bool_]]:
    shape = (len(rows), len(columns))
    return np.full(shape, np.nan), np.zeros(shape, bool)


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """``gpu10`` after ``gpu9``."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name))


def shares(matrix: Matrix) -> Floats:
    """Each cell over the median, inverted where less is better: 1 is ordinary, less is worse."""
    known = matrix.value[np.isfinite(matrix.value)]
    middle = float(np.median(known)) if len(known) else 0.0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share = matrix.value / middle if matrix.higher else middle / matrix.value
    return np.where(np.isfinite(share), share, np.nan)


def heat_map(matrix: Matrix) -> Markup:
    """A figure: the map, its classes, and its slowest cells in words."""
    share = shares(matrix)
    caption: list[str] = [tag("strong", matrix.title)]
    if matrix.merged > 1:
        caption.append(
            f" Each cell stands for {matrix.merged} × {matrix.merged} nodes and shows the worst pair of them."
        )
    return tag(
        "figure", tag("figcaption", joined(caption)), _drawing(matrix, share), _worst_cells(matrix, share),
        class_="matrix",
    )  # fmt: skip


def legend() -> Markup:
    """What the colours mean, once for all maps."""
    parts = []
    for number, low in enumerate(CLASSES):
        last = number + 1 == len(CLASSES)
        text = f"{low:.0%} of the median and more" if last else f"{low:.0%} – {CLASSES[number + 1]:.0%}"
        text = text if low else f"below {CLASSES[1]:.0%}"
        parts.append(tag("li", tag("span", class_=f"swatch k{number}"), text))
    return tag("ul", joined(parts), tag("li", tag("span", class_="swatch bad"), "judged bad"), class_="legend swatches")


def _drawing(matrix: Matrix, share: Floats) -> Markup:
    rows, columns = share.shape
    most = max(rows, columns)
    side = 34 if most < _NUMBERS else 15 if most < _NAMES else 7
    named = most < _NAMES
    left = 12 + round(6.4 * max(len(_short(name)) for name in matrix.rows)) if named else 4
    top = (
        18
        if most < _NUMBERS and max(len(name) for name in matrix.columns) < 6
        else 12 + round(6.4 * max(len(_short(name)) for name in matrix.columns))
        if named
        else 4
    )
    parts: list[str] = []
    if named:
        parts += [
            tag("text", _short(name), x=left - 6, y=top + i * side + side / 2 + 4, class_="row")
            for i, name in enumerate(matrix.rows)
        ]
        parts += [_column_name(_short(name), left + i * side + side / 2, top - 6) for i, name in enumerate(matrix.columns)]  # fmt: skip
    classes = np.digitize(share, CLASSES[1:])
    parts += _cells(matrix, share, classes, (left, top, side)) if most < _SINGLE else _areas(classes, share, (left, top, side))  # fmt: skip
    borders = "".join(
        f"M{left + j * side + 1} {top + i * side + 1}h{side - 2}v{side - 2}h-{side - 2}z"
        for i, j in np.argwhere(matrix.bad).tolist()
    )
    if borders:
        parts.append(tag("path", d=borders, class_="bad"))
    width, height = left + columns * side + 4, top + rows * side + 4
    label = f"Heat map of {matrix.title}, {rows} × {columns} cells; the slowest cells are listed beside it."
    return tag("svg", tag("title", label), joined(parts), viewBox=f"0 0 {width} {height}", width=width, height=height, role="img", aria_label=label)  # fmt: skip


def _column_name(name: str, x: float, y: float) -> Markup:
    if len(name) < 6:
        return tag("text", name, x=x, y=y, class_="column")
    return tag("text", name, transform=f"translate({x + 4:.6g} {y}) rotate(-90)", class_="turned")


def _cells(matrix: Matrix, share: Floats, classes: npt.NDArray[np.intp], place: tuple[int, int, int]) -> list[str]:
    """One rectangle each, which says its number when it is pointed at."""
    left, top, side = place
    parts: list[str] = []
    for i, j in np.argwhere(np.isfinite(share)).tolist():
        x, y = left + j * side, top + i * side
        text = f"{matrix.rows[i]} → {matrix.columns[j]}: {show(float(matrix.value[i, j]), matrix.unit)}, {share[i, j]:.0%} of the median"
        parts.append(
            tag("rect", tag("title", text), x=x, y=y, width=side - 1, height=side - 1, class_=f"k{classes[i, j]}")
        )
        if side > 30:
            parts.append(
                tag(
                    "text",
                    f"{share[i, j] * 100:.0f}",
                    x=x + side / 2 - 0.5,
                    y=y + side / 2 + 4,
                    class_=f"in k{classes[i, j]}",
                )
            )
    return parts


def _areas(classes: npt.NDArray[np.intp], share: Floats, place: tuple[int, int, int]) -> list[str]:
    """One path per class: 9,000 cells stay small."""
    left, top, side = place
    parts: list[str] = []
    for number in range(len(CLASSES)):
        cells = np.argwhere(np.isfinite(share) & (classes == number)).tolist()
        path = "".join(f"M{left + j * side} {top + i * side}h{side - 1}v{side - 1}h-{side - 1}z" for i, j in cells)
        if path:
            parts.append(tag("path", d=path, class_=f"k{number}"))
    return parts


def _worst_cells(matrix: Matrix, share: Floats) -> Markup:
    order = np.argsort(np.where(np.isfinite(share), share, np.inf), axis=None)[:_LISTED]
    rows = []
    for i, j in _places(order, share):
        if share[i, j] >= CLASSES[-1]:
            continue
        what = f"{_cell_name(matrix.rows, i, matrix)} → {_cell_name(matrix.columns, j, matrix)}"
        rows.append(
            tag(
                "li",
                tag("span", what, class_="name"),
                f" {show(float(matrix.value[i, j]), matrix.unit)}, {share[i, j]:.0%}",
            )
        )
    if not rows:
        return tag("p", f"No cell is below {CLASSES[-1]:.0%} of the median.", class_="quiet")
    return tag(
        "div",
        tag("p", "Slowest cells, and their share of the median:", class_="quiet"),
        tag("ol", joined(rows), class_="cells"),
    )


def _places(order: npt.NDArray[np.intp], share: Floats) -> Iterable[tuple[int, int]]:
    for flat in order.tolist():
        i, j = divmod(flat, share.shape[1])
        if np.isfinite(share[i, j]):
            yield i, j


def _cell_name(names: Sequence[str], at: int, matrix: Matrix) -> str:
    return f"{names[at]} …" if matrix.merged > 1 else names[at]


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:11]}…{name[-12:]}"
