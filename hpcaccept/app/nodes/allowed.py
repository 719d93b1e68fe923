"""Which nodes belong to nobody else, and how many of a partition may be taken out. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

from hpcaccept.model.node import KEPT_FLAGS
from hpcaccept.parse.slurm.marks import parse_reason, parse_reservation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hpcaccept.model.node import NodeState, Reserved
    from hpcaccept.model.node_mark import Seen

#: States of a node that nobody has taken out; what else stands there, somebody or Slurm has put there for a reason that is not ours.
#: A node that does not respond is nobody's either: Slurm also says so for some seconds after it was undrained.
#: https://slurm.schedmd.com/sinfo.html#SECTION_NODE-STATE-CODES (25.05)
_IN_SERVICE = frozenset(
    {
        "IDLE", "ALLOCATED", "MIXED", "COMPLETING", "PLANNED", "CLOUD", "DYNAMIC_NORM", "RESERVED", "NOT_RESPONDING", "MARK *",
    }
)  # fmt: skip
#: States that a drain of ours brings about, also by way of a reboot that was asked for under it.
_DRAINED = frozenset(
    {"DRAIN", "DRAINED", "DRAINING", "DOWN", "REBOOT", "REBOOT_REQUESTED", "REBOOT_ISSUED", "MARK @", "MARK ^"}
)


def our_marks(nodes: Iterable[NodeState], reservations: Iterable[Reserved]) -> tuple[Seen, ...]:
    """Every mark of ours that Slurm shows. A reservation counts where it has the one node that its name says."""
    drains = [parse_reason(node.name, node.out.why) for node in nodes if node.out and set(node.flags) & _DRAINED]
    found = [parse_reservation(one.name) for one in reservations if _whole(one)]
    return tuple(mark for mark in (*drains, *found) if mark)


def _whole(one: Reserved) -> bool:
    seen = parse_reservation(one.name)
    return seen is not None and one.nodes == {seen.node}


def whose(node: NodeState, reservations: Iterable[Reserved]) -> str:
    """Why a node is somebody else's, in words; empty where it is in service, or out by marks of ours alone."""
    others = [one for one in reservations if node.name in one.nodes and not _whole(one)]
    if others:
        return f"reservation {others[0].name} has it"
    ours = parse_reason(node.name, node.out.why) if node.out else None
    quarantined = any(node.name in one.nodes for one in reservations)
    odd = set(node.flags) - _IN_SERVICE - (_DRAINED if ours else set()) - (KEPT_FLAGS if quarantined else set())
    if odd or (node.out and not ours):
        by = f" by {node.out.by}" if node.out and node.out.by else ""
        why = f" ({node.out.why}{by})" if node.out else ""
        return f"it is {'+'.join(node.flags)}{why}"
    return ""


def beyond_limit(
    nodes: Sequence[NodeState], marks: Iterable[Seen], wanted: Iterable[str], max_share: float
) -> Mapping[str, str]:
    """The circuit breaker: partition → why no more of it may go. Counted is what carries a mark of ours, and what would.

    One node of a partition may always go, so that a small one is not beyond help.

    Args:
        nodes: of the cluster.
        marks: of ours that are there.
        wanted: nodes that are to be marked.
        max_share: of the nodes of a partition.
    """
    asked = set(wanted)
    would = {mark.node for mark in marks} | asked
    members: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        for partition in node.partitions:
            members[partition].append(node.name)
    found = {}
    for partition, names in members.items():
        # 0.29 * 100 is 28.999…: what a share of whole nodes is must not hang on the last bit.
        most = max(1, math.floor(max_share * len(names) + 1e-9))
        count = len(would & set(names))
        if count > most and asked & set(names):
            found[partition] = (
                f"{count} of {len(names)} nodes of partition {partition} would carry marks, at most {most} may"
            )
    return found
