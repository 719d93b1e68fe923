"""What have the ranks of a step said? Journals → Words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.launch.job.failure import RankLogs
from hpcaccept.model.record import RankFinished, RankStarted, RankStopped, Record
from hpcaccept.parse.rank_exits import parse_aborting
from hpcaccept.store.journal import read

if TYPE_CHECKING:
    from hpcaccept.store.folder import RunFolder


def rank_logs_of(folder: RunFolder, step: str, stderr: str = "") -> RankLogs:
    """Everything the journals of a step hold, torn lines left out (they count as not said).

    Args:
        folder: of the run.
        step: its id.
        stderr: of the launcher, in which Open MPI says which ranks it was about to abort.
    """
    spoke: dict[int, str] = {}
    records: list[Record] = []
    finished: set[int] = set()
    stopped: dict[int, tuple[str, bool]] = {}
    pids: dict[int, int] = {}
    for file in sorted(folder.records(step).glob("r[0-9]*.jsonl")):
        rank = int(file.stem[1:]) if file.stem[1:].isdecimal() else -1
        for word in read(file):
            if isinstance(word, RankStarted):
                spoke[rank], pids[rank] = word.node, word.pid
            elif isinstance(word, Record):
                records.append(word)
                spoke[rank] = word.node
            elif isinstance(word, RankFinished):
                finished.add(rank)
            elif isinstance(word, RankStopped):
                stopped[rank] = (word.cause, word.by_peer)
    aborted = frozenset(rank for rank, pid in pids.items() if _aborts(spoke[rank], pid, spoke, stderr))
    return RankLogs(spoke, tuple(records), frozenset(finished), stopped, aborted)


def _aborts(node: str, pid: int, spoke: dict[int, str], stderr: str) -> bool:
    # A host may call itself by another name than the run does, and virtual nodes all call themselves by the host's.
    return any(pid == p and (host == node or host not in spoke.values()) for host, p in parse_aborting(stderr))


def first_rank_started(folder: RunFolder, step: str) -> RankStarted | None:
    """Any rank's first words, as soon as there are some: MPI has started then."""
    for file in sorted(folder.records(step).glob("*.jsonl")):
        for word in read(file):
            if isinstance(word, RankStarted):
                return word
    return None
