"""Chooses the idle nodes that are tested tonight: those tested longest ago, and none that anybody could want meanwhile. Pure.

The order is that of the last test, whatever came of it: a node that fails every night, and that nobody has drained, must not
take the place of others for ever. While every test ends well this is the order of the last acceptance. So every node that
is idle each night is tested within ⌈nodes / cap⌉ nights.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpcaccept.model.node import KEPT_FLAGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hpcaccept.model.nightly.night import LastTest
    from hpcaccept.model.node import NodeState, Reserved

#: What may stand beside IDLE on a node that is plainly idle; whatever else Slurm may say there, it is not ours to take.
#: https://slurm.schedmd.com/sinfo.html#SECTION_NODE-STATE-CODES (25.05)
HARMLESS = {"CLOUD", "DYNAMIC_NORM"}


@dataclass(frozen=True)
class Terms:
    """What the choice has to keep to.

    Attributes:
        partition: whose nodes are meant.
        gpus: that each node must be configured with.
        gpu_type: which of them; empty: any.
        now_s: seconds since the epoch.
        until_s: when the last job has ended at the latest.
        cap: at most so many nodes.
        reservation: that the jobs are submitted to, several with commas; empty: none.
        only: names, when they matter.
        exclude: names that must not be used.
    """

    partition: str
    gpus: int
    now_s: float
    until_s: float
    cap: int
    reservation: str = ""
    only: frozenset[str] | None = None
    exclude: frozenset[str] = frozenset()
    gpu_type: str = ""


@dataclass(frozen=True)
class LeftOut:
    """Why a node is not taken.

    Attributes:
        kind: the same for all nodes that are left out alike.
        detail: of this one; empty where the kind says it.
    """

    kind: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why nothing else.

    Attributes:
        nodes: the one that was tested longest ago first.
        left_out: every other node of the partition → why.
    """

    nodes: tuple[str, ...]
    left_out: dict[str, LeftOut] = field(default_factory=dict)

    @property
    def reasons(self) -> dict[str, int]:
        """Kind of reason → how many nodes, the most frequent first."""
        return dict(Counter(why.kind for why in self.left_out.values()).most_common())


def cap_of(nodes: int, max_nodes: int, max_share: float) -> int:
    """At most so many nodes of a partition of ``nodes``: never more than asked for, and one at least."""
    # 0.29 * 100 is 28.999…: what a share of whole nodes is must not hang on the last bit.
    share = max(1, math.floor(max_share * nodes + 1e-9))
    return min(share, max_nodes) if max_nodes else share


def choose(
    nodes: Iterable[NodeState], kept: Sequence[Reserved], tested: Mapping[str, LastTest], terms: Terms
) -> Choice:
    """The nodes to test.

    Args:
        nodes: as the scheduler sees them now.
        kept: reservations, and nodes that are planned for jobs that wait.
        tested: node → its last test; nodes that were never tested are not in it and come first, by name.
        terms: what to keep to.
    """
    mine = [node for node in nodes if terms.partition in node.partitions]
    left_out = {node.name: why for node in mine if (why := _why_not(node, kept, terms))}
    idle = sorted((node.name for node in mine if node.name not in left_out), key=lambda name: _age(name, tested))
    late = dict.fromkeys(idle[terms.cap :], LeftOut("beyond the cap", "others come first"))
    return Choice(tuple(idle[: terms.cap]), {**left_out, **late})


def _age(name: str, tested: Mapping[str, LastTest]) -> tuple[str, str, str]:
    found = tested.get(name)
    return (found.at, found.accepted_at, name) if found else ("", "", name)


def _why_not(node: NodeState, kept: Sequence[Reserved], terms: Terms) -> LeftOut | None:
    """None for a node that may be taken."""
    if terms.only is not None and node.name not in terms.only:
        return LeftOut("not among those named")
    if node.name in terms.exclude:
        return LeftOut("excluded")
    named = set(terms.reservation.split(","))
    ours = any(r.name in named and node.name in r.nodes and r.start_s <= terms.now_s for r in kept)
    if terms.reservation and not ours:
        return LeftOut("not in the reservation", terms.reservation)
    if "PLANNED" in node.flags:
        return LeftOut("planned for a job that waits")
    base, *more = node.flags
    if base != "IDLE" or set(more) - HARMLESS - (KEPT_FLAGS if ours else set()):
        return LeftOut("not idle", "+".join(node.flags))
    if node.busy_cpus:
        return LeftOut("not idle", f"{node.busy_cpus} CPUs in use")
    if node.count(terms.gpu_type) < terms.gpus:
        return LeftOut("fewer GPUs than asked for", f"{node.count(terms.gpu_type)} of {terms.gpus}")
    for other in kept:
        if node.name in other.nodes and other.name not in named and _meet(other, terms):
            return LeftOut("planned for a job that waits" if other.for_job else "reserved", other.name)
    return None


def _meet(other: Reserved, terms: Terms) -> bool:
    return other.start_s < terms.until_s and other.end_s > terms.now_s


def in_jobs(nodes: Sequence[str], nodes_per_job: int) -> list[tuple[str, ...]]:
    """The nodes of each job: ``nodes_per_job`` of them (the last job takes what is left), or all in one for 0."""
    size = nodes_per_job or max(1, len(nodes))
    return [tuple(nodes[first : first + size]) for first in range(0, len(nodes), size)]
