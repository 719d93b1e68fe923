"""What a question could see: its stated false-alarm rate, and for each kind of metric the losses that it would have found.

A unit is blamed where its value lies beyond the cut, and its value has a width of its own. So a loss as large as the cut is found half of
the time, whatever the width is; one is found 19 times of 20 that brings the middle of its values 1.645 widths (the 95 % quantile of the
normal distribution) beyond the cut. The width is the robust one of the like units, for few of them no less than that of healthy units of
the class (a quarter of the floor), and wider by what the centre of few others varies itself. Simulated with ``benchmarks.sensitivity``:
docs/explanation/detection.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.statistics.peer_rule import ALONE_AMONG, WIDTHS_IN_FLOOR, OfRun, compare_with_peers, robust
from hpcaccept.judge.statistics.student_t import normal_quantile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.judge.statistics.grouping import Alike
    from hpcaccept.judge.statistics.peer_rule import Compared
    from hpcaccept.model.metric import Metric

#: Widths by which a value lies on the blamed side 95 times of 100.
_NEARLY_ALWAYS = 1.645
#: Larger losses than this of what takes longer (times) are none that anybody looks for.
_LARGEST = 1e3
#: More like subjects than these tell no more of their width, and fewer do not know it.
_MANY, _ENOUGH = 4096, 8
#: Of the middle: no unit of the quantiles is slower.
_LEAST = 1e-3


@dataclass(frozen=True)
class Sight:
    """What one comparison, or all of one kind, could see.

    Attributes:
        kind: of the metric (``model.metric.Kind``).
        metrics: how many comparisons these are.
        half: relative loss that is found half of the time, smallest and largest of them; 1 and more of a rate: none.
        nearly_all: relative loss that is found 19 times of 20, likewise; None where the width is not known.
    """

    kind: str
    metrics: int
    half: tuple[float, float]
    nearly_all: tuple[float, float] | None


@dataclass(frozen=True)
class Sensitivity:
    """Of one question (peers, baseline, history).

    Attributes:
        comparisons: how many were made.
        false_alarm_rate: stated chance that a run in which all is well blames anybody by this question: its share (``rate_shares``) of the run's;
            None: all limits come from outside, they state none.
        z: robust widths that follow from the two; None likewise.
        smallest_loss: relative loss that is blamed half of the time, smallest and largest over the metrics; None without any.
        fewest: subjects in the smallest comparison (runs, for the own past). Few know their width badly, so that only larger losses
            are seen (judge.statistics.peer_rule).
        kinds: the same for each kind of metric, with the loss that is nearly always found.
        tail: what kind of noise with heavy tails the units differ by, for which the stated rate does not hold; empty: none is seen.
        unrated: comparisons of these against exact limits, which state no rate: published ones, those of other tools, and counts.
    """

    comparisons: int
    false_alarm_rate: float | None
    z: float | None
    smallest_loss: tuple[float, float] | None
    fewest: int = 0
    kinds: tuple[Sight, ...] = ()
    tail: str = ""
    unrated: int = 0


def sight_of(metric: Metric, compared: Compared, floor: float) -> Sight:
    """What a comparison of like units, or of units with their own past, could see of the middle one of them.

    Args:
        metric: that is compared.
        compared: how.
        floor: smallest relative loss that is a FAIL.
    """
    known = np.isfinite(compared.fail_at) & np.isfinite(compared.sigma)
    others = max(len(compared.fail_at) - 1, 1)
    if not known.any():
        return seen(metric, _LARGEST, None)
    cut, sigma = float(np.median(compared.fail_at[known])), float(np.median(compared.sigma[known]))
    if others < ALONE_AMONG and metric.noise == "timed":
        sigma = max(sigma, floor / WIDTHS_IN_FLOOR)
    # A centre of few varies: the variance of a median is π/2 of the mean's.
    return seen(metric, cut, sigma * math.sqrt(1 + math.pi / 2 / others))


def expected_sight(
    metric: Metric, subjects: int, floors: tuple[float, float], z: float, width: float | None = None
) -> Sight:
    """What a comparison will see of healthy units, before anything was measured.

    Args:
        metric: that will be compared.
        subjects: how many like units, at least two.
        floors: smallest relative losses that are a WARN and a FAIL.
        z: widths beyond which a unit is blamed (``peer_rule.cut``).
        width: by which such units are known to differ, a relative standard deviation; None: as those of their class do.
    """
    count, timed = min(subjects, _MANY), metric.noise == "timed"
    usual = floors[1] / WIDTHS_IN_FLOOR if width is None else width
    quantiles = np.array([normal_quantile((i + 0.5) / count) for i in range(count)])
    value = np.maximum(1 + (usual if timed else 0.0) * quantiles, _LEAST)
    node = np.arange(count, dtype=np.intp)
    compared = compare_with_peers(value, metric.direction == "higher", node, floors, z, run=OfRun(timed=timed))
    return sight_of(metric, compared, floors[1])


def widths_of(values: Iterable[Values], alike: Alike) -> dict[str, tuple[float, ...]]:
    """By how much like units of a run differ: metric key without its variant → a relative standard deviation for each variant and kind of unit."""
    found: dict[str, list[float]] = {}
    for column in values:
        metric = column.metric
        if metric.peer_floor is None or metric.noise != "timed" or metric.scope == "world":
            continue
        for _, rows in alike.groups(column.subject):
            if len(rows) >= _ENOUGH:
                center, width = robust(column.level[rows][None, :])
                relative = float(width[0] / center[0]) if center[0] > 0 else math.nan
                found.setdefault(str(column.parts.bare), []).extend([relative] if math.isfinite(relative) else [])
    return {key: tuple(mine) for key, mine in found.items() if mine}


def seen(metric: Metric, cut: float, width: float | None) -> Sight:
    """What is seen where every loss beyond a cut is blamed.

    Args:
        metric: that is judged.
        cut: relative loss that is blamed.
        width: relative standard deviation of what is compared with it; None: not known.
    """
    higher = metric.direction == "higher"
    cut = min(cut, 1.0 if higher else _LARGEST)
    nearly = None if width is None else _beyond(cut, _NEARLY_ALWAYS * width, higher=higher)
    return Sight(metric.sort, 1, (cut, cut), None if nearly is None else (nearly, nearly))


def _beyond(cut: float, margin: float, *, higher: bool) -> float:
    """The loss after which a value stays beyond the cut even when it comes out better by a margin; it shrinks with the rate."""
    if higher:
        return 1 - (1 - cut) / (1 + margin)
    return min((1 + cut) / (1 - margin) - 1, _LARGEST) if margin < 1 else _LARGEST


def by_kind(sights: Iterable[Sight]) -> tuple[Sight, ...]:
    """One entry for each kind, in the order of their first metric."""
    found: dict[str, list[Sight]] = {}
    for sight in sights:
        found.setdefault(sight.kind, []).append(sight)
    return tuple(_together(kind, mine) for kind, mine in found.items())


def _together(kind: str, sights: Sequence[Sight]) -> Sight:
    ends = [sight.nearly_all for sight in sights]
    known = [end for pair in ends if pair for end in pair] if all(ends) else []
    half = [end for sight in sights for end in sight.half]
    return Sight(kind, sum(sight.metrics for sight in sights), (min(half), max(half)), span_of(known))


def span_of(losses: Sequence[float]) -> tuple[float, float] | None:
    """Smallest and largest; None of none."""
    return (min(losses), max(losses)) if losses else None
