"""What does a run teach? Baseline entries from the units that are not suspect.

The failing limit lies ``max(floor, 4 × spread)`` below (or above) the median of the units: the floor of the metric
keeps a baseline of few, very even units from blaming the next healthy one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.against_peers import CPU_FLOOR, MAD_TO_SIGMA
from hpcaccept.model.baseline import BaselineEntry
from hpcaccept.model.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hpcaccept.judge.values import Values
    from hpcaccept.model.table import Unit

SIGMAS = 4.0


def suspects(verdicts: Iterable[Verdict]) -> dict[str, str]:
    """Node → first reason, for every node with a FAIL or WARN: it is not learned from."""
    found: dict[str, str] = {}
    for verdict in verdicts:
        if verdict.outcome in (Outcome.FAIL, Outcome.WARN) and verdict.subject.node:
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
        setting: threads and turns that must be alike.
        left_out: suspect nodes.
        revisions: check → revision of its method.
        shared_floor: smallest loss that may be blamed where nodes share a kernel, else 0.
    """
    pooled: dict[str, tuple[Values, list[float], set[str]]] = {}
    for column in values:
        if not column.metric.is_rate or (column.metric.peer_floor is None and column.metric.scope != "world"):
            continue
        _, numbers, nodes = pooled.setdefault(column.key, (column, [], set()))
        for unit, value in zip(column.units, column.value.tolist(), strict=True):
            if _fits(unit, model, setting) and unit.node not in left_out:
                numbers.append(value)
                nodes.add(f"{unit.node} {unit.device}")
    entries = [
        _entry(column, numbers, len(units), revisions.get(column.check, 0), shared_floor)
        for column, numbers, units in pooled.values()
        if numbers
    ]
    # Of units that differ so much (or are all at 0) nothing is learned: "at least 0" would be met by every broken one.
    return {entry.key: entry for entry in entries if entry.center > 0 and (entry.lower is None or entry.lower > 0)}


def _fits(unit: Unit, model: str, setting: str) -> bool:
    return unit.model == model and unit.setting == setting


def _entry(column: Values, numbers: list[float], units: int, revision: int, shared_floor: float) -> BaselineEntry:
    center = float(np.median(numbers))
    spread = MAD_TO_SIGMA * float(np.median(np.abs(np.asarray(numbers) - center)))
    floor = max(column.metric.peer_floor or CPU_FLOOR, shared_floor)
    loss = max(floor * abs(center), SIGMAS * spread)
    higher = column.metric.direction == "higher"
    return BaselineEntry(
        key=column.key,
        revision=revision,
        unit=column.metric.unit,
        direction=column.metric.direction,
        center=center,
        spread=spread,
        lower=center - loss if higher else None,
        upper=None if higher else center + loss,
        units=units,
        source=f"median of {len(numbers)} values of {units} unit(s), loss > max({floor:.3g}, {SIGMAS:g} robust sigma)",
    )
