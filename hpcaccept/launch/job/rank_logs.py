"""What have the ranks of a step said? Journals → Words."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hpcaccept.launch.job.failure import RankLogs
from hpcaccept.model.record import Interruption, RankExited, RankFinished, RankStarted, RankStopped, Record
from hpcaccept.store.journal import read

if TYPE_CHECKING:
    from hpcaccept.store.folder import RunFolder


def rank_logs_of(folder: RunFolder, step: str) -> RankLogs:
    """Everything the journals of a step hold, torn lines left out (they count as not said)."""
    spoke: dict[int, str] = {}
    records: list[Record] = []
    finished: set[int] = set()
    stopped: dict[int, tuple[str, bool]] = {}
    exits: dict[int, RankExited] = {}
    for file in sorted(folder.records(step).glob("r[0-9]*.jsonl")):
        rank = int(file.stem[1:]) if file.stem[1:].isdecimal() else -1
        for word in read(file):
            if isinstance(word, RankStarted):
                spoke[rank] = word.node
            elif isinstance(word, Record):
                records.append(_with_interruption(word))
                spoke[rank] = word.node
            elif isinstance(word, RankFinished):
                finished.add(rank)
            elif isinstance(word, RankStopped):
                stopped[rank] = (word.cause, word.by_peer)
            elif isinstance(word, RankExited):
                exits[rank] = word
    return RankLogs(spoke, tuple(records), frozenset(finished), stopped, exits)


#: How the cause of a record begins that was written before records said what had interrupted the rank.
_FORMER_CAUSES: tuple[tuple[str, Interruption], ...] = (("stopped: ", "stopped"), ("deadline: ", "deadline"))


def _with_interruption(record: Record) -> Record:
    if record.outcome != "error" or record.interruption:
        return record
    found = next((kind for begin, kind in _FORMER_CAUSES if record.cause.startswith(begin)), None)
    return replace(record, interruption=found) if found else record


def first_rank_started(folder: RunFolder, step: str) -> RankStarted | None:
    """Any rank's first words, as soon as there are some: MPI has started then."""
    for file in sorted(folder.records(step).glob("*.jsonl")):
        for word in read(file):
            if isinstance(word, RankStarted):
                return word
    return None
