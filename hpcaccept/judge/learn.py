"""What does a run teach? Baseline entries from the units that are not suspect.

Each unit speaks once, by the median of its runs. The failing limit lies ``max(floor, k × spread)`` below (or above) the
median of the units: the floor of the metric keeps a baseline of few, very even units from blaming the next healthy one; k is
4, and more where so few units were measured that the 95 % interval of a further one is wider.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.against_peers import CPU_FLOOR
from hpcaccept.judge.peer_rule import MAD_TO_SIGMA
from hpcaccept.judge.quantile import t_quantile
from hpcaccept.judge.values import Values
from hpcaccept.model.baseline import BaselineEntry
from hpcaccept.model.table import Unit
from hpcaccept.model.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


SIGMAS = 4.0
_CONFIDENCE = 0.95


@dataclass
class _Pool:
    """The numbers of one metric, by unit."""

    column: Values
    numbers: dict[Unit, list[float]] = field(default_factory=dict)


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
) -> dict[str, BaselineEntry]:
    """Entries for every rate that like, unsuspected units of a model have.

    Args:
        values: of one or several runs.
        model: of the device.
        setting: threads and turns that must be alike; numbers of all ranks together keep their own.
        left_out: suspect nodes.
        revisions: check → revision of its method.
        shared_floor: smallest loss that may be blamed where nodes share a kernel, else 0.
    """
    pools: dict[tuple[str, str], _Pool] = {}
    for column in values:
        if not column.metric.is_rate or (column.metric.peer_floor is None and column.metric.scope != "world"):
            continue
        for unit, value in zip(column.units, column.value.tolist(), strict=True):
            if not _fits(unit, model, setting) or unit.node in left_out:
                continue
            own = unit.setting if not unit.node and unit.setting != setting else ""
            pools.setdefault((column.key, own), _Pool(column)).numbers.setdefault(unit, []).append(value)
    # Of one metric in several scales (4 nodes, 8 nodes) the last one measured is kept: a file has one entry per key.
    entries = {
        key: _entry(pool, own, revisions.get(pool.column.check, 0), shared_floor) for (key, own), pool in pools.items()
    }
    # Of units that differ so much (or are all at 0) nothing is learned: "at least 0" would be met by every broken one.
    return {key: one for key, one in entries.items() if (one.center or 0) > 0 and (one.lower is None or one.lower > 0)}


def _fits(unit: Unit, model: str, setting: str) -> bool:
    return unit.model == model and (unit.setting == setting or (not unit.node and unit.setting.startswith(setting)))


def only_at(column: Values, places: frozenset[tuple[str, str]]) -> Values:
    """The values of some devices (node, device), of the nodes that have one of them, and of all ranks together."""
    nodes = {node for node, _ in places}
    kept = np.array(
        [not u.node or (u.node, u.device) in places or (not u.device and u.node in nodes) for u in column.units], bool
    )
    return replace(
        column,
        unit=column.unit[kept],
        value=column.value[kept],
        spread=column.spread[kept],
        launches=column.launches[kept],
    )


def _entry(pool: _Pool, setting: str, revision: int, shared_floor: float) -> BaselineEntry:
    metric = pool.column.metric
    counts = [len(numbers) for numbers in pool.numbers.values()]
    # All ranks together are one unit, which speaks anew in every run.
    each = list(pool.numbers.values())
    numbers = np.sort(each[0] if metric.scope == "world" and len(each) == 1 else [float(np.median(n)) for n in each])
    center = float(np.median(numbers))
    spread = MAD_TO_SIGMA * float(np.median(np.abs(numbers - center)))
    wide = prediction_factor(len(numbers))
    floor = max(metric.peer_floor or CPU_FLOOR, shared_floor)
    sigmas = max(SIGMAS, wide) if math.isfinite(wide) else SIGMAS
    loss = max(floor * abs(center), sigmas * spread)
    higher = metric.direction == "higher"
    low, high = median_interval(numbers.tolist())
    known = len(numbers) > 1
    units = len({(unit.node, unit.device) for unit in pool.numbers})
    return BaselineEntry(
        key=pool.column.key,
        revision=revision,
        unit=metric.unit,
        direction=metric.direction,
        center=center,
        spread=spread,
        lower=center - loss if higher else None,
        upper=None if higher else center + loss,
        units=units,
        source=f"median of {sum(counts)} values of {units} unit(s), loss > max({floor:.3g}, {sigmas:.3g} robust sigma)",
        values=sum(counts),
        nodes=len({unit.node for unit in pool.numbers if unit.node}),
        center_low=low,
        center_high=high,
        next_low=center - wide * spread if known else None,
        next_high=center + wide * spread if known else None,
        setting=setting,
    )


def median_interval(ordered: list[float]) -> tuple[float | None, float | None]:
    """95 % interval of the median from order statistics, whatever the distribution; (None, None) for fewer than six.

    The k-th smallest and k-th largest number enclose the median unless fewer than k of n lie on one side, which happens with
    the probability 2·P(Binomial(n, 1/2) < k). https://en.wikipedia.org/wiki/Median#Confidence_interval (order statistics)
    """
    count = len(ordered)
    below, rank = 0.0, 0
    while rank < count // 2:
        below += math.exp(
            math.lgamma(count + 1) - math.lgamma(rank + 1) - math.lgamma(count - rank + 1) - count * math.log(2)
        )
        if 2 * below > 1 - _CONFIDENCE:
            break
        rank += 1
    return (ordered[rank - 1], ordered[count - rank]) if rank else (None, None)


def prediction_factor(count: int) -> float:
    """How many standard deviations around the centre of n units one further unit lies in with 95 %: t · sqrt(1 + 1/n).

    Inf for fewer than two. G. Hahn, W. Meeker, Statistical Intervals (1991), section 4.7; for units that are normally
    distributed. With the robust deviation in place of the usual one it is a little too narrow for few units.
    """
    if count < 2:
        return math.inf
    return t_quantile((1 - _CONFIDENCE) / 2, count - 1) * math.sqrt(1 + 1 / count)
