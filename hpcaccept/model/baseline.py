"""A baseline: accepted numbers of one device model with their provenance, who approved them, and until when."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import ClassVar, Literal

#: ``draft``: learned or imported, nobody has vouched for it. ``approved``: somebody has. ``expired``: it may not judge any
#: more. ``shipped``: published figures that come with hpcaccept; what a site has learned itself goes before them.
State = Literal["draft", "approved", "expired", "shipped"]
#: Units that numbers are kept in. ``GB/s`` is none of them: a prefix exists only on paper (``hpcaccept.units``).
_PREFIXED_UNIT = re.compile(r"^(?:[kKMGTPE]i?)(?:B|b|bit|FLOP|FLOPS|OP|Hz)\b|bps$|^[mµun]s$")


@dataclass(frozen=True)
class BaselineEntry:
    """What a healthy subject of the model reaches in one metric.

    Attributes:
        key: metric key (``matmul.rate_flops[fp32]``); in what hpcaccept ships ``*`` stands for any text.
        revision: of the check's method.
        unit: SI unit.
        direction: ``higher`` or ``lower`` is better.
        center: median over subjects, in ``unit``; None where a source gives only a limit.
        spread: robust standard deviation over subjects (ISO 13528, algorithm A; 1.4826 × MAD in imported ones and up to format 3), in ``unit``;
            None where nobody has published one.
        lower: failing limit, or None. Of what was learned: that of a run of ``comparisons`` values; the limit of another run follows from
            the fields after ``floor`` (``judge.baseline.limit``).
        upper: failing limit, or None; likewise.
        subjects: how many subjects it was learned from.
        source: how the limits follow from centre and spread, or who published them.
        values: how many numbers those subjects gave, over all runs.
        nodes: on how many nodes.
        center_low: lower end of the 95 % interval of the centre; None with fewer than six subjects.
        center_high: its upper end.
        setting: threads, turns and scale, where they are not those of the whole baseline (numbers of all ranks together).
        gpus: GPUs per node that the number is of; 0: any.
        date: when the source was read, ISO 8601; empty for what was learned.
        accepted: why it may be lower than what was approved before; empty where it is not.
        floor: smallest relative loss that is a FAIL; 0: the limits are exact, whatever the number of values, and state no rate.
        width: scale of the relative difference between a further healthy unit and the centre (``judge.statistics.learned_rule``); 0: not known.
        freedom: degrees of freedom of the width.
        tail: chance that units differ by a distribution with heavy tails.
        rate: chance that a healthy run misses any of its learned limits, for which ``lower`` and ``upper`` were set.
        comparisons: learned values of such a run.
    """

    FORMER: ClassVar[dict[str, str]] = {"units": "subjects", "next_low": "", "next_high": ""}

    key: str
    revision: int
    unit: str
    direction: str
    center: float | None
    spread: float | None
    lower: float | None
    upper: float | None
    subjects: int
    source: str
    values: int = 0
    nodes: int = 0
    center_low: float | None = None
    center_high: float | None = None
    setting: str = ""
    gpus: int = 0
    date: str = ""
    accepted: str = ""
    floor: float = 0.0
    width: float = 0.0
    freedom: float = 0.0
    tail: float = 0.0
    rate: float = 0.0
    comparisons: int = 0


@dataclass(frozen=True)
class Peak:
    """What the part cannot exceed: nominal rate of a data sheet, or of a link's lanes. It judges no subject.

    Attributes:
        key: metric key; ``*`` stands for any text.
        unit: SI unit.
        value: the nominal rate.
        source: who says so.
        date: when that was read, ISO 8601.
        margin: share by which boards of the model are known to go beyond it (clocks above the nominal one).
    """

    key: str
    unit: str
    value: float
    source: str
    date: str
    margin: float = 0.0

    @property
    def ceiling(self) -> float:
        """The value that no limit may lie above."""
        return self.value * (1 + self.margin)


@dataclass(frozen=True)
class Provenance:
    """Where a baseline comes from. One without it cannot judge.

    Attributes:
        learned_at: UTC, ISO 8601.
        runs: names of the runs, or of the files that were imported.
        nodes: names of the nodes.
        device_ids: GPU UUIDs, where there are any.
        setting: what must be alike for a comparison (threads, in turn or not); empty: it does not matter.
        facts: what would change the numbers (power limit, memory, driver, CUDA, torch, image …); of several values of one
            fact all are kept, with `` | `` between.
        version: of hpcaccept.
        commit: git commit of hpcaccept.
        left_out: subjects that were suspect and not learned from, with the reason.
        device_serials: serial numbers of the GPUs, where there are any.
    """

    learned_at: str
    runs: tuple[str, ...]
    nodes: tuple[str, ...]
    device_ids: tuple[str, ...]
    setting: str
    facts: dict[str, str] = field(default_factory=dict)
    version: str = ""
    commit: str = ""
    left_out: dict[str, str] = field(default_factory=dict)
    device_serials: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """One step in the life of a baseline.

    Attributes:
        state: it has from then on.
        at: UTC, ISO 8601.
        by: who changed it.
        until: last day on which it may judge (ISO 8601, UTC); empty: without end.
        why: in the words of who changed it.
    """

    state: State
    at: str
    by: str
    until: str = ""
    why: str = ""


@dataclass(frozen=True)
class Baseline:
    """One generation in the file ``<device-model>.h5``.

    Attributes:
        model: name the driver gives the GPU, or model name of the CPU.
        provenance: where it comes from.
        entries: by metric key.
        state: see ``State``; an approval that has run out is ``expired``.
        alternatives: asked in this order where this one does not fit: older generations, other power limits, what is shipped.
        peaks: what the part cannot exceed.
        strict: True when another driver, CUDA, torch or image is refused instead of said.
        changes: its life, oldest first.
        generation: number within its file, from 1; 0: not written yet.
    """

    model: str
    provenance: Provenance
    entries: dict[str, BaselineEntry]
    state: State = "draft"
    alternatives: tuple[Baseline, ...] = field(default=(), compare=False)
    peaks: tuple[Peak, ...] = ()
    strict: bool = False
    changes: tuple[Change, ...] = ()
    generation: int = field(default=0, compare=False)

    @property
    def was_approved(self) -> bool:
        """True for one that somebody has vouched for, even when it has expired since."""
        return any(change.state == "approved" for change in self.changes)


def written_loss(entry: BaselineEntry) -> float:
    """Relative loss at which the written limit lies, seen from the centre; NaN where either is not known.

    In a run of another number of values the limit of what was learned lies elsewhere (``judge.baseline.limit``).
    """
    bound = entry.lower if entry.direction == "higher" else entry.upper
    return abs(1 - bound / entry.center) if bound is not None and entry.center else math.nan


def stands_for(pattern: str, key: str) -> bool:
    """True when a key, in which ``*`` stands for any text, names another key."""
    if "*" not in pattern:
        return pattern == key
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), key) is not None


def peak_of(baseline: Baseline | None, key: str) -> Peak | None:
    """The physical peak of a metric, wherever among the baselines of the model one is known."""
    if baseline is None:
        return None
    known = (peak for one in (baseline, *baseline.alternatives) for peak in one.peaks)
    return next((peak for peak in known if stands_for(peak.key, key)), None)


def impossible(baseline: Baseline) -> list[str]:
    """Why a baseline must not judge, one sentence for each fault: wrong units, limits that no part can reach or miss."""
    faults = []
    unsourced = [entry.key for entry in baseline.entries.values() if not (entry.source and entry.date)]
    if unsourced and not (baseline.provenance.learned_at and baseline.provenance.runs):
        faults.append(
            f"{unsourced[0]}: neither the baseline nor this entry says where it comes from (runs, or source and date)"
        )
    for entry in baseline.entries.values():
        faults += [f"{entry.key}: {why}" for why in _faults(entry, peak_of(baseline, entry.key))]
    faults += [
        f"{peak.key}: its peak has the unit {peak.unit}, expected SI without prefix"
        for peak in baseline.peaks
        if _PREFIXED_UNIT.search(peak.unit)
    ]
    return faults


def _faults(entry: BaselineEntry, peak: Peak | None) -> list[str]:
    numbers = (
        entry.center,
        entry.spread,
        entry.lower,
        entry.upper,
        entry.floor,
        entry.width,
        entry.freedom,
        entry.tail,
    )
    if any(number is not None and not math.isfinite(number) for number in numbers):
        return ["a number that is not finite"]
    found = []
    if _PREFIXED_UNIT.search(entry.unit):
        found.append(f"its unit is {entry.unit}, expected SI without prefix (B/s, FLOP/s, s)")
    if entry.direction not in ("higher", "lower"):
        found.append(f"its direction is {entry.direction!r}, expected 'higher' or 'lower'")
    if entry.lower is None and entry.upper is None:
        found.append("no limit")
    if entry.lower is not None and entry.upper is not None and entry.lower > entry.upper:
        found.append(f"its lower limit {entry.lower:.6g} is above the upper one {entry.upper:.6g}")
    if peak is not None and peak.unit != entry.unit:
        found.append(f"its unit is {entry.unit}, its peak has {peak.unit}")
    elif peak is not None and entry.lower is not None and entry.lower > peak.ceiling:
        # A centre may lie a little above a nominal rate (clocks); a limit up there would be missed by every healthy part.
        found.append(
            f"its limit {entry.lower:.6g} {entry.unit} is above the physical peak {peak.ceiling:.6g} ({peak.source})"
        )
    return found
