"""What does a run teach? Baseline entries from the subjects that are not suspect.

Each subject speaks once, by the median of its runs. The failing limit lies ``max(floor, k × spread)`` below (or above) the
median of the subjects: the floor of the metric keeps a baseline of few, very even subjects from blaming the next healthy one; k is
4, and more where so few subjects were measured that the 95 % interval of a further one is wider.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcaccept.judge.statistics.aggregate import Values
from hpcaccept.judge.statistics.peer_rule import CPU_FLOOR, MAD_TO_SIGMA
from hpcaccept.judge.statistics.student_t import t_quantile
from hpcaccept.model.baseline import BaselineEntry
from hpcaccept.model.table import MeasuredSubject
from hpcaccept.model.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


Ints = npt.NDArray[np.int64]
SIGMAS = 4.0
#: A limit further below the middle than this finds nothing that anybody would call slow.
_MOST_LOSS = 0.5
_CONFIDENCE = 0.95


@dataclass
class _Pool:
    """The numbers of one metric, and whose they are.

    Attributes:
        column: one that they are of.
        subject: int64[…] of each run: number of the subject.
        node: int64[…] of each run: number of its node.
        value: float64[…] of each run.
    """

    column: Values
    subject: list[Ints] = field(default_factory=list)
    node: list[Ints] = field(default_factory=list)
    value: list[npt.NDArray[np.float64]] = field(default_factory=list)


@dataclass
class _Roll:
    """Which subjects may be learned from, looked up once for each table of subjects and not for each value.

    Attributes:
        model: of the device.
        setting: that must be alike.
        left_out: suspect nodes.
        subjects: number of each subject.
        nodes: number of each node.
        tables: identity of a table of subjects → the table (so that no other takes its place), whether, and number of subject and node.
    """

    model: str
    setting: str
    left_out: Mapping[str, str]
    subjects: dict[MeasuredSubject, int] = field(default_factory=dict)
    nodes: dict[str, int] = field(default_factory=dict)
    tables: dict[int, tuple[tuple[MeasuredSubject, ...], npt.NDArray[np.bool_], Ints, Ints]] = field(
        default_factory=dict
    )

    def columns_of(self, table: tuple[MeasuredSubject, ...]) -> tuple[npt.NDArray[np.bool_], Ints, Ints]:
        """bool[u], int64[u], int64[u] for the subjects of a run."""
        known = self.tables.get(id(table))
        if known is None:
            fits = np.array([_fits(u, self.model, self.setting) and u.node not in self.left_out for u in table], bool)
            subject = np.array([self.subjects.setdefault(u, len(self.subjects)) for u in table], np.int64)
            node = np.array([self.nodes.setdefault(u.node, len(self.nodes)) for u in table], np.int64)
            known = self.tables[id(table)] = (table, fits, subject, node)
        return known[1:]


def suspects(verdicts: Iterable[Verdict]) -> dict[str, str]:
    """Node → first reason, for every node with a FAIL or WARN, or a value that may not be judged: it is not learned from."""
    found: dict[str, str] = {}
    for verdict in verdicts:
        # An ERROR with a value: somebody else used the device, or the value is more than the part can do.
        untrue = verdict.outcome is Outcome.ERROR and verdict.value is not None
        if (untrue or verdict.outcome in (Outcome.FAIL, Outcome.WARN)) and verdict.subject.node:
            found.setdefault(verdict.subject.node, f"{verdict.outcome.value} {verdict.key}: {verdict.reason}")
    return found


def learn(
    values: Iterable[Values],
    model: str,
    setting: str,
    left_out: Mapping[str, str],
    revisions: Mapping[str, int],
    shared_floor: float,
) -> tuple[dict[str, BaselineEntry], dict[str, str]]:
    """Entries for every rate that like, unsuspected subjects of a model have; and metric key → why nothing was learned of it.

    Args:
        values: of one or several runs.
        model: of the device.
        setting: threads and turns that must be alike; numbers of all ranks together keep their own.
        left_out: suspect nodes.
        revisions: check → revision of its method.
        shared_floor: smallest loss that may be blamed where nodes share a kernel, else 0.
    """
    roll = _Roll(model, setting, left_out)
    pools: dict[tuple[str, str], _Pool] = {}
    for column in values:
        if not column.metric.is_rate or (column.metric.peer_floor is None and column.metric.scope != "world"):
            continue
        fits, subject, node = roll.columns_of(column.table_subjects)
        for own, rows in _by_setting(column, np.flatnonzero(fits[column.subject]), setting):
            pool = pools.setdefault((column.key, own), _Pool(column))
            pool.subject.append(subject[column.subject[rows]])
            pool.node.append(node[column.subject[rows]])
            pool.value.append(column.value[rows])
    # Of one metric in several scales (4 nodes, 8 nodes) the last one measured is kept: a file has one entry per key.
    entries = {
        key: _entry(pool, own, revisions.get(pool.column.check, 0), shared_floor) for (key, own), pool in pools.items()
    }
    useless = {key: why for key, one in entries.items() if (why := _useless(one))}
    return {key: one for key, one in entries.items() if key not in useless}, useless


def _useless(entry: BaselineEntry) -> str:
    """Why a limit would be met by the broken too; empty for one that finds something."""
    center = entry.center or 0.0
    if center <= 0:
        return "the middle is 0"
    loss = 1 - entry.lower / center if entry.lower is not None else (entry.upper or math.inf) / center - 1
    # Rounding: half, as nodes that share a kernel are given, is still a limit.
    if loss > (_MOST_LOSS if entry.lower is not None else 1.0) + 1e-9:
        return f"the units differ so much that a loss of {loss:.0%} would still pass"
    return ""


def _fits(subject: MeasuredSubject, model: str, setting: str) -> bool:
    return subject.model == model and (
        subject.setting == setting or (not subject.node and subject.setting.startswith(setting))
    )


def _by_setting(column: Values, rows: npt.NDArray[np.intp], setting: str) -> Iterable[tuple[str, npt.NDArray[np.intp]]]:
    """Rows of a column, those of all ranks together by their own setting (empty: that of the others)."""
    if column.metric.scope != "world":
        if len(rows):
            yield "", rows
        return
    for row in rows.tolist():
        own = column.table_subjects[column.subject[row]].setting
        yield (own if own != setting else ""), np.array([row])


def only_at(columns: Iterable[Values], places: frozenset[tuple[str, str]]) -> Iterator[Values]:
    """The values of some devices (node, device), of the nodes that have one of them, and of all ranks together.

    Args:
        columns: of one run.
        places: (node, device).
    """
    nodes = {node for node, _ in places}
    subjects: tuple[MeasuredSubject, ...] | None = None
    mask = np.empty(0, bool)
    for column in columns:
        if column.table_subjects is not subjects:
            subjects = column.table_subjects
            mask = np.array(
                [not u.node or (u.node, u.device) in places or (not u.device and u.node in nodes) for u in subjects],
                bool,
            )
        kept = mask[column.subject]
        yield replace(
            column,
            subject=column.subject[kept],
            value=column.value[kept],
            spread=column.spread[kept],
            launches=column.launches[kept],
            level=column.level[kept],
        )


def _medians(subject: Ints, value: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The median of each subject's numbers, in no order."""
    order = np.lexsort((value, subject))
    subject, value = subject[order], value[order]
    starts = np.flatnonzero(np.r_[True, subject[1:] != subject[:-1]])
    ends = np.r_[starts[1:], len(subject)]
    middle: npt.NDArray[np.float64] = value[(starts + ends - 1) // 2] / 2 + value[(starts + ends) // 2] / 2
    return middle


def _entry(pool: _Pool, setting: str, revision: int, shared_floor: float) -> BaselineEntry:
    metric = pool.column.metric
    subject, value = np.concatenate(pool.subject), np.concatenate(pool.value)
    subjects = len(np.unique(subject))
    # All ranks together are one subject, which speaks anew in every run.
    numbers = np.sort(value if metric.scope == "world" else _medians(subject, value))
    center = float(np.median(numbers))
    spread = MAD_TO_SIGMA * float(np.median(np.abs(numbers - center)))
    wide = prediction_factor(len(numbers))
    floor = max(metric.peer_floor or CPU_FLOOR, shared_floor)
    sigmas = max(SIGMAS, wide) if math.isfinite(wide) else SIGMAS
    loss = max(floor * abs(center), sigmas * spread)
    higher = metric.direction == "higher"
    low, high = median_interval(numbers.tolist())
    return BaselineEntry(
        key=pool.column.key,
        revision=revision,
        unit=metric.unit,
        direction=metric.direction,
        center=center,
        spread=spread,
        lower=center - loss if higher else None,
        upper=None if higher else center + loss,
        subjects=subjects,
        source=f"median of {len(value)} values of {subjects} unit(s), loss > max({floor:.3g}, {sigmas:.3g} robust sigma)",
        values=len(value),
        nodes=0 if metric.scope == "world" else len(np.unique(np.concatenate(pool.node))),
        center_low=low,
        center_high=high,
        setting=setting,
    )


def median_interval(ordered: list[float]) -> tuple[float | None, float | None]:
    """95 % interval of the median from order statistics, whatever the distribution; (None, None) for fewer than six.

    The k-th smallest and k-th largest number enclose the median unless fewer than k of n lie on one side, which happens with
    the probability 2·P(Binomial(n, 1/2) < k). https://en.wikipedia.org/wiki/Median#Confidence_interval (order statistics)
    """
    count = len(ordered)
    # What lies seven standard deviations out adds nothing: with 30,000 numbers that is nearly all of the sum.
    below, rank = 0.0, max(0, int(count / 2 - 3.5 * math.sqrt(count)))
    while rank < count // 2:
        below += math.exp(
            math.lgamma(count + 1) - math.lgamma(rank + 1) - math.lgamma(count - rank + 1) - count * math.log(2)
        )
        if 2 * below > 1 - _CONFIDENCE:
            break
        rank += 1
    return (ordered[rank - 1], ordered[count - rank]) if rank else (None, None)


def prediction_factor(count: int) -> float:
    """How many standard deviations around the centre of n subjects one further subject lies in with 95 %: t · sqrt(1 + 1/n).

    Inf for fewer than two. G. Hahn, W. Meeker, Statistical Intervals (1991), section 4.7; for subjects that are normally
    distributed. With the robust deviation in place of the usual one it is a little too narrow for few subjects.
    """
    if count < 2:
        return math.inf
    return t_quantile((1 - _CONFIDENCE) / 2, count - 1) * math.sqrt(1 + 1 / count)
