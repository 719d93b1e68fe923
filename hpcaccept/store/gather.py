"""Turns journals into evidence. Read again at any time, on whatever is there."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from hpcaccept.model.event import Event
from hpcaccept.model.evidence import Evidence
from hpcaccept.model.metric import Metric
from hpcaccept.model.metric_key import MetricKey
from hpcaccept.model.record import ModuleImported, RankStarted, Record, Sample, UnreadableLine
from hpcaccept.model.table import MeasuredSubject, SampleTable
from hpcaccept.store.authors import authors, order_of, own_words
from hpcaccept.store.journal import JournalEntry, read, read_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hpcaccept.model.job import JobStatus
    from hpcaccept.model.plan import Plan, Step
    from hpcaccept.store.folder import RunFolder

T = TypeVar("T")
Catalogue = dict[str, dict[str, Metric]]
Journals = dict[str, list[JournalEntry | UnreadableLine]]


@dataclass
class _Heap:
    """What has been read so far."""

    rank_starts: list[RankStarted] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    unreadable: list[UnreadableLine] = field(default_factory=list)
    imports_s: dict[str, float] = field(default_factory=dict)

    def add(self, word: JournalEntry | UnreadableLine) -> None:
        """Sort what a rank said."""
        if isinstance(word, UnreadableLine):
            self.unreadable.append(word)
        elif isinstance(word, RankStarted):
            self.rank_starts.append(word)
        elif isinstance(word, Record):
            self.records.append(word)
        elif isinstance(word, ModuleImported):
            self.imports_s[word.module] = max(self.imports_s.get(word.module, 0.0), word.seconds)


def gather(folder: RunFolder, catalogue: Catalogue, job: JobStatus | None = None) -> Evidence:
    """Everything that is under a run folder now.

    Args:
        folder: of the run.
        catalogue: check → metric name → metric, to know whom a number speaks of.
        job: how the scheduler says the job ended, for runs whose driver had no last word.

    Raises:
        StoreError: the plan or a step cannot be read.
    """
    plan, steps = folder.read_plan(), folder.read_steps()
    heap = _Heap()
    for word in _said(folder, steps):
        heap.add(word)
    events, unreadable = _events(folder)
    known, foreign = _declared(heap.records, catalogue, {step.id for step in steps})
    records = _last_word_per_check(known)
    return Evidence(
        plan=plan,
        nodes=_nodes(plan, steps, events),
        steps=steps,
        rank_starts=tuple(heap.rank_starts),
        records=tuple(replace(r, samples=()) for r in records),
        samples=table_of(known, heap.rank_starts, catalogue, steps),
        events=events,
        unreadable=(*heap.unreadable, *unreadable, *foreign),
        imports_s=heap.imports_s,
        job=job,
        job_id=_job_id(folder, events),
    )


def _said(folder: RunFolder, steps: Iterable[Step]) -> Iterator[JournalEntry | UnreadableLine]:
    """What the ranks of all steps say of themselves, in the order of the steps."""
    learned: tuple[str, ...] = ()
    waiting: list[tuple[Step, Journals]] = []
    for step in steps:
        waiting.append((step, read_all(folder.records(step.id))))
        learned = learned or order_of(*waiting[-1])
        # Until one step agrees on an order nobody knows it; then it is that of the earlier ones too.
        if learned:
            yield from _own_words_of(waiting, learned)
            waiting = []
    yield from _own_words_of(waiting, learned)


def _own_words_of(
    steps: Iterable[tuple[Step, Journals]], learned: tuple[str, ...]
) -> Iterator[JournalEntry | UnreadableLine]:
    for step, journals in steps:
        of = authors(step, journals, learned)
        for name, words in journals.items():
            yield from own_words(step, name, words, of[name])


def _job_id(folder: RunFolder, events: tuple[Event, ...]) -> str:
    """The number that the job itself saw; else the one that its submission got."""
    seen = next((event.job for event in events if event.job), "")
    submitted = None if seen else folder.read_job()
    return submitted.id if submitted else seen


def _events(folder: RunFolder) -> tuple[tuple[Event, ...], list[UnreadableLine]]:
    words = list(read(folder.driver_log)) if folder.driver_log.exists() else []
    return tuple(w for w in words if isinstance(w, Event)), [w for w in words if isinstance(w, UnreadableLine)]


def _declared(
    records: list[Record], catalogue: Catalogue, steps: set[str]
) -> tuple[list[Record], list[UnreadableLine]]:
    """Records with the samples that their check declares; what else they hold is told, never dropped in silence."""
    known: list[Record] = []
    foreign: list[UnreadableLine] = []
    for record in records:
        metrics = catalogue.get(record.check)
        if metrics is None or record.step not in steps:
            foreign.append(
                UnreadableLine(
                    f"rank {record.rank} of {record.node}",
                    f"a record of {record.check!r}, which was not asked for",
                    record.node,
                )
            )
            continue
        mine = tuple(s for s in record.samples if s.metric in metrics and _is_number(s, metrics[s.metric]))
        if len(mine) < len(record.samples):
            odd = sorted({f"{s.metric}[{s.variant}] = {s.value}" for s in record.samples if s not in mine})
            text = f"{len(odd)} samples of {record.check} that are none: {', '.join(odd)}"
            foreign.append(UnreadableLine(f"rank {record.rank} of {record.node}", text[:2000], record.node))
        known.append(replace(record, samples=mine))
    return known, foreign


def _is_number(sample: Sample, metric: Metric) -> bool:
    """True for what can be a value of the metric, and fits into the columns of a table under a name that can be read back."""
    name = sample.variant.isprintable() and "]" not in sample.variant
    return name and math.isfinite(sample.value) and sample.value >= metric.least and 0 <= sample.repeat < 2**31


def _nodes(plan: Plan, steps: tuple[Step, ...], events: tuple[Event, ...]) -> tuple[str, ...]:
    told = next((e.nodes for e in events if e.kind == "started"), ())
    return told or (steps[0].nodes if steps else ())


def _last_word_per_check(records: list[Record]) -> list[Record]:
    """One record per device and check: the last that measured something, else the last one. (Samples of all count.)."""
    best: dict[tuple[str, str, str], Record] = {}
    for record in records:
        place = (record.node, record.device, record.check)
        old = best.get(place)
        if old is None or old.outcome != "measured" or record.outcome == "measured":
            best[place] = record
    return list(best.values())


def table_of(
    records: list[Record], rank_starts: list[RankStarted], catalogue: Catalogue, steps: tuple[Step, ...] = ()
) -> SampleTable:
    """The samples of records as columns. Every metric must be in the catalogue."""
    settings = {rank_started.node: _setting(rank_started) for rank_started in rank_starts}
    # What all ranks reach together depends on how many they are.
    scales = {step.id: f", {len(step.nodes)} nodes × {step.ranks_per_node}" for step in steps}
    keys: dict[tuple[str, str, str], int] = {}
    subjects: dict[MeasuredSubject, int] = {}
    rows: list[tuple[int, int, int, int, float]] = []
    for record in records:
        metrics = catalogue[record.check]
        setting = settings.get(record.node, "")
        by_scope = {
            "device": MeasuredSubject(record.node, record.device, record.device_id, record.device_model, setting),
            "node": MeasuredSubject(record.node, "", "", record.device_model, setting),
            "world": MeasuredSubject(
                "", "", "", record.device_model, setting and setting + scales.get(record.step, "")
            ),
        }
        for sample in record.samples:
            subject = by_scope[metrics[sample.metric].scope]
            key = (record.check, sample.metric, sample.variant)
            at = (keys.setdefault(key, len(keys)), subjects.setdefault(subject, len(subjects)))
            rows.append((*at, int(record.step), sample.repeat, sample.value))
    columns: Any = list(zip(*rows, strict=True)) if rows else ((), (), (), (), ())
    return SampleTable(
        keys=tuple(str(MetricKey.of(*key)) for key in keys),
        subjects=tuple(subjects),
        key=np.asarray(columns[0], np.int32),
        subject=np.asarray(columns[1], np.int32),
        launch=np.asarray(columns[2], np.int32),
        repeat=np.asarray(columns[3], np.int32),
        value=np.asarray(columns[4], np.float64),
    )


def _setting(rank_started: RankStarted) -> str:
    """What must be alike for two numbers to be compared."""
    return f"{rank_started.threads} threads, {'in turn' if rank_started.in_turn else 'all at once'}"
