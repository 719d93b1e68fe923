"""What could a question see? Its stated false-alarm rate, and the smallest loss that it would have found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Sensitivity:
    """Of one question (peers, baseline, history).

    Attributes:
        comparisons: how many were made.
        false_alarm_rate: stated chance that a run in which all is well blames anybody; None: the limits come from outside,
            they state none.
        z: robust widths that follow from the two; None likewise.
        smallest_loss: relative loss that would have been blamed, smallest and largest over the metrics; None without any.
        fewest: subjects in the smallest comparison (runs, for the own past). Few know their width badly, so that only larger losses
            are seen (judge.peer_rule).
    """

    comparisons: int
    false_alarm_rate: float | None
    z: float | None
    smallest_loss: tuple[float, float] | None
    fewest: int = 0


def span_of(losses: Sequence[float]) -> tuple[float, float] | None:
    """Smallest and largest; None of none."""
    return (min(losses), max(losses)) if losses else None
