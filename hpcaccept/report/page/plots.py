"""One bad value among its like, and over the runs before. Inline SVG, marks only: the words stand beside it.

Every plot of a metric shares one drawing of the distribution, an SVG ``symbol``, and one scale: its marks can be compared, and
10,000 values cost as much as ten. What lies outside of the scale is drawn at its edge, as an arrow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcaccept.report.page.markup import Markup, joined, tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Floats = npt.NDArray[np.float64]

#: The drawing: width and height in user units, and the line on which the bars stand.
WIDTH, HEIGHT, FLOOR = 320, 56, 44
BINS = 64
#: A scale may be so many times wider than what holds 99 % of the values and the limits; farther values go to the edge.
_STRETCH = 3.0


@dataclass(frozen=True)
class Scale:
    """What the width of a plot stands for.

    Attributes:
        low: value at the left edge.
        high: value at the right edge, larger than ``low``.
    """

    low: float
    high: float

    def x(self, value: float) -> float:
        """Place of a value in user units, at the edge where it lies outside."""
        # Halved: the scale may span the largest number there is.
        share = (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return round(min(max(share, 0.0), 1.0) * WIDTH, 1)


def scale_of(values: Floats, marks: Iterable[float]) -> Scale:
    """A scale that shows nearly all values and every mark (a limit), and far values where that costs little.

    Args:
        values: float64[n], finite, at least one.
        marks: limits and centres that must be seen.
    """
    seen = [*np.quantile(values / 2, (0.005, 0.995)) * 2, *marks]
    low, high = float(min(seen)), float(max(seen))
    wide = [min(low, float(values.min())), max(high, float(values.max()))]
    if wide[1] / 2 - wide[0] / 2 <= _STRETCH * (high / 2 - low / 2):
        low, high = wide
    pad = (high / 2 - low / 2) * 0.12 or abs(high) * 0.05 or 1.0
    most = float(np.finfo(np.float64).max)
    return Scale(max(low - pad, -most), min(high + pad, most))


def symbol(ident: str, values: Floats, scale: Scale) -> Markup:
    """The distribution of values, to be used by its id.

    The height of a bar is the square root of its count, so that one subject among 10,000 is still seen.
    """
    inside = values[(values >= scale.low) & (values <= scale.high)]
    places = (inside / 2 - scale.low / 2) / (scale.high / 2 - scale.low / 2) * BINS
    counts = np.bincount(np.minimum(places.astype(np.intp), BINS - 1), minlength=BINS)
    heights = np.sqrt(counts / max(counts.max(), 1)) * (FLOOR - 4)
    step = WIDTH // BINS
    path = "".join(
        f"M{number * step} {FLOOR}v-{height:.4g}h{step - 1}V{FLOOR}z"
        for number, height in enumerate(heights.tolist())
        if height
    )
    return tag("symbol", tag("path", d=path, class_="bars"), id=ident, viewBox=f"0 0 {WIDTH} {HEIGHT}")


def distribution(
    ident: str,
    scale: Scale,
    value: float,
    limits: tuple[float | None, float | None],
    center: float,
    band: tuple[float | None, float | None] | None,
    label: str,
) -> Markup:
    """One value among its like.

    Args:
        ident: id of the symbol that draws the others.
        scale: of that symbol.
        value: which is judged.
        limits: lower and upper, None where there is none; what lies outside is hatched.
        center: median of the others.
        band: what the baseline allows, drawn under the axis; None without one.
        label: what a screen reader says.
    """
    lower, upper = limits
    parts: list[str] = []
    if lower is not None:
        parts.append(tag("rect", x=0, y=0, width=scale.x(lower), height=FLOOR, class_="outside"))
    if upper is not None:
        parts.append(
            tag("rect", x=scale.x(upper), y=0, width=round(WIDTH - scale.x(upper), 1), height=FLOOR, class_="outside")
        )
    parts.append(tag("use", href=f"#{ident}", width=WIDTH, height=HEIGHT))
    parts.append(tag("path", d=f"M0 {FLOOR}H{WIDTH}", class_="axis"))
    if band is not None:
        start = 0.0 if band[0] is None else scale.x(band[0])
        end = float(WIDTH) if band[1] is None else scale.x(band[1])
        parts.append(tag("rect", x=start, y=FLOOR + 2, width=round(end - start, 1), height=4, class_="band"))
    parts.append(tag("path", d=f"M{scale.x(center)} {FLOOR - 3}v10", class_="center"))
    parts += [tag("path", d=f"M{scale.x(x)} 0V{FLOOR}", class_="limit") for x in limits if x is not None]
    parts.append(_mark(scale, value))
    return _svg(parts, WIDTH, HEIGHT, label, "dist")


def _mark(scale: Scale, value: float) -> Markup:
    x = scale.x(value)
    if value < scale.low:
        return tag("path", d=f"M12 {FLOOR - 22}L2 {FLOOR - 15}l10 7z", class_="mark")
    if value > scale.high:
        return tag("path", d=f"M{WIDTH - 12} {FLOOR - 22}l10 7l-10 7z", class_="mark")
    return tag("path", d=f"M{x - 1:.1f} {FLOOR}V10h-4l5 -8l5 8h-4V{FLOOR}z", class_="mark")


def over_runs(values: Sequence[float], now: float, changes: Sequence[int], label: str, *, worse: bool) -> Markup:
    """One subject's value over its runs, this one last.

    Args:
        values: oldest first, NaN where a run has none.
        now: in this run.
        changes: places among the runs from which on the environment was another one.
        label: what a screen reader says.
        worse: whether it is on the bad side of its past; else its mark has no colour of a fault.
    """
    wide, high, edge = 200, HEIGHT, 6
    known = [*(v for v in values if math.isfinite(v)), now]
    low, top = min(known), max(known)
    span = (top / 2 - low / 2) or 1.0
    step = (wide - 2 * edge) / max(len(values), 1)

    def place(number: int, value: float) -> tuple[float, float]:
        return round(edge + number * step, 1), round(high - 10 - (value / 2 - low / 2) / span * (high - 20), 1)

    dots = [place(number, value) for number, value in enumerate(values) if math.isfinite(value)]
    x, y = place(len(values), now)
    line = "".join(f"{'L' if number else 'M'}{a} {b}" for number, (a, b) in enumerate([*dots, (x, y)]))
    parts = [
        tag("path", d=f"M{edge + number * step - step / 2:.1f} 2V{high - 2}", class_="change") for number in changes
    ]
    parts += [tag("path", d=line, class_="line"), *(tag("circle", cx=a, cy=b, r=1.8, class_="past") for a, b in dots)]
    parts.append(tag("circle", cx=x, cy=y, r=4, class_="mark" if worse else "now"))
    return _svg(parts, wide, high, label, "past")


def _svg(parts: Sequence[str], width: int, height: int, label: str, kind: str) -> Markup:
    return tag(
        "svg", tag("title", label), joined(parts), viewBox=f"0 0 {width} {height}", class_=kind, role="img",
        aria_label=label,
    )  # fmt: skip
