"""What changed between two runs, and whether it is the hardware or the environment. Each subject is compared with itself.

The pairs of one metric have a loss in common (their median) and one of their own. In an environment that is the same, both are
hardware, or what the nodes share: cooling, power, fabric, other users. Where the driver, torch, the image … changed, what all subjects lost
alike is put down to that, and only what a subject lost beyond it is its own. Fewer than ``ENOUGH`` pairs cannot tell the one
from the other: then it stays undecided.

What was measured while others used the processors, or while its rank was stopped, in either run, is not compared: such company is no hardware.

One pair is a difference of two measurements without a retest, so the cut is the one of the peers' rule: the larger of the metric's floor
and z robust widths, z from the number of comparisons and the stated false-alarm rate.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcaccept.judge.baseline.conditions import conditions_of
from hpcaccept.judge.baseline.match import TRANSPORT
from hpcaccept.judge.questions.peers import floors_of
from hpcaccept.judge.statistics.peer_rule import MAD_TO_SIGMA, cut
from hpcaccept.model.comparison import Cause, Comparison, MetricChange, SubjectChange
from hpcaccept.model.history import ENVIRONMENT_FACTS, environment_of, subject_id
from hpcaccept.model.metric import Metric
from hpcaccept.model.record_table import IS_CONTENDED
from hpcaccept.model.table import MeasuredSubject
from hpcaccept.model.verdict import Subject
from hpcaccept.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.model.evidence import Evidence

    Floats = npt.NDArray[np.float64]

#: Fewer pairs have no median that one slow subject could not be.
ENOUGH = 4
#: So many pairs know their own width: the floor of the past counts, not that of the peers.
KNOWN_WIDTH = 8
#: Standard error of a median of normal noise, in sigma / sqrt(n).
_MEDIAN_ERROR = 1.2533
#: Widths of its error beyond which a common loss is no noise.
_COMMON_Z = 4.0


@dataclass(frozen=True)
class _Pairs:
    """One metric of like subjects in both runs; ``floor``: the smallest relative loss that may be blamed."""

    key: str
    metric: Metric
    subjects: tuple[MeasuredSubject, ...]
    before: Floats
    now: Floats
    floor: float

    @property
    def loss(self) -> Floats:
        """Relative, positive is worse."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratio = self.now / self.before
        return 1 - ratio if self.metric.direction == "higher" else ratio - 1


def compare(
    earlier: Evidence,
    later: Evidence,
    values: tuple[Sequence[Values], Sequence[Values]],
    outcomes: tuple[Mapping[str, str], Mapping[str, str]],
    broken: tuple[frozenset[str], frozenset[str]],
) -> Comparison:
    """Put two runs side by side.

    Args:
        earlier: the run that is compared with.
        later: the run that is judged.
        values: of both, in this order.
        outcomes: node → the worst that was said of it, of both.
        broken: nodes with a FAIL that no speed explains (a wrong result, a missing GPU), of both.
    """
    not_compared: dict[str, str] = {}
    pairs = list(_pairs(earlier, later, values, not_compared))
    facts = _environment(earlier), _environment(later)
    silent = tuple(run.plan.run_id for run in (earlier, later) if not environment_of(run.records))
    # What nobody has said has not changed.
    told = [name for name in {**facts[0], **facts[1]} if not silent or name not in ENVIRONMENT_FACTS]
    names = [name for name in told if facts[0].get(name) != facts[1].get(name)]
    environment = {name: (facts[0].get(name, ""), facts[1].get(name, "")) for name in names}
    rate = later.plan.suite.peers.false_alarm_rate
    comparisons = sum(len(p.now) for p in pairs)
    metrics = tuple(_change(p, cut(comparisons, rate), bool(environment or silent)) for p in pairs)
    places = _places(earlier), _places(later)
    differing = {
        node: (outcomes[0][node], said)
        for node, said in outcomes[1].items()
        if node in outcomes[0] and outcomes[0][node] != said
    }
    failed = sorted((broken[1] - broken[0]) & set(earlier.nodes))
    cause = _cause(metrics, failed)
    return Comparison(
        earlier=earlier.plan.run_id,
        later=later.plan.run_id,
        nodes_gone=tuple(sorted(set(earlier.nodes) - set(later.nodes))),
        nodes_new=tuple(sorted(set(later.nodes) - set(earlier.nodes))),
        subjects_gone=tuple(sorted(places[0].keys() - places[1].keys())),
        subjects_new=tuple(sorted(places[1].keys() - places[0].keys())),
        moved={
            subject: (where, places[1][subject])
            for subject, where in sorted(places[0].items())
            if subject in places[1] and places[1][subject] != where
        },
        environment=environment,
        outcomes=differing,
        metrics=metrics,
        not_compared=not_compared,
        comparisons=comparisons,
        false_alarm_rate=rate,
        cause=cause,
        conclusion=tuple(_conclusion(metrics, environment, silent, failed, comparisons, rate)),
        exit_code={"hardware": 1, "undecided": 3}.get(cause, 0),
    )


