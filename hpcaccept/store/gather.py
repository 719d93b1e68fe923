"""Turns journals into evidence. Read again at any time, on whatever is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpcaccept.model.event import Event
from hpcaccept.model.evidence import Evidence
from hpcaccept.model.metric import Metric
from hpcaccept.model.record import ModuleImported, RankStarted, Record, UnreadableLine
from hpcaccept.store.authors import authors, order_of, own_word
from hpcaccept.store.columns import RecordColumns, SampleColumns
from hpcaccept.store.journal import JournalEntry, StepJournals, read
from hpcaccept.store.sample_lists import SampleLists, lists_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcaccept.model.job import JobStatus
    from hpcaccept.model.plan import Plan, Step
    from hpcaccept.model.table import SampleTable
    from hpcaccept.store.folder import RunFolder

Catalogue = dict[str, dict[str, Metric]]


@dataclass
class _Heap:
    """What has been read so far, of one run.

    Attributes:
        catalogue: check → metric name → metric.
        steps: ids of those that were launched.
    """

    catalogue: Catalogue
    steps: frozenset[str]
    rank_starts: list[RankStarted] = field(default_factory=list)
    records: RecordColumns = field(default_factory=RecordColumns)
    unreadable: list[UnreadableLine] = field(default_factory=list)
    foreign: list[UnreadableLine] = field(default_factory=list)
    imports_s: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with no samples."""
        self.samples = SampleColumns(self.catalogue)

    def add(self, word: JournalEntry | UnreadableLine, samples: SampleLists) -> None:
        """Sort what a rank said."""
        if isinstance(word, UnreadableLine):
            self.unreadable.append(word)
        elif isinstance(word, RankStarted):
            self.rank_starts.append(word)
        elif isinstance(word, Record):
            self._add_record(word, samples)
        elif isinstance(word, ModuleImported):
            self.imports_s[word.module] = max(self.imports_s.get(word.module, 0.0), word.seconds)

    def _add_record(self, record: Record, samples: SampleLists) -> None:
        """Take what its check declares; what else a record holds is told, never dropped in silence."""
        who = f"rank {record.rank} of {record.node}"
        if record.check not in self.catalogue or record.step not in self.steps:
            text = f"a record of {record.check!r}, which was not asked for"
            self.foreign.append(UnreadableLine(who, text, record.node))
            return
        if odd := self.samples.add(record, samples):
            text = f"{len(odd)} samples of {record.check} that are none: {', '.join(odd)}"
            self.foreign.append(UnreadableLine(who, text[:2000], record.node))
        self.records.add(record)


def gather(folder: RunFolder, catalogue: Catalogue, job: JobStatus | None = None) -> Evidence:
    """Everything that is under a run folder now.

    Journals are read one at a time, so that a run of 32,768 ranks takes no more memory than its tables.

    Args:
        folder: of the run.
        catalogue: check → metric name → metric, to know whom a number speaks of.
        job: how the scheduler says the job ended, for runs whose driver had no last word.

    Raises:
        StoreError: the plan or a step cannot be read.
    """
    plan, steps = folder.read_plan(), folder.read_steps()
    heap = _Heap(catalogue, frozenset(step.id for step in steps))
    _read_steps(folder, steps, heap)
    events, unreadable = _events(folder)
    return Evidence(
        plan=plan,
        nodes=_nodes(plan, steps, events),
        steps=steps,
        rank_starts=tuple(heap.rank_starts),
        records=heap.records.last_words(),
        samples=_table(heap.samples, heap.rank_starts, steps),
        events=events,
        unreadable=(*heap.unreadable, *unreadable, *heap.foreign),
        imports_s=heap.imports_s,
        job=job,
        job_id=_job_id(folder, events),
    )


def _read_steps(folder: RunFolder, steps: Iterable[Step], heap: _Heap) -> None:
    """Put what the ranks of all steps say of themselves on the heap, in the order of the steps."""
    learned: tuple[str, ...] = ()
    waiting: list[tuple[Step, StepJournals]] = []
    for step in steps:
        journals = StepJournals.of(folder.records(step.id))
        waiting.append((step, journals))
        learned = learned or order_of(step, journals.heads)
        # Until one step agrees on an order nobody knows it; then it is that of the earlier ones too.
        if learned:
            _read_own_words(waiting, learned, heap)
            waiting = []
    _read_own_words(waiting, learned, heap)


def _read_own_words(steps: Iterable[tuple[Step, StepJournals]], learned: tuple[str, ...], heap: _Heap) -> None:
    for step, journals in steps:
        of = authors(step, journals.heads, learned)
        for name, author in of.items():
            for word, samples in journals.words(name):
                heap.add(own_word(step, name, word, author), samples)


def _job_id(folder: RunFolder, events: tuple[Event, ...]) -> str:
    """The number that the job itself saw; else the one that its submission got."""
    seen = next((event.job for event in events if event.job), "")
    submitted = None if seen else folder.read_job()
    return submitted.id if submitted else seen


def _events(folder: RunFolder) -> tuple[tuple[Event, ...], list[UnreadableLine]]:
    words = list(read(folder.driver_log)) if folder.driver_log.exists() else []
    return tuple(w for w in words if isinstance(w, Event)), [w for w in words if isinstance(w, UnreadableLine)]


def _nodes(plan: Plan, steps: tuple[Step, ...], events: tuple[Event, ...]) -> tuple[str, ...]:
    told = next((e.nodes for e in events if e.kind == "started"), ())
    return told or (steps[0].nodes if steps else ())


def table_of(
    records: list[Record], rank_starts: list[RankStarted], catalogue: Catalogue, steps: tuple[Step, ...] = ()
) -> SampleTable:
    """The samples of records as columns. Every check must be in the catalogue."""
    columns = SampleColumns(catalogue)
    for record in records:
        columns.add(record, lists_of(record.samples))
    return _table(columns, rank_starts, steps)


def _table(columns: SampleColumns, rank_starts: Iterable[RankStarted], steps: Iterable[Step]) -> SampleTable:
    settings = {rank_started.node: _setting(rank_started) for rank_started in rank_starts}
    return columns.table(settings, {step.id: f", {len(step.nodes)} nodes × {step.ranks_per_node}" for step in steps})


def _setting(rank_started: RankStarted) -> str:
    """What must be alike for two numbers to be compared."""
    return f"{rank_started.threads} threads, {'in turn' if rank_started.in_turn else 'all at once'}"
