"""Is a unit slower than its peers in this run?

Robust: the centre is the median of the like units (the other ones, where there are few), the width 1.4826 × MAD. A unit is blamed when it is slower by more
than the *floor* of its metric **and** by more than ``z`` widths, where ``z`` follows from the number of comparisons and
the stated false-alarm rate (Šidák). Fewer than ``min_units`` like units cannot say who is slow. WARN (GPUs only): beyond
the ``z`` widths and half of the floor. Before a run ends, the checks of its suspects are launched again (hpcaccept.launch.retest).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcaccept.judge.against_limits import subject_of
from hpcaccept.model.metric import Limit
from hpcaccept.model.verdict import Outcome, Verdict
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcaccept.judge.values import Values
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.suite import PeerRule
    from hpcaccept.model.table import Unit

#: Consistency factor of the MAD for a normal distribution.
MAD_TO_SIGMA = 1.4826
#: Smallest loss a CPU may be blamed for on kernels of their own: CPUs boost, throttle and share caches.
#: (Process medians of one healthy, idle machine differ by 2 to 20 %.)
CPU_FLOOR = 0.25
#: From so many like units on the stated false-alarm rate holds for normal noise (simulated: 0.8 % of runs at 64 units and 2 %
#: noise against a 4 % floor, 11 % at 4 units).
ENOUGH_UNITS = 64
#: Up to so many like units each is compared with the others only: among four, one slow unit is a quarter of the evidence.
ALONE_AMONG = 32
#: How the reason of a verdict begins where the peers cannot decide: such checks are measured again, like those of suspects.
UNDECIDED = "the peers differ too much to say"


@dataclass(frozen=True)
class PeerPower:
    """What the comparison could see.

    Attributes:
        fewest: units in the smallest comparison. The width of few units is a poor estimate: below ``ENOUGH_UNITS`` it is the
            floors and the retests that keep healthy units from blame, and the stated rate is not reached by itself.
        comparisons: how many were made.
        false_alarm_rate: stated chance that a run in which all is well blames anybody.
        z: widths that follow from the two.
        smallest_loss: relative loss that would have been blamed, smallest and largest over the metrics; None without any.
    """

    comparisons: int
    false_alarm_rate: float
    z: float
    smallest_loss: tuple[float, float] | None
    fewest: int = 0


def judge_against_peers(evidence: Evidence, values: list[Values]) -> tuple[list[Verdict], PeerPower]:
    """A verdict per unit and rate, and what the comparison could see."""
    rule = evidence.plan.suite.peers
    groups = list(_groups(values)) if rule.enabled else []
    comparisons = sum(len(rows) for _, rows in groups if len(rows) >= rule.min_units)
    z = _cut(comparisons, rule.false_alarm_rate)
    required = {spec.name: spec.required for spec in evidence.plan.suite.checks}
    verdicts: list[Verdict] = []
    losses: list[float] = []
    for column, rows in groups:
        if len(rows) < rule.min_units:
            verdicts.extend(_too_few(column, rows, rule))
            continue
        if not _are_rates(column.value[rows]):
            verdicts.extend(_no_rate(column, rows))
            continue
        floors = _floors(column, rule, evidence)
        loss, verdicts_here = _judge_group(column, rows, floors, z, required.get(column.check, True))
        losses.append(loss)
        verdicts.extend(verdicts_here)
    span = (min(losses), max(losses)) if losses else None
    fewest = min((len(rows) for _, rows in groups if len(rows) >= rule.min_units), default=0)
    return verdicts, PeerPower(comparisons, rule.false_alarm_rate, z, span, fewest)


def _groups(values: list[Values]) -> Iterable[tuple[Values, npt.NDArray[np.intp]]]:
    """Like units only: same device model, same setting."""
    for column in values:
        if not column.metric.is_rate or column.metric.peer_floor is None or column.metric.scope == "world":
            continue
        kinds: dict[tuple[str, str], list[int]] = {}
        for row, unit in enumerate(column.units):
            kinds.setdefault((unit.model, unit.setting), []).append(row)
        for rows in kinds.values():
            yield column, np.asarray(rows)


def _cut(comparisons: int, false_alarm_rate: float) -> float:
    if not comparisons:
        return 0.0
    # expm1, log1p and the lower tail: 1 - each would be 1 for rates below 1e-16, which has no quantile.
    each = -math.expm1(math.log1p(-false_alarm_rate) / comparisons)
    return -NormalDist().inv_cdf(each)


def _floors(column: Values, rule: PeerRule, evidence: Evidence) -> tuple[float, float]:
    """Smallest relative loss that is worth a WARN, and a FAIL. CPUs have no WARN band: their noise would live in it."""
    own = column.metric.peer_floor or 0.0
    is_cpu = evidence.plan.request.device == "cpu"
    counted = is_counted(column)
    if rule.floor is not None:
        own = rule.floor if not counted else own
    elif is_cpu and not counted:
        own = max(own, CPU_FLOOR)
    if evidence.shared_host and is_cpu and not counted:
        own = max(own, rule.shared_host_floor)
    return (own if is_cpu else own / 2), own


def is_counted(column: Values) -> bool:
    """True for cores and bytes of memory: what is counted has no noise, what is timed has."""
    return column.metric.unit in ("cores", "B")


def _judge_group(
    column: Values, rows: npt.NDArray[np.intp], floors: tuple[float, float], z: float, required: bool
) -> tuple[float, list[Verdict]]:
    """Verdicts of like units, and the smallest relative loss that all of them could have been blamed for."""
    centers, sigmas = _peers_of(column.value[rows])
    worrying, failing = floors
    verdicts = []
    smallest = 0.0
    for row, center, sigma in zip(rows.tolist(), centers.tolist(), sigmas.tolist(), strict=True):
        worry, loss = (max(floor * center, z * sigma) for floor in (worrying, failing))
        smallest = max(smallest, loss / center)
        source = f"median of {len(rows) - 1} peers {show(center, column.metric.unit)}"
        if loss >= center and column.metric.direction == "higher":
            verdicts.append(_undecided(column, row, f"{source}, which differ by {sigma / center:.0%} (robust sigma)"))
        else:
            source += f"; loss > {failing:.3g} and > {z:.2f} robust sigma"
            verdicts.append(_verdict(column, row, center, (worry, loss), source, required))
    return smallest, verdicts


def _peers_of(values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Centre and robust width of each unit's peers, without the unit itself where it could hide behind its own weight."""
    if len(values) > ALONE_AMONG:
        center = np.median(values)
        sigma = MAD_TO_SIGMA * np.median(np.abs(values - center))
        return np.full(len(values), center), np.full(len(values), sigma)
    others = [np.delete(values, i) for i in range(len(values))]
    centers = np.array([np.median(o) for o in others])
    sigmas = MAD_TO_SIGMA * np.array([np.median(np.abs(o - c)) for o, c in zip(others, centers, strict=True)])
    return centers, sigmas