def _environment(evidence: Evidence) -> dict[str, str]:
    """What changes numbers and is no hardware: how it was launched, in which image, how many shared the cores, and what nodes say."""
    plan = evidence.plan
    of_ranks = Counter((r.mpi, r.threads, r.in_turn, r.ranks_on_host) for r in evidence.rank_starts if r.mpi)
    (mpi, threads, in_turn, on_host), _ = max(
        of_ranks.items(), key=lambda item: (item[1], item[0]), default=(("", 0, False, 0), 0)
    )
    of_run = {
        "launcher": plan.launcher,
        "image": plan.image.digest or plan.image.reference,
        "MPI of the ranks": mpi,
        "threads": f"{threads}, {'in turn' if in_turn else 'all at once'}, {on_host} ranks on a host"
        if threads
        else "",
    }
    carried = {name: text for name, text in conditions_of(evidence).items() if name.startswith(TRANSPORT)}
    return {name: text for name, text in of_run.items() if text} | carried | environment_of(evidence.records)


def _places(evidence: Evidence) -> dict[str, str]:
    """Measured devices of known identity → where they are."""
    return {subject_id(u): str(Subject(u.node, u.device)) for u in evidence.samples.subjects if u.device}


def _pairs(
    earlier: Evidence,
    later: Evidence,
    values: tuple[Sequence[Values], Sequence[Values]],
    not_compared: dict[str, str],
) -> Iterator[_Pairs]:
    """Each rate of each kind of subject that both runs have measured alike."""
    known = {subject_id(subject): number for number, subject in enumerate(earlier.samples.subjects)}
    subjects = later.samples.subjects
    twin = np.array([known.get(subject_id(subject), -1) for subject in subjects], np.int64)
    alike = np.array(
        [
            at >= 0 and _kind(subjects[i]) == _kind(earlier.samples.subjects[at])
            for i, at in enumerate(twin.tolist())
        ],
        np.bool_,
    )  # fmt: skip
    company = _in_company(earlier), _in_company(later)
    models = np.array([subject.model for subject in subjects], object)
    revisions = _revisions(earlier), _revisions(later)
    before = {column.key: column for column in values[0]}
    for column in values[1]:
        if not column.metric.is_rate or column.metric.past_floor is None:
            continue
        old = before.get(column.key)
        why = ""
        if old is None:
            why = "the earlier run has not measured it"
        elif revisions[0].get(column.check) != revisions[1].get(column.check):
            why = f"revision {revisions[0].get(column.check)} of its method, now {revisions[1].get(column.check)}"
        if old is None or why:
            not_compared[column.key] = why
            continue
        number = np.full(len(earlier.samples.subjects) + 1, np.nan)  # the last stands for -1
        number[old.subject] = old.value
        was = np.where(alike[column.subject], number[twin[column.subject]], np.nan)
        good = np.isfinite(was) & (was > 0) & np.isfinite(column.value)
        if not good.any():
            not_compared[column.key] = "no unit of the same device model and setting has it in both runs"
        elif column.metric.is_speed:
            alone = [
                (column.check, earlier.samples.subjects[twin[i]].node) not in company[0]
                and (column.check, subjects[i].node) not in company[1]
                for i in column.subject.tolist()
            ]
            good &= np.array(alone, np.bool_)
            if not good.any():
                not_compared[column.key] = "others used the processors while it was measured, in one of the runs"
        for model in sorted(set(models[column.subject[good]])):
            mine = good & (models[column.subject] == model)
            some = tuple(subjects[i] for i in column.subject[mine].tolist())
            # Few pairs do not know their own width: then the floor of the peers counts.
            own = column.metric.past_floor if len(some) >= KNOWN_WIDTH else column.metric.peer_floor
            floor = max(floors_of(column, run, own or column.metric.past_floor)[1] for run in (earlier, later))
            yield _Pairs(column.key, column.metric, some, was[mine], column.value[mine], floor)


def _in_company(evidence: Evidence) -> set[tuple[str, str]]:
    """(check, node) of what was not measured alone; the node is empty for all ranks together."""
    records = evidence.record_table
    found = {(record.check, record.node) for record in records.rows((records.flags & IS_CONTENDED) > 0)}
    return found | {(check, "") for check, _ in found}


def _kind(subject: MeasuredSubject) -> tuple[str, str]:
    return subject.model, subject.setting


