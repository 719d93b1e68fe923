"""Plans the marks to make and to take off, with the reasons for leaving others alone. What the dry run shows is what ``--yes`` then does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcaccept.app.nodes.act import Hand, new_mark
from hpcaccept.app.nodes.allowed import beyond_limit, our_marks, whose
from hpcaccept.app.nodes.audit import now_text
from hpcaccept.app.nodes.gate import GateResult, gate_of, shown_since
from hpcaccept.errors import UsageError
from hpcaccept.model.node_mark import Acted, Acting, Mark, Seen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hpcaccept.app.nodes.audit import Audit
    from hpcaccept.app.nodes.controller import Controller
    from hpcaccept.model.node_mark import Kind

#: Code of a mark that a person makes without a run.
MANUAL = "manual"
#: Code of a quarantine that lasts only while a drain is taken off.
_COVER = "taking-back"


@dataclass(frozen=True)
class Plan:
    """What would be done.

    Attributes:
        marks: to be put on.
        refused: node → why not.
        beyond: partition → why the circuit breaker stops all of it.
    """

    marks: tuple[Mark, ...]
    refused: Mapping[str, str]
    beyond: Mapping[str, str]


def plan_marks(
    slurm: Controller,
    wanted: Mapping[str, tuple[str, tuple[str, ...]]],
    kind: Kind,
    run: str,
    by: str,
    max_share: float,
) -> Plan:
    """Read Slurm once, and say of each node whether it is nobody else's.

    Args:
        slurm: that is asked.
        wanted: node → code and the checks that it failed.
        kind: of the marks.
        run: in which they failed; empty: none.
        by: name of the user.
        max_share: of a partition that may carry marks.
    """
    reservations, nodes = slurm.reservations(), {node.name: node for node in slurm.nodes()}
    there = our_marks(nodes.values(), reservations)
    refused = {name: "Slurm knows no such node" for name in wanted if name not in nodes}
    for name in wanted.keys() - refused.keys():
        if why := whose(nodes[name], reservations):
            refused[name] = why
        elif any(seen.node == name and seen.kind == kind for seen in there):
            refused[name] = f"it carries a {kind} of ours already"
    left = [name for name in wanted if name not in refused]
    marks = tuple(new_mark(name, kind, run, *wanted[name], now_text(), by) for name in left)
    return Plan(marks, refused, beyond_limit(list(nodes.values()), there, left, max_share))


@dataclass(frozen=True)
class Return:
    """A mark that may come off, or not.

    Attributes:
        seen: the mark in Slurm.
        mark: as the audit log knows it.
        gate: what the node has shown since.
    """

    seen: Seen
    mark: Mark
    gate: GateResult


def plan_returns(
    slurm: Controller, audit: Audit, names: set[str], runs_dir: Path, times: int, since: str
) -> list[Return]:
    """Marks of ours on these nodes, with what their gate says.

    Raises:
        UsageError: one of the nodes carries none.
    """
    seen = [one for one in our_marks(slurm.nodes(), slurm.reservations()) if one.node in names]
    if lacking := sorted(names - {one.node for one in seen}):
        raise UsageError(f"{', '.join(lacking)}: no mark of hpcaccept is there.", "See: hpcaccept nodes list")
    return [_return(one, audit, runs_dir, times, since) for one in seen]


def _return(seen: Seen, audit: Audit, runs_dir: Path, times: int, since: str) -> Return:
    mark = known_mark(seen, audit)
    from_when = since or mark.at
    if not from_when:
        from hpcaccept.app.nodes.gate import GateResult

        unknown = "this audit log does not know when it was made: name the time of the repair with --since"
        return Return(seen, mark, GateResult(False, (), unknown))
    shown = shown_since(runs_dir, seen.node, from_when, mark.run)
    return Return(seen, mark, gate_of(shown, mark.checks, times))


def known_mark(seen: Seen, audit: Audit) -> Mark:
    """What the audit log has of a mark; else what the mark itself says.

    A quarantine that took the place of a drain speaks of the same failure.
    """
    return audit.mark(seen.id) or Mark(seen.id, seen.node, seen.kind, seen.run, seen.code)


def to_quarantine(hand: Hand, seen: Seen, users: tuple[str, ...]) -> Iterator[Acted]:
    """Put a quarantine over a drain of ours, then take the drain off: under it the node can be tested, and takes no other job."""
    old = known_mark(seen, hand.audit)
    there = our_marks([hand.slurm.node(seen.node)], hand.slurm.reservations())
    if any(one.node == seen.node and one.kind == "quarantine" for one in there):
        yield hand.release(seen)  # drained for a reboot, under a quarantine that is still there
        return
    new = new_mark(seen.node, "quarantine", old.run, old.code or MANUAL, old.checks, old.at or now_text(), hand.by)
    made = hand.mark(new, users)
    yield made
    if made.result == "done":
        yield hand.release(seen)


def undone(hand: Hand, names: set[str], users: tuple[str, ...]) -> Iterator[Acted]:
    """Take back the last thing that was done to each of these nodes: a mark comes off without a gate, one that was taken off comes back.

    Raises:
        UsageError: the audit log holds nothing that was done to one of them.
    """
    last = _last_done(hand.audit)
    if lacking := sorted(names - last.keys()):
        raise UsageError(f"{', '.join(lacking)}: the audit log holds nothing to undo.", f"See: {hand.audit.file}")
    there = our_marks(hand.slurm.nodes(), hand.slurm.reservations())
    for name in sorted(names):
        acted, mark = last[name]
        if acted.verb in ("resume", "undo"):
            yield hand.mark(
                new_mark(name, mark.kind, mark.run, mark.code or MANUAL, mark.checks, mark.at, hand.by), users
            )
            continue
        seen = next((one for one in there if one.id == mark.id), None)
        if seen is None:
            yield Acted("undo", mark.id, name, "refused", "that mark is not there any more", hand.by)
        else:
            yield from _taken_off(hand, seen, users)


def _taken_off(hand: Hand, seen: Seen, users: tuple[str, ...]) -> Iterator[Acted]:
    """A drain comes off under a quarantine that goes with it."""
    if seen.kind == "quarantine":
        yield hand.release(seen, "undo")
        return
    cover = new_mark(seen.node, "quarantine", seen.run, _COVER, (), now_text(), hand.by)
    made = hand.mark(cover, users)
    if made.result != "done":
        yield replace(made, verb="undo")
        return
    yield hand.release(seen, "undo")
    there = our_marks([hand.slurm.node(seen.node)], hand.slurm.reservations())
    for one in there:
        if one.id == cover.id:
            yield hand.release(one, "undo")


def _last_done(audit: Audit) -> dict[str, tuple[Acted, Mark]]:
    marks: dict[str, Mark] = {}
    last: dict[str, tuple[Acted, Mark]] = {}
    for _, entry in audit.entries():
        if isinstance(entry, Acting):
            marks[entry.mark.id] = entry.mark
        elif entry.result == "done" and entry.mark in marks and marks[entry.mark].code != _COVER:
            last[entry.node] = (entry, marks[entry.mark])
    return last