def _verdict(
    column: Values, row: int, center: float, losses: tuple[float, float], source: str, required: bool
) -> Verdict:
    value, unit = float(column.value[row]), column.metric.unit
    higher = column.metric.direction == "higher"
    warning, failing = (
        Limit(center - loss, None, unit, "peers", source)
        if higher
        else Limit(None, center + loss, unit, "peers", source)
        for loss in losses
    )
    outcome = Outcome.PASS if warning.met_by(value) else Outcome.WARN if failing.met_by(value) else Outcome.FAIL
    return Verdict(
        subject=subject_of(column.units[row]),
        check=column.check,
        outcome=outcome,
        reason=f"{column.metric.name} {show(value, unit)}, {(value / center - 1) * 100:+.1f} % of the {source}",
        metric=column.metric.name,
        variant=column.variant,
        value=value,
        unit=unit,
        limit=warning if outcome is Outcome.PASS else failing,
        remedy="" if outcome is Outcome.PASS else "Run it once more on this node and two others before it is drained.",
        required=required,
    )


def _undecided(column: Values, row: int, why: str) -> Verdict:
    """Peers that are so unlike that not even a rate of 0 could be blamed: that is no pass."""
    value, unit = float(column.value[row]), column.metric.unit
    return Verdict(
        subject=subject_of(column.units[row]),
        check=column.check,
        outcome=Outcome.NO_BASELINE,
        reason=f"{UNDECIDED}: {column.metric.name} {show(value, unit)}, {why}",
        metric=column.metric.name,
        variant=column.variant,
        value=value,
        unit=unit,
        remedy="Run again when the machines are quiet, with more nodes, or against a baseline.",
        required=False,
    )


def _are_rates(values: npt.NDArray[np.float64]) -> bool:
    """False where the middle is 0 or less, or where a number is so large that differences overflow."""
    return bool(np.abs(values).max() < 1e300 and np.median(values) > 0 and _peers_of(values)[0].min() > 0)


def _no_rate(column: Values, rows: npt.NDArray[np.intp]) -> Iterable[Verdict]:
    """Units whose middle is 0 (or absurd): equal among themselves, and yet no pass."""
    for row in rows:
        yield Verdict(
            subject=subject_of(column.units[row]),
            check=column.check,
            outcome=Outcome.ERROR,
            reason=f"{column.metric.name} {show(float(column.value[row]), column.metric.unit)}: what the peers say is no rate",
            metric=column.metric.name,
            variant=column.variant,
            value=float(column.value[row]),
            unit=column.metric.unit,
            remedy="This is a fault of the check or of all units: look into run.h5.",
        )


def _too_few(column: Values, rows: npt.NDArray[np.intp], rule: PeerRule) -> Iterable[Verdict]:
    units: list[Unit] = [column.units[row] for row in rows]
    for unit, row in zip(units, rows, strict=True):
        yield Verdict(
            subject=subject_of(unit),
            check=column.check,
            outcome=Outcome.NO_BASELINE,
            reason=f"{len(units)} like unit(s) in this run, {rule.min_units} are needed to say who is slow",
            metric=column.metric.name,
            variant=column.variant,
            value=float(column.value[row]),
            unit=column.metric.unit,
            remedy=f"Run with --nodes {rule.min_units} or more, or learn a baseline.",
            required=False,
        )