def _revisions(evidence: Evidence) -> dict[str, int]:
    return {record.check: record.revision for record in evidence.records if record.outcome == "measured"}


def _change(pairs: _Pairs, z: float, new_environment: bool) -> MetricChange:
    loss, count = pairs.loss, len(pairs.now)
    common = float(np.median(loss)) if count >= ENOUGH else 0.0
    own = loss - common
    sigma = MAD_TO_SIGMA * float(np.median(np.abs(own))) if count >= ENOUGH else 0.0
    seen = max(pairs.floor, z * sigma)
    common_seen = max(pairs.floor, _COMMON_Z * _MEDIAN_ERROR * sigma / np.sqrt(count))
    lost = common > common_seen
    cause: Cause = "alike"
    if count < ENOUGH and new_environment:
        cause = "undecided" if (np.abs(loss) > pairs.floor).any() else "alike"
        own = np.zeros(count)
    elif lost:
        cause = "environment" if new_environment else "hardware"
    elif common < -common_seen and new_environment:
        cause = "environment"
    return MetricChange(
        key=pairs.key,
        si_unit=pairs.metric.unit,
        model=pairs.subjects[0].model,
        pairs=count,
        common=common,
        common_seen=float(common_seen),
        sigma=sigma,
        seen=float(seen),
        cause=cause,
        worse=_subjects(pairs, loss, own, own > seen),
        better=_subjects(pairs, loss, own, own < -seen),
    )


def _subjects(pairs: _Pairs, loss: Floats, own: Floats, mask: npt.NDArray[np.bool_]) -> tuple[SubjectChange, ...]:
    rows = np.flatnonzero(mask)
    rows = rows[np.argsort(-np.abs(own[rows]), kind="stable")]
    return tuple(
        SubjectChange(
            subject=subject_id(pairs.subjects[i]),
            where=str(Subject(pairs.subjects[i].node, pairs.subjects[i].device)),
            before=float(pairs.before[i]),
            now=float(pairs.now[i]),
            loss=float(loss[i]),
            beyond=float(own[i]),
        )
        for i in rows.tolist()
    )


def _cause(metrics: Sequence[MetricChange], failed: Sequence[str]) -> Cause:
    causes = {metric.cause for metric in metrics}
    if failed or "hardware" in causes or any(metric.worse for metric in metrics):
        return "hardware"
    if not metrics or "undecided" in causes:
        return "undecided"
    return "environment" if "environment" in causes else "alike"


def _conclusion(
    metrics: Sequence[MetricChange],
    environment: Mapping[str, tuple[str, str]],
    silent: Sequence[str],
    failed: Sequence[str],
    comparisons: int,
    rate: float,
) -> Iterator[str]:
    changes = ", ".join(f"{name} {old or 'absent'} → {new or 'absent'}" for name, (old, new) in environment.items())
    if environment or not silent:
        yield f"The environment changed: {changes}." if environment else "The environment is the same."
    if silent:
        yield f"No node said in which environment it ran: {' and '.join(silent)}."
    for metric in metrics:
        if metric.cause == "hardware":
            yield (
                f"{metric.key}: all {metric.pairs} units of {metric.model} lost {metric.common:.1%} in the same environment: "
                "hardware, or what they share (cooling, power, fabric, other users)."
            )
        elif metric.cause == "environment":
            word = "lost" if metric.common > 0 else "gained"
            yield f"{metric.key}: {metric.pairs} units of {metric.model} {word} {abs(metric.common):.1%} in common: the environment."
        elif metric.cause == "undecided":
            yield (
                f"{metric.key}: {metric.pairs} units of {metric.model} are too few to tell a slow unit from a new environment; "
                f"{ENOUGH} would do."
            )
        for change in metric.worse:
            yield (
                f"{metric.key}: {change.where} ({change.subject}) lost {change.beyond:.1%}"
                f"{' beyond the others' if abs(metric.common) > metric.common_seen else ''}: hardware. "
                f"{show(change.before, metric.si_unit)} → {show(change.now, metric.si_unit)}."
            )
    if failed:
        yield f"FAIL now, and not before: {', '.join(failed)}."
    if not metrics:
        yield "Nothing was measured the same way in both runs: the hardware cannot be compared."
        return
    seen = sorted(metric.seen for metric in metrics)
    yield (
        f"{comparisons} pairs; a unit that lost more than {seen[0]:.1%} (quietest metric) to {min(seen[-1], 1.0):.0%} (noisiest) beyond "
        f"the others would have been seen; chance of any false alarm {rate:g}."
    )
    if all(metric.cause == "alike" and not metric.worse for metric in metrics) and not failed:
        yield "Nothing became slower beyond that."
