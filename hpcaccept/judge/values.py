"""How do the repeats of one unit become one number, and how suspect is its spread?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcaccept.model.metric import Metric, split_key
from hpcaccept.model.table import SampleTable, Unit

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Values:
    """One metric of all units that have it.

    Attributes:
        key: metric key.
        metric: its declaration.
        units: measured units.
        value: float64[u], one number per unit by the metric's statistic.
        spread: float64[u], (max − min) / |median| of the unit's repeats; 0 for a single one.
    """

    key: str
    metric: Metric
    units: tuple[Unit, ...]
    value: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]

    @property
    def check(self) -> str:
        """Name of the check."""
        return split_key(self.key)[0]

    @property
    def variant(self) -> str:
        """Of the metric."""
        return split_key(self.key)[2]


def values_of(table: SampleTable, catalogue: Mapping[str, Mapping[str, Metric]]) -> list[Values]:
    """Every metric of a run. Numbers of metrics that no check declares are left out: judge_absent tells of them."""
    order = np.lexsort((table.value, table.unit, table.key))
    key, unit, value = table.key[order], table.unit[order], table.value[order]
    if not len(value):
        return []
    starts = np.flatnonzero(np.r_[True, (key[1:] != key[:-1]) | (unit[1:] != unit[:-1])])
    ends = np.r_[starts[1:], len(value)]
    low, high = value[starts], value[ends - 1]
    median = (value[(starts + ends - 1) // 2] + value[(starts + ends) // 2]) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.where(median != 0, (high - low) / np.abs(median), 0.0)
    found = []
    group_key, group_unit = key[starts], unit[starts]
    for number, name in enumerate(table.keys):
        check, metric_name, _ = split_key(name)
        metric = catalogue.get(check, {}).get(metric_name)
        mine = np.flatnonzero(group_key == number)
        if metric is None or not len(mine):
            continue
        one = _pick(metric, low[mine], median[mine], high[mine])
        units = tuple(table.units[i] for i in group_unit[mine])
        found.append(Values(name, metric, units, one, spread[mine]))
    return found


def _pick(
    metric: Metric, low: npt.NDArray[np.float64], median: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    if metric.statistic == "median":
        return median
    best_is_high = metric.direction == "higher"
    if metric.statistic == "best":
        return high if best_is_high else low
    return low if best_is_high else high
