"""Who speaks in a journal: the file, the rank and the placement of the step fix it; a rank never speaks for another node.

Every node can write into the run folder, and writes its own name. Believed, a journal that says another's name makes a dead node
live, or a healthy one slow. So the name of the file says which rank it is of, and the step places the rank on a node. A launcher may
place the nodes in another order: its order counts where a whole step agrees on one, with every rank on a node of its own, and holds
for the other steps of the job too, in which a rank is dead and the rest cannot agree on anything.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
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


def order_of(step: Step, journals: Mapping[str, Words]) -> tuple[str, ...]:
    """The node of each rank, where the whole step agrees on it: every rank there once, every node with as many as it has; else empty.

    Args:
        step: that the journals are of.
        journals: name of the file → what it says.
    """
    says: dict[int, str] = {}
    for name, words in journals.items():
        rank = _rank(name, words)
        if rank in says:
            return ()
        if 0 <= rank < _ranks(step):
            says[rank] = next(_names(words), "")
    whole = Counter(says.values()) == dict.fromkeys(step.nodes, _per_node(step))
    return tuple(says[rank] for rank in range(_ranks(step))) if whole else ()


def authors(step: Step, journals: Mapping[str, Words], learned: Sequence[str] = ()) -> dict[str, Author]:
    """Journal → who it is of.

    Args:
        step: that the journals are of.
        journals: name of the file → what it says.
        learned: ``order_of`` another step of the job, for a step that does not agree on one itself.
    """
    placed = order_of(step, journals) or _placed(step, learned)
    ranks = {name: _rank(name, words) for name, words in journals.items()}
    return {name: Author(rank, placed[rank] if 0 <= rank < len(placed) else "") for name, rank in ranks.items()}


def _placed(step: Step, learned: Sequence[str]) -> tuple[str, ...]:
    """The node of each rank of a step by the order of another one; by its own list, in blocks, where that tells of other nodes."""
    per_node = _per_node(step)
    # Whether the launcher fills node by node or deals in turn: what is left of the order without the lost nodes is the order of the rest.
    left = tuple(node for node in learned if node in step.nodes)
    if Counter(left) == dict.fromkeys(step.nodes, per_node):
        return left
    names = tuple(dict.fromkeys(left))
    if len(names) < len(step.nodes):
        names = step.nodes
    return tuple(node for node in names for _ in range(per_node))


def _per_node(step: Step) -> int:
    """A step without checks only enters each node, once."""
    return max(1, step.ranks_per_node if step.checks else 1)


def _ranks(step: Step) -> int:
    return len(step.nodes) * _per_node(step)


def own_word(
    step: Step, name: str, word: JournalEntry | UnreadableLine, author: Author
) -> JournalEntry | UnreadableLine:
    """What a journal says of itself; whatever it says of another is a line that cannot be read.

    Args:
        step: that the journal is of.
        name: of the file.
        word: a line of it.
        author: who it is of.
    """
    why = _foreign(step, word, author)
    if why:
        whose = f"rank {author.rank}{f' on {author.node}' if author.node else ''}"
        return UnreadableLine(name, f"the journal of {whose} {why}", author.node)
    return replace(word, node=author.node) if isinstance(word, UnreadableLine) else word


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
