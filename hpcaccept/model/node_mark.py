"""The nouns of ``hpcaccept nodes`` and of its audit log: the marks that hpcaccept puts on nodes, and what it did to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: A reservation of our own, or a drain with a reason of our own.
Kind = Literal["quarantine", "drain"]
Verb = Literal["quarantine", "drain", "resume", "undo", "reboot"]
#: ``done``; ``refused``: nothing was changed; ``overtaken``: somebody else marked the node in the same moment, and theirs stands;
#: ``failed``: Slurm refused, or did not answer.
Result = Literal["done", "refused", "overtaken", "failed"]


@dataclass(frozen=True)
class Mark:
    """One mark on one node.

    Attributes:
        id: of this very mark: eight digits of hexadecimal, so that nobody else's is taken for it.
        node: that carries it.
        kind: what it is in Slurm.
        run: in which the node failed; empty: marked by hand.
        code: of the finding; ``manual`` when marked by hand.
        checks: that the node failed, for the gate; empty: any run will do.
        at: when, ISO 8601 in UTC.
        by: who.
    """

    id: str
    node: str
    kind: Kind
    run: str
    code: str
    checks: tuple[str, ...] = ()
    at: str = ""
    by: str = ""


@dataclass(frozen=True)
class Acting:
    """Something that is about to be done: it stands in the audit log before Slurm is asked."""

    verb: Verb
    mark: Mark
    users: tuple[str, ...] = ()


@dataclass(frozen=True)
class Acted:
    """What came of it.

    Attributes:
        verb: that was done.
        mark: id of the mark.
        node: its node.
        result: what came of it.
        why: in one sentence.
        by: who.
        gate: runs that the node has passed since; of a resume.
    """

    verb: Verb
    mark: str
    node: str
    result: Result
    why: str = ""
    by: str = ""
    gate: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """A mark of ours as Slurm shows it.

    Attributes:
        id: of the mark.
        node: that carries it.
        kind: what it is.
        run: in which the node failed, where the mark says it.
        code: of the finding, where the mark says it.
        name: of the reservation; empty: a drain.
    """

    id: str
    node: str
    kind: Kind
    run: str = ""
    code: str = ""
    name: str = ""
