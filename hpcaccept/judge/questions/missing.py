"""What was requested and is not there. A node that never reported is in the report, by name, and so is a number that is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcaccept.judge.questions.peers import is_compared
from hpcaccept.judge.statistics.grouping import numbered
from hpcaccept.model.finding_code import FindingCode
from hpcaccept.model.metric import Scope
from hpcaccept.model.record import Record
from hpcaccept.model.record_table import MEASURED, UNSUPPORTED
from hpcaccept.model.verdict import Outcome, Subject, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hpcaccept.judge.statistics.aggregate import Values
    from hpcaccept.judge.statistics.grouping import Alike
    from hpcaccept.model.event import Event
    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.metric import Metric
    from hpcaccept.model.suite import CheckSpec

Bools = npt.NDArray[np.bool_]

#: What the scheduler says of the end of a job that its driver did not tell of; any other state is ``job-failed``.
_ENDED = {
    "cancelled": FindingCode.JOB_CANCELLED,
    "timeout": FindingCode.JOB_TIMEOUT,
    "node_fail": FindingCode.JOB_NODE_FAIL,
    "out_of_memory": FindingCode.JOB_OUT_OF_MEMORY,
}


def judge_absent(
    evidence: Evidence, catalogue: Mapping[str, Mapping[str, Metric]], values: Sequence[Values], alike: Alike
) -> Iterator[Verdict]:
    """NOT_RUN and ERROR for everything that has no number."""
    yield from _torn(evidence)
    if not evidence.nodes:
        yield from _never_started(evidence)
        return
    yield from _not_in_the_job(evidence)
    yield from _failed(evidence)
    numbers = _Numbers.from_evidence(evidence, values)
    rolls = _call_the_roll(evidence, numbers)
    places = evidence.record_table.places
    per_node = evidence.plan.request.ranks_per_node
    for spec in evidence.plan.suite.checks:
        roll = rolls[spec.name]
        for record in roll.told:
            if named := _singled_out(evidence, record):
                yield _stopped(record, named, spec.required)
            else:
                yield from _of_record(record, spec.required, _cut_short_by(evidence))
        for at in np.flatnonzero(roll.reported < per_node).tolist():
            lost = per_node - int(roll.reported[at])
            yield _missing(evidence, evidence.nodes[at], spec.name, lost, per_node, spec.required)
        for metric in catalogue.get(spec.name, {}).values():
            if metric.required:
                yield from _metricless(roll, places, spec.name, metric, numbers, spec.required)
        yield from _left_out(spec, roll, [column.variant for column in values if column.check == spec.name])
        for column in values:
            # What is compared is measured everywhere alike; names of ports, partners and found faults differ by nature.
            if column.check == spec.name and is_compared(column) and column.metric.scope != "world":
                yield from _unlike_its_like(roll, column, numbers, alike, spec.required)


@dataclass(eq=False)
class _Roll:
    """Who spoke of one check.

    Attributes:
        reported: int64[nodes of the job], how many ranks of each left a record.
        told: records that say more than "measured".
        subjects: nodes and devices whose record says that it was measured.
        at: scope → int[subjects], the place where the number of each must be.
    """

    reported: npt.NDArray[np.int64]
    told: list[Record]
    subjects: npt.NDArray[np.int32]
    at: dict[Scope, npt.NDArray[np.int64]]


@dataclass(eq=False)
class _Numbers:
    """Which places (node, device) have a number of what; a node's own number has no device, that of all no node either.

    Attributes:
        place: (node, device) → index; the last one is for places without any number.
        subject: int64[places + 1], index of the subject at the place.
        of_subject: int64[subjects], index of the place of the subject.
        has: (check, metric) → bool[places + 1].
    """

    place: dict[tuple[str, str], int]
    subject: npt.NDArray[np.int64]
    of_subject: npt.NDArray[np.int64]
    has: dict[tuple[str, str], Bools]

    @staticmethod
    def from_evidence(evidence: Evidence, values: Sequence[Values]) -> _Numbers:
        subjects = evidence.samples.subjects
        place, of_subject = numbered([(subject.node, subject.device) for subject in subjects])
        at = np.full(len(place) + 1, -1)
        at[of_subject] = np.arange(len(subjects))
        numbers = _Numbers(place, at, of_subject, {})
        for column in values:
            name = (column.check, column.metric.name)
            numbers.has[name] = numbers.having(column) | numbers.has.get(name, np.zeros(len(at), bool))
        return numbers

    def having(self, column: Values) -> Bools:
        """bool[places + 1]: who has a number in a column."""
        has = np.zeros(len(self.subject), bool)
        has[self.of_subject[column.subject]] = True
        return has


def _call_the_roll(evidence: Evidence, numbers: _Numbers) -> dict[str, _Roll]:
    records = evidence.record_table
    number = {node: i for i, node in enumerate(evidence.nodes)}
    nowhere = len(numbers.place)
    names, of = numbered([node for node, _ in records.places])
    node = np.array([number.get(name, -1) for name in names], np.int64)[of]
    where: dict[Scope, npt.NDArray[np.int64]] = {
        "device": np.array([numbers.place.get(place, nowhere) for place in records.places], np.int64),
        "node": np.array([numbers.place.get((name, ""), nowhere) for name in names], np.int64)[of],
        "world": np.full(len(records.places), numbers.place.get(("", ""), nowhere)),
    }
    by_check = np.argsort(records.check.astype(np.uint16), kind="stable")
    ends = np.cumsum(np.bincount(records.check, minlength=len(records.checks)))
    at = {name: by_check[ends[i - 1] if i else 0 : ends[i]] for i, name in enumerate(records.checks)}
    rolls = {}
    for spec in evidence.plan.suite.checks:
        mine = at.get(spec.name, by_check[:0])
        mine = mine[node[records.place[mine]] >= 0]
        measured = (records.flags[mine] & MEASURED) > 0
        told = [records[row] for row in mine[~measured | ((records.flags[mine] & UNSUPPORTED) > 0)].tolist()]
        subjects = records.place[mine[measured]]
        rolls[spec.name] = _Roll(
            reported=np.bincount(node[records.place[mine]], minlength=len(number)),
            told=sorted(told, key=lambda record: number[record.node]),
            subjects=subjects,
            at={scope: places[subjects] for scope, places in where.items()},
        )
    return rolls


def _cut_short_by(evidence: Evidence) -> str:
    """What ended ranks that did nothing wrong."""
    if end := evidence.ended_from_outside or (None if evidence.last_word else evidence.job):
        return end.sentence
    return "another rank was lost"


def _singled_out(evidence: Evidence, record: Record) -> Event | None:
    """How the driver has named this rank among those that a deadline ended; None where it has not."""
    if record.interruption not in ("deadline", "terminated"):
        return None
    named = (
        event
        for event in evidence.events
        if event.kind == "death"
        and (event.step, event.check) == (record.step, record.check)
        and record.rank in event.ranks
    )
    return next(named, None)


def _stopped(record: Record, named: Event, required: bool) -> Verdict:
    subject, code = Subject(record.node, record.device), FindingCode.RANK_LOST
    return Verdict(
        subject, record.check, Outcome.ERROR, named.detail, remedy=named.remedy, required=required, code=code
    )


def _of_record(record: Record, required: bool, cut_short_by: str) -> Iterable[Verdict]:
    subject = Subject(record.node, record.device)
    if record.outcome == "not_run":
        code = _own_code(record) or FindingCode.CHECK_NOT_RUN
        yield Verdict(
            subject, record.check, Outcome.NOT_RUN, record.cause, remedy=record.remedy, required=required, code=code
        )
    elif record.outcome == "error":
        victim = f"cut short because {cut_short_by}: " if record.by_peer else ""
        cause = f"{victim}{record.cause}"
        code = FindingCode.CUT_SHORT if record.by_peer else _own_code(record) or FindingCode.CHECK_ERROR
        yield Verdict(subject, record.check, Outcome.ERROR, cause, remedy=record.remedy, required=required, code=code)
    for variant, why in record.unsupported.items():
        yield Verdict(
            subject,
            record.check,
            Outcome.NOT_RUN,
            f"not supported: {why}",
            variant=variant,
            required=False,
            code=FindingCode.VARIANT_UNSUPPORTED,
        )


def _own_code(record: Record) -> FindingCode | None:
    """The code that the rank has fixed; None where it has none, or is of another version with other words."""
    return next((code for code in FindingCode if str(code) == record.code), None) if record.code else None


def _missing(evidence: Evidence, node: str, check: str, lost: int, asked: int, required: bool) -> Verdict:
    death = next((e for e in evidence.events if e.kind in ("death", "excluded") and node in e.nodes), None)
    here = next((e for e in evidence.events if e.kind == "death" and node in e.nodes and e.check == check), None)
    outside = next((e for e in evidence.events if e.kind == "not_entered" and node in e.nodes), None)
    if outside:
        outcome, reason, remedy, code = (
            Outcome.ERROR,
            outside.detail,
            outside.remedy,
            FindingCode.NODE_NOT_ENTERED,
        )
    elif here:
        outcome, reason, remedy, code = Outcome.ERROR, here.detail, here.remedy, FindingCode.RANK_LOST
    elif death:
        outcome, reason, remedy, code = (
            Outcome.NOT_RUN,
            f"not measured after: {death.detail}",
            death.remedy,
            FindingCode.AFTER_LOSS,
        )
    else:
        outcome, reason, remedy, code = Outcome.ERROR, *_why_silent(evidence)
    who = f"{lost} of {asked} ranks" if asked > 1 else "the node"
    # What was lost has reported before: its earlier checks are judged.
    reason = f"{who} left no result: {reason}" if here or death else f"{who} never reported: {reason}"
    return Verdict(Subject(node), check, outcome, reason, remedy=remedy, required=required, code=code)


def _why_silent(evidence: Evidence) -> tuple[str, str, FindingCode]:
    """Reason, remedy (empty: what the code says) and code."""
    last, end = evidence.last_word, evidence.ended_from_outside
    if end:
        return end.sentence, end.remedy, _ENDED.get(end.state, FindingCode.JOB_FAILED)
    if last and last.detail:
        return last.detail, last.remedy, FindingCode.JOB_ENDED_EARLY
    if evidence.job:
        code = _ENDED.get(evidence.job.state, FindingCode.JOB_FAILED)
        return evidence.job.sentence, evidence.job.remedy, code
    if last:
        return "no rank of it left a record", "", FindingCode.NODE_SILENT
    return "the job has not ended yet", "", FindingCode.JOB_GOES_ON


def _never_started(evidence: Evidence) -> Iterable[Verdict]:
    reason, remedy, code = _why_silent(evidence)
    if not evidence.job and not evidence.last_word:
        reason, remedy, code = "the job has not started", "", FindingCode.JOB_NOT_STARTED
    for spec in evidence.plan.suite.checks:
        yield Verdict(Subject(), spec.name, Outcome.ERROR, reason, remedy=remedy, required=spec.required, code=code)


def _not_in_the_job(evidence: Evidence) -> Iterable[Verdict]:
    asked, there = evidence.plan.request.nodes, len(evidence.nodes)
    if there < asked:
        yield Verdict(
            Subject(),
            "nodes",
            Outcome.ERROR,
            f"{there} of the {asked} nodes that were asked for are in the job",
            code=FindingCode.NODE_ABSENT,
        )


def _failed(evidence: Evidence) -> Iterable[Verdict]:
    """A node that the scheduler has lost is told by its name, whatever it had measured before."""
    end = evidence.ended_from_outside
    if end is None:
        return
    for node in end.nodes:
        if node in evidence.nodes:
            yield Verdict(
                Subject(node),
                "nodes",
                Outcome.ERROR,
                f"the node failed while the job ran: the scheduler says {end.detail}",
                remedy=f"Look at it: scontrol show node {node}, and its own log at that time. Test the others: --exclude {node}.",
                code=FindingCode.JOB_NODE_FAIL,
            )


def _torn(evidence: Evidence) -> Iterable[Verdict]:
    for unreadable in evidence.unreadable:
        yield Verdict(
            Subject(unreadable.node),
            "records",
            Outcome.ERROR,
            f"{f'line {unreadable.line}' if unreadable.line else 'a line'} of {unreadable.file} cannot be read: {unreadable.text[:160]!r}",
            code=FindingCode.RECORD_UNREADABLE,
        )


def _metricless(
    roll: _Roll, places: Sequence[tuple[str, str]], check: str, metric: Metric, numbers: _Numbers, required: bool
) -> Iterator[Verdict]:
    """A measured record without a number that it should have is never a pass."""
    has = numbers.has.get((check, metric.name), np.zeros(len(numbers.subject), bool))
    for row in np.flatnonzero(~has[roll.at[metric.scope]]).tolist():
        yield Verdict(
            Subject(*places[roll.subjects[row]]),
            check,
            Outcome.ERROR,
            f"{metric.name} is absent from a record that says it was measured",
            metric=metric.name,
            required=required,
            code=FindingCode.NUMBER_ABSENT,
        )


def _left_out(spec: CheckSpec, roll: _Roll, measured: Sequence[str]) -> Iterator[Verdict]:
    """A variant that was asked for by name, and that nobody has measured or called unsupported, is never a pass."""
    if not len(roll.subjects):
        return
    said = {
        part
        for text in (*measured, *(name for record in roll.told for name in record.unsupported))
        for part in text.split("/")
    }
    for variant in spec.variants:
        if variant not in said:
            yield Verdict(
                Subject(),
                spec.name,
                Outcome.ERROR,
                f"{variant} was asked for, and no rank has measured it or said why not",
                variant=variant,
                required=spec.required,
                code=FindingCode.VARIANT_LEFT_OUT,
            )


def _unlike_its_like(roll: _Roll, column: Values, numbers: _Numbers, alike: Alike, required: bool) -> Iterator[Verdict]:
    """A rate that most like subjects have, and that one has neither measured nor called unsupported, is never a pass."""
    has = numbers.having(column)
    if has[roll.at[column.metric.scope]].all():
        return
    spoke = np.zeros(len(numbers.subject), bool)
    spoke[roll.at[column.metric.scope]] = True
    places = np.flatnonzero(spoke[:-1])
    if column.metric.required:
        # Whoever has no number of the metric at all was told by ``_metricless``.
        places = places[numbers.has[(column.check, column.metric.name)][places]]
    has = has[places]
    subjects = numbers.subject[places]
    unsupported: set[tuple[str, str]] = set()
    for record in roll.told:
        if any(said in column.variant or said == column.metric.name for said in record.unsupported):
            unsupported |= {(record.node, record.device), (record.node, "")}
    for _, rows in alike.groups(subjects.astype(np.int32)):
        having = int(has[rows].sum())
        if having < 2 or 2 * having <= len(rows):
            continue
        for at in subjects[rows[~has[rows]]].tolist():
            subject = column.table_subjects[at]
            if (subject.node, subject.device) not in unsupported:
                yield Verdict(
                    Subject(subject.node, subject.device),
                    column.check,
                    Outcome.ERROR,
                    f"{column.key} is absent here; {having} of {len(rows)} like units have it",
                    metric=column.metric.name,
                    variant=column.variant,
                    required=required,
                    code=FindingCode.NUMBER_ABSENT_HERE,
                )
