"""What a run teaches: baseline entries from the subjects that are not suspect.

Each subject speaks once, by the median of its runs. An entry keeps the median of the subjects and the law by which a further healthy one differs
from it (``judge.statistics.learned_rule``). The failing limit follows from the law and from how many values a run holds against such limits
(``judge.baseline.limit``), and is never nearer than the floor of the metric; the one that is written down is that of a run like the learned ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from hpcaccept.judge.baseline.limit import limits_of, useless
from hpcaccept.judge.statistics.aggregate import Values
from hpcaccept.judge.statistics.learned_rule import Law, laws_of
from hpcaccept.judge.statistics.peer_rule import CPU_FLOOR, robust
from hpcaccept.judge.statistics.rate_shares import LEARNED_BASELINE
from hpcaccept.model.baseline import BaselineEntry
from hpcaccept.model.suite import PeerRule
from hpcaccept.model.table import MeasuredSubject
from hpcaccept.model.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
#: Chance that a healthy run misses any learned limit.
RATE = PeerRule().false_alarm_rate * LEARNED_BASELINE
_CONFIDENCE = 0.95
#: Squares of larger numbers overflow.
_LARGEST = 1e150


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
        reason = f"{verdict.outcome.value} {verdict.key}: {verdict.reason}"
        if untrue and verdict.subject.node:
            found[verdict.subject.node] = reason  # says more than a WARN about the same value
        elif verdict.outcome in (Outcome.FAIL, Outcome.WARN) and verdict.subject.node:
            found.setdefault(verdict.subject.node, reason)
    return found


def learn(
    values: Iterable[Values],
    model: str,
    setting: str,
    left_out: Mapping[str, str],
    revisions: Mapping[str, int],
    shared_floor: float,
    class_floor: float = 0.0,
) -> tuple[dict[str, BaselineEntry], dict[str, str]]:
    """Entries for every rate that like, unsuspected subjects of a model have; and metric key → why nothing was learned of it.

    Args:
        values: of one or several runs.
        model: of the device.
        setting: threads and turns that must be alike; numbers of all ranks together keep their own.
        left_out: suspect nodes.
        revisions: check → revision of its method.
        shared_floor: smallest loss that may be blamed where nodes share a kernel, else 0.
        class_floor: smallest floor of a class of metrics: that of CPUs, else 0.
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
    kept = {key: (pool, own) for (key, own), pool in pools.items()}
    seen = {key: _seen(pool, class_floor) for key, (pool, _) in kept.items()}
    laws = _laws(seen)
    comparisons = sum(len(seen[key].numbers) for key in laws)
    entries = {
        key: _entry(pool, own, revisions.get(pool.column.check, 0), seen[key], laws.get(key), shared_floor, comparisons)
        for key, (pool, own) in kept.items()
    }
    unused = {key: why for key, one in entries.items() if (why := useless(one))}
    return {key: one for key, one in entries.items() if key not in unused}, unused


class _Seen(NamedTuple):
    """What the subjects of a metric show.

    Attributes:
        numbers: float64[n], ascending: one for each subject; of all ranks together one for each run.
        center: their median.
        unseen: standard deviation of one run of a subject that the medians of several do not show.
        floor: of the class of the metric, relative.
        together: of all ranks together: it says nothing of the units of the fleet.
        counted: a count has no noise, and its limit no rate.
    """

    numbers: Floats
    center: float
    unseen: float
    floor: float
    together: bool
    counted: bool


def _seen(pool: _Pool, class_floor: float) -> _Seen:
    metric = pool.column.metric
    subject, value = np.concatenate(pool.subject), np.concatenate(pool.value)
    together = metric.scope == "world"
    numbers = np.sort(value if together else _medians(subject, value))
    floor = max(metric.peer_floor or CPU_FLOOR, class_floor)
    counted = metric.noise == "counted"
    unseen = 0.0 if together or counted else _unseen(subject, value)
    return _Seen(numbers, float(np.median(numbers)), unseen, floor, together, counted)


def _unseen(subject: Ints, value: Floats) -> float:
    """Of the runs of a subject against each other, less what is left of it in their median; 0 of subjects that were in one run each."""
    order = np.argsort(subject, kind="stable")
    subject, value = subject[order], value[order]
    pairs = (value[1:] - value[:-1])[subject[1:] == subject[:-1]]
    if not len(pairs) or not np.abs(pairs).max() < _LARGEST:
        return 0.0
    runs = len(value) / len(np.unique(subject))
    # Of two runs the median is the mean; of more its variance is π/2 of the mean's.
    left = max(0.0, 1 - (1.0 if runs <= 2 else math.pi / 2) / runs)
    # Signs in turn: a drift from run to run is no noise of one.
    width = float(robust((pairs * np.where(np.arange(len(pairs)) % 2, 1, -1))[None, :])[1][0])
    return width / math.sqrt(2) * math.sqrt(left)


def _laws(seen: Mapping[str, _Seen]) -> dict[str, Law]:
    """The law of each metric whose middle is a rate; those of all ranks together apart from those of units."""
    found: dict[str, Law] = {}
    for together in (False, True):
        mine = {
            key: one
            for key, one in seen.items()
            if one.together is together and not one.counted and one.center > 0 and np.abs(one.numbers).max() < _LARGEST
        }
        laws = laws_of(
            [one.numbers / one.center - 1 for one in mine.values()],
            [one.floor for one in mine.values()],
            [one.unseen / one.center for one in mine.values()],
            of_a_fleet=not together,
        )
        found |= dict(zip(mine, laws, strict=True))
    return found


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


def _entry(
    pool: _Pool, setting: str, revision: int, seen: _Seen, law: Law | None, shared_floor: float, comparisons: int
) -> BaselineEntry:
    metric, count = pool.column.metric, sum(len(value) for value in pool.value)
    subjects = len(np.unique(np.concatenate(pool.subject)))
    low, high = median_interval(seen.numbers.tolist())
    floor = max(seen.floor, shared_floor)
    exact = seen.center - floor * abs(seen.center), seen.center + floor * abs(seen.center)
    higher = metric.direction == "higher"
    entry = BaselineEntry(
        key=pool.column.key,
        revision=revision,
        unit=metric.unit,
        direction=metric.direction,
        center=seen.center,
        spread=float(robust(seen.numbers[None, :])[1][0]) if law else 0.0,
        lower=exact[0] if higher else None,
        upper=None if higher else exact[1],
        subjects=subjects,
        source=f"median of {count} values of {subjects} unit(s)",
        values=count,
        nodes=0 if seen.together else len(np.unique(np.concatenate(pool.node))),
        center_low=low,
        center_high=high,
        setting=setting,
    )
    if law is None:
        return entry
    entry = replace(
        entry, floor=floor, width=law.width, freedom=law.freedom, tail=law.tail, rate=RATE, comparisons=comparisons
    )
    lower, upper, _ = limits_of(entry, comparisons, RATE)
    return replace(entry, lower=lower, upper=upper)


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
