"""What is one line of the table? Our figures, what they are compared with pair by pair, and whether the target is met."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Quantity = Literal["value", "ratio", "difference"]


class CannotRun(Exception):
    """A benchmark could not be run here, and why. It says nothing about any number."""


@dataclass(frozen=True)
class Target:
    """What the median of a quantity should be; closed on both sides.

    Attributes:
        quantity: our figure itself, ours / theirs, or ours - theirs.
        lower: smallest, None when there is none.
        upper: largest, None when there is none.
    """

    quantity: Quantity
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        what: was measured.
        unit: SI unit of ours and theirs, or a counted noun.
        ours: every figure that counted, in the order of measuring.
        reference: what they are compared with in the same run; empty: nothing.
        theirs: the reference's figures; the n-th was measured next to the n-th of ours.
        target: None: shown for what follows from it, not judged.
        cited: the same of others, measured elsewhere and earlier.
    """

    what: str
    unit: str
    ours: tuple[float, ...]
    reference: str = ""
    theirs: tuple[float, ...] = ()
    target: Target | None = None
    cited: str = ""

    @property
    def ratios(self) -> tuple[float, ...]:
        """Ours / theirs, pair by pair."""
        return tuple(a / b for a, b in zip(self.ours, self.theirs, strict=False))

    @property
    def differences(self) -> tuple[float, ...]:
        """Ours - theirs, pair by pair."""
        return tuple(a - b for a, b in zip(self.ours, self.theirs, strict=False))

    @property
    def met(self) -> bool | None:
        """Whether the median lies inside the target; None without one."""
        if self.target is None:
            return None
        figures = {"value": self.ours, "ratio": self.ratios, "difference": self.differences}[self.target.quantity]
        median, target = statistics.median(figures), self.target
        return (target.lower is None or median >= target.lower) and (target.upper is None or median <= target.upper)


def ours_text(row: Row) -> str:
    """``81 ms (75 ms … 99 ms, n 15)``."""
    if len(set(row.ours)) == 1:
        return f"{show(row.ours[0], row.unit)} (n {len(row.ours)})"
    return f"{_spread(row.ours, lambda x: show(x, row.unit))[:-1]}, n {len(row.ours)})"


def compared_text(row: Row) -> str:
    """``4.6 (4.1 … 5.2) × python -c pass (17 ms)``, or the difference where the target is one."""
    if not row.theirs:
        return ""
    reference = f"{row.reference} ({show(statistics.median(row.theirs), row.unit)})"
    if row.target and row.target.quantity == "difference":
        return f"{_spread(row.differences, lambda x: _signed(x, row.unit))} to {reference}"
    return f"{_spread(row.ratios, lambda x: f'{x:#.3g}')} × {reference}"


def target_text(row: Row) -> str:
    """``≤ 5 ×``, ``≤ 300 ms more``, ``0.98 … 1.02 ×``."""
    target = row.target
    if target is None:
        return ""
    number: Callable[[float], str] = (lambda x: f"{x:g}") if target.quantity == "ratio" else lambda x: show(x, row.unit)
    after = {"value": "", "ratio": " ×", "difference": " more"}[target.quantity]
    if target.lower is None or target.upper is None:
        sign, bound = ("≥", target.lower) if target.upper is None else ("≤", target.upper)
        return f"{sign} {number(bound or 0.0)}{after}"
    if target.lower == target.upper:
        return f"{number(target.lower)}{after}"
    return f"{number(target.lower)} … {number(target.upper)}{after}"


def met_text(row: Row) -> str:
    """One word."""
    return {True: "met", False: "MISSED", None: ""}[row.met]


def plain(row: Row) -> dict[str, Any]:
    """For JSON, with what follows from the figures."""
    return {
        "what": row.what,
        "unit": row.unit,
        "ours": list(row.ours),
        "median": statistics.median(row.ours),
        "reference": row.reference,
        "theirs": list(row.theirs),
        "ratios": list(row.ratios),
        "target": vars(row.target) if row.target else None,
        "met": row.met,
        "cited": row.cited,
    }


def from_plain(table: dict[str, Any]) -> Row:
    """What ``plain`` gave."""
    return Row(
        table["what"],
        table["unit"],
        tuple(table["ours"]),
        table["reference"],
        tuple(table["theirs"]),
        Target(**table["target"]) if table["target"] else None,
        table["cited"],
    )


def _spread(figures: Sequence[float], text: Callable[[float], str]) -> str:
    return f"{text(statistics.median(figures))} ({text(min(figures))} … {text(max(figures))})"


def _signed(value: float, unit: str) -> str:
    return f"{'-' if value < 0 else '+'}{show(abs(value), unit)}"
