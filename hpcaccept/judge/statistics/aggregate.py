"""Turns the repeats of one subject into one number, and marks a suspect spread."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcaccept.model.metric import Metric
from hpcaccept.model.metric_key import MetricKey
from hpcaccept.model.table import MeasuredSubject, SampleTable

if TYPE_CHECKING:
    from collections.abc import Mapping

Floats = npt.NDArray[np.float64]
#: Nodes of which one cannot be the reason why a launch was slow for both.
_TELL_OF_A_LAUNCH = 2


@dataclass(frozen=True, eq=False)
class Values:
    """One metric of all subjects that have it.

    Attributes:
        key: metric key.
        metric: its declaration.
        table_subjects: measured subjects of the run.
        subject: int32[u], index into ``table_subjects``, ascending.
        value: float64[u], one number per subject by the metric's statistic; ``best``: the best launch, by its median block.
        spread: float64[u], (max − min) / |median| of the subject's repeats; 0 for a single one.
        launches: int32[u], in how many launches the subject was measured: more than one after a retest.
        level: float64[u], as ``value``, with the launches put on one level: for a comparison of subjects of one run.
    """

    key: str
    metric: Metric
    table_subjects: tuple[MeasuredSubject, ...]
    subject: npt.NDArray[np.int32]
    value: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]
    launches: npt.NDArray[np.int32]
    level: npt.NDArray[np.float64]

    @cached_property
    def subjects(self) -> tuple[MeasuredSubject, ...]:
        """The subject of each value; made when it is asked for: judging needs only the numbers of subjects."""
        return tuple(self.table_subjects[number] for number in self.subject.tolist())

    @property
    def parts(self) -> MetricKey:
        """The key taken apart."""
        return MetricKey.parse(self.key)

    @property
    def check(self) -> str:
        """Name of the check in its suite."""
        return self.parts.check_name

    @property
    def variant(self) -> str:
        """Of the metric."""
        return self.parts.variant


def values_of(table: SampleTable, catalogue: Mapping[str, Mapping[str, Metric]]) -> list[Values]:
    """Every metric of a run. Its samples must be declared in the catalogue (``store.gather`` sees to it)."""
    # Small whole numbers are sorted by their digits, in one pass.
    narrow = np.uint16 if len(table.keys) < 1 << 16 else np.uint32
    order = np.argsort(table.key.astype(narrow), kind="stable")
    ends = np.cumsum(np.bincount(table.key, minlength=len(table.keys))).tolist()
    found = []
    for name, begin, end in zip(table.keys, [0, *ends], ends, strict=False):
        key = MetricKey.parse(name)
        metric = catalogue.get(key.check_name, {}).get(key.metric)
        if metric is not None and end > begin:
            found.append(_column(table, name, metric, order[begin:end]))
    return found


def _column(table: SampleTable, key: str, metric: Metric, rows: npt.NDArray[np.intp]) -> Values:
    value = table.value[rows]
    launch = table.launch[rows].astype(np.int64)
    place = table.subject[rows] * (launch.max() - launch.min() + 1) + launch - launch.min()
    if (place[1:] < place[:-1]).any():
        order = np.argsort(place, kind="stable")
        rows, value, place = rows[order], value[order], place[order]
    subject = table.subject[rows]
    if (subject[1:] != subject[:-1]).all():  # one number each
        once = np.ones(len(subject), np.int32)
        return Values(key, metric, table.subjects, subject, value, np.zeros(len(value)), once, value)
    # Where each launch of each subject begins, and each subject.
    launches = np.flatnonzero(np.r_[True, place[1:] != place[:-1]])
    subjects = np.flatnonzero(np.r_[True, subject[1:] != subject[:-1]])
    first = np.searchsorted(launches, subjects)
    count = np.diff(np.r_[first, len(launches)]).astype(np.int32)
    low, high = np.minimum.reduceat(value, subjects), np.maximum.reduceat(value, subjects)
    middle = _medians(value, subjects)
    level: Floats | None = None
    if metric.statistic == "median":
        chosen = middle
    elif metric.statistic == "best":
        extreme = np.maximum if metric.direction == "higher" else np.minimum
        by_launch = _medians(value, launches)
        chosen = extreme.reduceat(by_launch, first)
        if metric.noise == "timed" and (count > 1).any():
            node = table.node_numbers[subject[subjects]]
            level = extreme.reduceat(_levelled(by_launch, table.launch[rows[launches]], first, count, node), first)
    else:
        chosen = low if metric.direction == "higher" else high
    return Values(
        key=key,
        metric=metric,
        table_subjects=table.subjects,
        subject=subject[subjects],
        value=chosen,
        spread=_spread(low, high, np.abs(middle)),
        launches=count,
        level=chosen if level is None else level,
    )


def _levelled(
    by_launch: Floats,
    launch: npt.NDArray[np.int32],
    first: npt.NDArray[np.intp],
    count: npt.NDArray[np.int32],
    node: npt.NDArray[np.intp],
) -> Floats:
    """What each launch of each subject reached, divided by what that launch was for everybody.

    One launch is slow for all of them (cold caches, a busy file system, other programs on the machine), another is not. Put side by side
    as they are, a subject that was disturbed in the good launch competes with the others' good one, and one that has only the slow
    launch competes with everybody's. What a launch was for everybody is the median, over its subjects, of what each reached there against
    its own middle over all launches. A node that is alone in a launch with another one says nothing of it. And where half of them
    were disturbed in one launch and half in none, the half that was as usual is believed.

    Args:
        by_launch: float64[l], of each subject in each of its launches.
        launch: int32[l], number of the launch.
        first: int[u], where the launches of each subject begin.
        count: int32[u], how many there are.
        node: int[u], number of the node of each subject.
    """
    of = np.repeat(np.arange(len(first)), count)
    own = _medians(by_launch, first)[of]
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        share = by_launch / own
    usable = (own > 0) & np.isfinite(share) & (share > 0) & (count > 1)[of]
    levelled = by_launch.copy()
    for number in np.unique(launch[usable]).tolist():
        mine = launch == number
        if len(np.unique(node[of][mine & usable])) < _TELL_OF_A_LAUNCH:
            continue
        ranked = np.sort(share[mine & usable])
        usual = float(np.clip(1.0, ranked[(len(ranked) - 1) // 2], ranked[len(ranked) // 2]))
        with np.errstate(over="ignore"):
            levelled[mine] = by_launch[mine] / usual
    finite: Floats = np.where(np.isfinite(levelled), levelled, by_launch)
    return finite


def _spread(low: Floats, high: Floats, middle: Floats) -> Floats:
    """(max − min) / |median| over all samples."""
    with np.errstate(over="ignore"):  # between -1e291 and 1.8e308 lies more than a number can hold
        width = high - low
        relative = np.divide(width, middle, out=np.zeros_like(width), where=middle > 0)
    finite: Floats = np.minimum(relative, np.finfo(np.float64).max)  # JSON knows no infinity
    return finite


def _medians(value: Floats, starts: npt.NDArray[np.intp]) -> Floats:
    """Median of each run of values; runs of the same length are sorted together."""
    if len(starts) == len(value):
        return value
    lengths = np.diff(np.r_[starts, len(value)])
    found = np.empty(len(starts))
    for length in np.flatnonzero(np.bincount(lengths)).tolist():
        which = np.flatnonzero(lengths == length)
        block = np.sort(value[starts[which][:, None] + np.arange(length)], axis=1)
        # Halved before they are added: a check may say 1.8e308, the largest number there is.
        found[which] = block[:, (length - 1) // 2] / 2 + block[:, length // 2] / 2
    return found
