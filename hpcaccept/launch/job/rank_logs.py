"""What the ranks of a step have said: journals → entries."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hpcaccept.launch.job.failure import RankLogs
from hpcaccept.model.event import Event
from hpcaccept.model.record import (
    CollectivesSeen,
    Interruption,
    NcclRas,
    RankExited,
    RankFinished,
    RankStarted,
    RankStopped,
    Record,
    UnreadableLine,
)
from hpcaccept.store.authors import authors, order_of, own_word
from hpcaccept.store.journal import StepJournals, read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcaccept.model.plan import Step
    from hpcaccept.store.folder import RunFolder
    from hpcaccept.store.journal import JournalEntry
    from hpcaccept.store.sample_lists import SampleLists


def rank_logs_of(folder: RunFolder, step: Step, *, measured: bool = False) -> RankLogs:
    """Everything the ranks of a step have said of themselves; of what they measured nothing but that they did, unless that is asked for.

    Torn lines count as not said, and so does what does not fit its file, rank, step and the placement (``store.authors``).
    """
    spoke: dict[int, str] = {}
    records: list[Record] = []
    finished: set[int] = set()
    stopped: dict[int, tuple[str, bool]] = {}
    exits: dict[int, RankExited] = {}
    pids: dict[int, int] = {}
    collectives: dict[int, CollectivesSeen] = {}
    ras = ""
    for rank, node, word, samples in _own_words(folder, step):
        if isinstance(word, RankStarted | Record):
            spoke[rank] = node
        if isinstance(word, RankStarted):
            pids[rank] = word.pid
        if isinstance(word, Record):
            record = (
                replace(word, samples=samples.as_samples()) if measured else replace(word, facts={}, unsupported={})
            )
            records.append(_with_interruption(record))
        elif isinstance(word, RankFinished):
            finished.add(rank)
        elif isinstance(word, RankStopped):
            stopped[rank] = (word.cause, word.by_peer)
        elif isinstance(word, RankExited):
            exits[rank] = word
        elif isinstance(word, CollectivesSeen):
            collectives[rank] = word
        elif isinstance(word, NcclRas):
            ras = ras or word.status
    return RankLogs(spoke, tuple(records), frozenset(finished), stopped, exits, pids, collectives, ras)


def _own_words(folder: RunFolder, step: Step) -> Iterator[tuple[int, str, JournalEntry, SampleLists]]:
    """Rank, its node, and a word of it, the samples of a record apart."""
    journals = StepJournals.of(folder.records(step.id))
    of = authors(step, journals.heads, order_of(step, journals.heads) or _learned(folder, step))
    for name, author in of.items():
        for line, samples in journals.words(name) if author.node else ():
            word = own_word(step, name, line, author)
            if not isinstance(word, UnreadableLine):
                yield author.rank, author.node, word, samples


def _learned(folder: RunFolder, step: Step) -> tuple[str, ...]:
    """The order of nodes on which an earlier step of the job agreed."""
    earlier = (before for before in folder.read_steps() if int(before.id) < int(step.id))
    orders = (order_of(before, StepJournals.of(folder.records(before.id)).heads) for before in earlier)
    return next((order for order in orders if order), ())


#: How the cause of a record begins that was written before records said what had interrupted the rank.
_FORMER_CAUSES: tuple[tuple[str, Interruption], ...] = (("stopped: ", "stopped"), ("deadline: ", "deadline"))


def _with_interruption(record: Record) -> Record:
    if record.outcome != "error" or record.interruption:
        return record
    found = next((kind for begin, kind in _FORMER_CAUSES if record.cause.startswith(begin)), None)
    return replace(record, interruption=found) if found else record


def lost_nodes(folder: RunFolder) -> set[str]:
    """Nodes that the driver has left out so far: they could not be entered, or cost too many steps."""
    words = read(folder.driver_log) if folder.driver_log.exists() else ()
    return {
        node
        for word in words
        if isinstance(word, Event) and word.kind in ("not_entered", "excluded")
        for node in word.nodes
    }


def first_rank_started(folder: RunFolder, step: str) -> RankStarted | None:
    """Any rank's first words, as soon as there are some: MPI has started then."""
    for file in sorted(folder.records(step).glob("*.jsonl")):
        for word in read(file):
            if isinstance(word, RankStarted):
                return word
    return None


def some_rank_has_ended(folder: RunFolder, step: str) -> bool:
    """True when the parent of a rank has seen it end with anything but exit code 0."""
    files = folder.records(step).glob("*.jsonl")
    return any(isinstance(word, RankExited) for file in files for word in read(file))
