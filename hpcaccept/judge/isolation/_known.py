"""Faults of the fabric that are as good as proven: tests that they explain say nothing about nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.isolation._fabric import sizes_of
from hpcaccept.judge.isolation.belief import pairs_of
from hpcaccept.model.isolation import Fault, Outcome

if TYPE_CHECKING:
    from hpcaccept.judge.isolation.belief import Belief


def hits(belief: Belief, fault: Fault, members: np.typing.NDArray[np.int64]) -> bool:
    """Whether a test of these nodes would have shown a fault."""
    if fault.kind == "scale":
        return len(members) >= fault.size
    if fault.kind in ("node", "link"):
        return all(belief.index[name] in members for name in fault.where)
    touched = {belief.leaf_names[number] for number in belief.leaf[members] if number >= 0}
    return touched.issuperset(fault.where) and len(touched) > 1


def explains(belief: Belief, outcome: Outcome) -> bool:
    """Whether a known fault explains whatever comes of a test."""
    if not belief.known:
        return False
    members = np.array([belief.index[name] for name in outcome.test.nodes], np.int64)
    return any(hits(belief, fault, members) for fault, _ in belief.known)


def best_fault(belief: Belief) -> tuple[Fault, float]:
    """The fault of the fabric that is most probable, and how probable it is. A size is as probable as all sizes together."""
    fabric = belief.fabric
    if not fabric.kinds:
        return Fault("scale"), 0.0
    loss = belief.levels.losses[fabric.level - 1]
    found: list[tuple[Fault, float]] = []
    if fabric.links.size:
        found.append(_best_link(belief, loss))
    if fabric.leaf_pairs.size:
        one, other = sorted(divmod(int(fabric.leaf_pairs.argmax()), len(belief.leaf_names)))
        where = (belief.leaf_names[one], belief.leaf_names[other])
        found.append((Fault("leaf_pair", where, loss=loss), 2 * float(fabric.leaf_pairs[one, other])))
    if fabric.leaves.size:
        one = int(fabric.leaves.argmax())
        found.append((Fault("leaf", (belief.leaf_names[one],), loss=loss), float(fabric.leaves[one])))
    if fabric.scale.size:
        size = int(sizes_of(len(belief.nodes))[fabric.scale.argmax()])
        found.append((Fault("scale", size=size, loss=loss), float(fabric.scale.sum())))
    return max(found, key=lambda one: one[1])


def _best_link(belief: Belief, loss: float) -> tuple[Fault, float]:
    """The most probable pair; the first of those that no test has told apart."""
    fabric = belief.fabric
    there = pairs_of(fabric.link_class, len(fabric.links)) > 0
    one, other = divmod(int(np.where(there, fabric.links, -1.0).argmax()), len(fabric.links))
    first = int(np.flatnonzero(fabric.link_class == one)[0])
    second = int(np.flatnonzero(fabric.link_class == other)[1 if one == other else 0])
    ends = sorted((first, second))
    return Fault("link", (belief.nodes[ends[0]], belief.nodes[ends[1]]), loss=loss), float(fabric.links[one, other])


def accepted(belief: Belief) -> tuple[Fault, float] | None:
    """A fault of the fabric that is now known; None: none."""
    fault, posterior = best_fault(belief)
    if posterior < belief.settings.until:
        return None
    shown = [seen for seen in belief.seen if seen.suspicious and hits(belief, fault, seen.members)]
    if fault.kind != "scale":
        return (fault, posterior) if len(shown) > 1 else None
    return _accepted_size(belief, posterior)


def _accepted_size(belief: Belief, posterior: float) -> tuple[Fault, float] | None:
    """The same for a size, which must be known to a factor of two: the smallest group that failed, and the largest below it that passed."""
    scale = belief.fabric.scale / belief.fabric.scale.sum()
    sizes = sizes_of(len(belief.nodes))
    below, above = (int(sizes[int(np.searchsorted(np.cumsum(scale), edge))]) for edge in (0.03, 0.97))
    failed = [len(seen.members) for seen in belief.seen if seen.suspicious and len(seen.members) >= below]
    if len(failed) < 2 or above > 1.5 * below or min(failed) > 2 * below:
        return None
    loss = belief.levels.losses[belief.fabric.level - 1]
    return Fault("scale", size=min(failed), loss=loss), posterior
