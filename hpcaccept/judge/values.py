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
        value: float64[u], one number per unit by the metric's statistic; ``best``: the best launch, by its median block.
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
    """Every metric of a run. Its samples must be declared in the catalogue (``store.gather`` sees to it)."""
    if not len(table):
        return []
    order = np.lexsort((table.value, table.launch, table.unit, table.key))
    key, unit, launch, value = table.key[order], table.unit[order], table.launch[order], table.value[order]
    new_unit = np.r_[True, (key[1:] != key[:-1]) | (unit[1:] != unit[:-1])]
    launches = np.flatnonzero(new_unit | np.r_[True, launch[1:] != launch[:-1]])
    units = np.flatnonzero(new_unit)
    medians = _medians(value, launches)
    # Where the launches of each unit begin, counted in launches.
    first = np.flatnonzero(new_unit[launches])
    summary = _Summary(
        low=np.minimum.reduceat(value, units),
        high=np.maximum.reduceat(value, units),
        slowest=np.minimum.reduceat(medians, first),
        fastest=np.maximum.reduceat(medians, first),
        middle=_medians(_sorted_within(value, units), units),
    )
    return _columns(table, catalogue, key[units], unit[units], summary)


@dataclass(frozen=True)
class _Summary:
    """Per unit and metric: extremes of the samples, extremes of the medians of its launches, median of all samples."""

    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    slowest: npt.NDArray[np.float64]
    fastest: npt.NDArray[np.float64]
    middle: npt.NDArray[np.float64]

    def pick(self, metric: Metric, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        """The one number of each unit."""
        best_is_high = metric.direction == "higher"
        if metric.statistic == "median":
            return self.middle[rows]
        if metric.statistic == "best":
            return (self.fastest if best_is_high else self.slowest)[rows]
        return (self.low if best_is_high else self.high)[rows]

    def spread(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        """(max − min) / |median| over all samples."""
        middle = np.abs(self.middle[rows])
        width = self.high[rows] - self.low[rows]
        with np.errstate(over="ignore"):
            relative = np.divide(width, middle, out=np.zeros_like(width), where=middle > 0)
        finite: npt.NDArray[np.float64] = np.minimum(relative, np.finfo(np.float64).max)  # JSON knows no infinity
        return finite


def _columns(
    table: SampleTable,
    catalogue: Mapping[str, Mapping[str, Metric]],
    keys: npt.NDArray[np.int32],
    units: npt.NDArray[np.int32],
    summary: _Summary,
) -> list[Values]:
    found = []
    for number, name in enumerate(table.keys):
        check, metric_name, _ = split_key(name)
        metric = catalogue.get(check, {}).get(metric_name)
        rows = np.flatnonzero(keys == number)
        if metric is not None and len(rows):
            who = tuple(table.units[i] for i in units[rows])
            found.append(Values(name, metric, who, summary.pick(metric, rows), summary.spread(rows)))
    return found


def _medians(value: npt.NDArray[np.float64], starts: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Median of each group of values that are sorted within their group."""
    ends = np.r_[starts[1:], len(value)]
    # Halved before they are added: a check may say 1.8e308, the largest number there is.
    middle: npt.NDArray[np.float64] = value[(starts + ends - 1) // 2] / 2 + value[(starts + ends) // 2] / 2
    return middle


def _sorted_within(value: npt.NDArray[np.float64], starts: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """The values sorted within each group, the groups in their order."""
    group = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(value)]))
    return value[np.lexsort((value, group))]
