"""What a healthy group would have reached: values of a round as relative slow-downs.

Most groups of a round are healthy, so that the most frequent value of groups of like size is that of a healthy one: the mode, and not the median, which bad
groups pull to their side. Fewer than three groups of a size cannot say; they are held against earlier rounds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.isolation import IsolationSettings, Outcome

#: Sizes that differ by less than this factor are compared with each other.
_LIKE = 1.3
#: (smallest size of like ones, value, groups that it rests on).
Healthy = tuple[tuple[int, float, int], ...]


def losses_of(
    outcomes: Sequence[Outcome], healthy: Healthy, settings: IsolationSettings
) -> tuple[list[float], Healthy]:
    """Slow-down of each outcome (NaN: it has no value), and what healthy groups reach so far."""
    losses = [math.nan] * len(outcomes)
    if not settings.values:
        return losses, healthy
    order = sorted(
        (number for number, one in enumerate(outcomes) if one.kind == "passed" and math.isfinite(one.value)),
        key=lambda number: len(outcomes[number].test.nodes),
    )
    while order:
        smallest = len(outcomes[order[0]].test.nodes)
        like = [number for number in order if len(outcomes[number].test.nodes) < _LIKE * smallest]
        order = order[len(like) :]
        values = np.array([outcomes[number].value for number in like])
        level, healthy = _level(smallest, values, healthy, settings)
        for number, value in zip(like, values, strict=True):
            lost = 1 - value / level if settings.higher_is_better else value / level - 1
            losses[number] = float(lost) if math.isfinite(lost) else math.nan
    return losses, healthy


def _level(
    smallest: int, values: np.typing.NDArray[np.float64], healthy: Healthy, settings: IsolationSettings
) -> tuple[float, Healthy]:
    """What a healthy group of this size reaches, and all that is known of it."""
    if math.isfinite(settings.healthy_value):
        return settings.healthy_value, healthy
    if len(values) >= 3:
        level = _mode(values, settings.noise)
        return level, (*healthy, (smallest, level, len(values)))
    known = [(value, weight) for size, value, weight in healthy if smallest / _LIKE < size < smallest * _LIKE]
    if known:
        return sum(value * weight for value, weight in known) / sum(weight for _, weight in known), healthy
    return float(values.max() if settings.higher_is_better else values.min()), healthy


def _mode(values: np.typing.NDArray[np.float64], noise: float) -> float:
    """The middle of the values around the most crowded one."""
    width = max(noise, 1e-6) * np.median(np.abs(values))
    near = np.exp(-0.5 * ((values[:, None] - values) / width) ** 2)
    weights = near[int(near.sum(axis=1).argmax())]
    for _ in range(10):
        middle = float(weights @ values / weights.sum())
        weights = np.exp(-0.5 * ((values - middle) / (1.5 * width)) ** 2)
    return middle
