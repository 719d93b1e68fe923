"""Whose words are these? The file, the rank and the placement of the step fix who speaks; a rank never speaks for another node.

Every node can write into the run folder, and writes its own name. Believed, a journal that says another's name makes a dead node
live, or a healthy one slow. So the name of the file says which rank it is of, and the step places the rank on a node. A launcher may
place the nodes in another order: its order counts where the whole step agrees on one, with every rank on a node of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcaccept.model.record import RankStarted, Record, UnreadableLine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hpcaccept.model.plan import Step
    from hpcaccept.store.journal import JournalEntry

    Words = Sequence[JournalEntry | UnreadableLine]

_OF_A_RANK = re.compile(r"r(\d{6,})\.jsonl")
#: Where no launcher tells a process its rank, the journal has the number of the process, and the rank is what MPI said.
_OF_A_PROCESS = re.compile(r"pid\d+\.jsonl")


@dataclass(frozen=True)
class Author:
    """Who a journal is of.

    Attributes:
        rank: MPI rank within the step; -1 where that is not known.
        node: name of its node; empty where no rank of the step has this number.
    """

    rank: int
    node: str


def authors(step: Step, journals: Mapping[str, Words]) -> dict[str, Author]:
    """Journal → who it is of.

    Args:
        step: that the journals are of.
        journals: name of the file → what it says.
    """
    ranks = {name: _rank(name, words) for name, words in journals.items()}
    says = {name: next(_names(words), "") for name, words in journals.items()}
    per_node = max(1, step.ranks_per_node if step.checks else 1)
    many = len(step.nodes) * per_node
    inside = {name: rank for name, rank in ranks.items() if 0 <= rank < many}
    counts = Counter(says[name] for name in inside)
    # A whole step in another order: every rank there once, every node with as many ranks as it has.
    agreed = len(set(inside.values())) == len(inside) == many and counts == dict.fromkeys(step.nodes, per_node)
    return {
        name: Author(rank, (says[name] if agreed else step.nodes[rank // per_node]) if name in inside else "")
        for name, rank in ranks.items()
    }


def own_words(step: Step, name: str, words: Words, author: Author) -> Iterator[JournalEntry | UnreadableLine]:
    """What a journal says of itself; whatever it says of another is a line that cannot be read.

    Args:
        step: that the journal is of.
        name: of the file.
        words: of the file.
        author: who it is of.
    """
    for word in words:
        why = _foreign(step, word, author)
        if why:
            whose = f"rank {author.rank}{f' on {author.node}' if author.node else ''}"
            yield UnreadableLine(name, f"the journal of {whose} {why}", author.node)
        elif isinstance(word, UnreadableLine):
            yield UnreadableLine(word.file, word.text, author.node)
        else:
            yield word


def _rank(name: str, words: Words) -> int:
    if match := _OF_A_RANK.fullmatch(name):
        return int(match[1])
    if not _OF_A_PROCESS.fullmatch(name):
        return -1
    return next((word.rank for word in words if isinstance(word, RankStarted)), -1)


def _names(words: Words) -> Iterator[str]:
    for word in words:
        if isinstance(word, RankStarted | Record):
            yield word.node


def _foreign(step: Step, word: JournalEntry | UnreadableLine, author: Author) -> str:
    """What is wrong with a line, or nothing."""
    if not isinstance(word, RankStarted | Record):
        return ""
    if not author.node:
        return f"is of no rank of step {step.id}, which has {step.ranks}"
    if word.rank != author.rank or word.node != author.node:
        return f"says that it is rank {word.rank} on {word.node[:80]!r}"
    if isinstance(word, Record) and (word.step != step.id or not 0 <= word.revision < 2**31):
        return f"has a record of step {word.step[:20]!r}, revision {word.revision}"
    return ""
