"""What have the ranks of a step said? Journals → Words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpcaccept.launch.aftermath import Words
from hpcaccept.model.record import Hello, Record
from hpcaccept.serial import from_plain
from hpcaccept.store.journal import read

if TYPE_CHECKING:
    from hpcaccept.store.folder import RunFolder


def words_of(folder: RunFolder, step: str) -> Words:
    """Everything the journals of a step hold, torn lines left out (they count as not said)."""
    spoke: dict[int, str] = {}
    records: list[Record] = []
    finished: set[int] = set()
    stopped: dict[int, tuple[str, bool]] = {}
    for file in sorted(folder.records(step).glob("*.jsonl")):
        rank = int(file.stem[1:]) if file.stem[1:].isdigit() else -1
        for line in read(file):
            if line.kind == "hello":
                spoke[rank] = from_plain(line.data, Hello).node
            elif line.kind == "record":
                record = from_plain(line.data, Record)
                records.append(record)
                spoke[record.rank] = record.node
            elif line.kind == "bye":
                finished.add(rank)
            elif line.kind == "stopped":
                stopped[rank] = _stopped(line.data)
    return Words(spoke, tuple(records), frozenset(finished), stopped)


def _stopped(data: Any) -> tuple[str, bool]:
    return str(data.get("cause", "")), bool(data.get("by_peer"))


def first_hello(folder: RunFolder, step: str) -> Hello | None:
    """Any rank's first words, as soon as there are some: MPI has started then."""
    for file in sorted(folder.records(step).glob("*.jsonl")):
        for line in read(file):
            if line.kind == "hello":
                return from_plain(line.data, Hello)
    return None
