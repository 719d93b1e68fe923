"""Finds the nodes that fit a request, and says why the others do not. Pure: what the scheduler says in, nodes and sentences out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from hpcaccept.model.node import KEPT_FLAGS, NodeState, Reserved
from hpcaccept.parse.slurm.site import Partition
from hpcaccept.report.phrases import counted, fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.node import TakenOut
    from hpcaccept.model.plan import Request

#: Flags of a node on which no job will start before somebody mends it.
#: https://slurm.schedmd.com/sinfo.html#SECTION_NODE-STATE-CODES (25.05); ``MARK *``: it does not respond.
_UNUSABLE = {"DOWN", "DRAIN", "DRAINED", "DRAINING", "ERROR", "FAIL", "FAILING", "FUTURE", "INVALID_REG", "MARK *",
             "NOT_RESPONDING", "NO_RESPOND", "UNKNOWN"}  # fmt: skip
#: So many reasons are told one by one.
_MOST_REASONS = 4


@dataclass(frozen=True)
class Seen:
    """What Slurm says of its partitions, nodes and reservations, and of whoever asks.

    Attributes:
        partitions: all.
        nodes: all.
        kept: reservations.
        groups: names of the user's groups; None: of no matter (root may use every partition).
        environ: options of sbatch that the environment gives where a request names none.
    """

    partitions: tuple[Partition, ...]
    nodes: tuple[NodeState, ...]
    kept: tuple[Reserved, ...] = ()
    groups: frozenset[str] | None = None
    environ: Mapping[str, str] = field(default_factory=dict)


def partitions_named(request: Request, seen: Seen) -> list[str]:
    """Names of the partitions that are asked for; none: the default one is meant."""
    named = request.partition or seen.environ.get("SBATCH_PARTITION", "")
    return [name for name in named.split(",") if name]


def reservations_named(request: Request, seen: Seen) -> list[str]:
    """Names of the reservations that are asked for."""
    named = request.slurm.get("reservation", "") or seen.environ.get("SBATCH_RESERVATION", "")
    return [name for name in named.split(",") if name]


def chosen(request: Request, seen: Seen) -> list[Partition]:
    """The partitions that the job would be submitted to: those named, else the default one."""
    named = partitions_named(request, seen)
    return [p for p in seen.partitions if (p.name in named if named else p.default)]


def expanded(folded: str) -> set[str]:
    """The names in a node list."""
    if not folded:
        return set()
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet

    return set(NodeSet(folded, resolver=RESOLVER_NOGROUP))


def candidates(request: Request, seen: Seen) -> list[NodeState]:
    """The nodes that could be meant, whatever their state."""
    names = {partition.name for partition in chosen(request, seen)}
    only, without = expanded(request.nodelist), expanded(request.exclude)
    mine = [node for node in seen.nodes if names & set(node.partitions) and node.name not in without]
    return [node for node in mine if node.name in only] if only else mine


def usable(request: Request, seen: Seen, node: NodeState) -> bool:
    """True for a node on which a job of this request can start as things stand.

    What a reservation keeps is for the run that names it, and for no other; that run has nothing else.
    """
    return not set(node.flags) & _UNUSABLE and not _is_kept(request, seen, node)


def _is_kept(request: Request, seen: Seen, node: NodeState) -> bool:
    named = reservations_named(request, seen)
    if named:
        return not any(r.name in named and node.name in r.nodes for r in seen.kept)
    return bool(set(node.flags) & KEPT_FLAGS)


def comes_back(request: Request, seen: Seen, node: NodeState) -> bool:
    """True for a node that is only kept for something else, which ends by itself."""
    kept = set(node.flags) & KEPT_FLAGS and not reservations_named(request, seen)
    return bool(kept) and not set(node.flags) & _UNUSABLE


def reasons(bad: Sequence[NodeState]) -> str:
    """Why these nodes cannot be used, alike ones together: ``node3 drain: bad DIMM (root, 2026-11-29 09:27 UTC)``."""
    alike: dict[str, list[str]] = {}
    for node in bad:
        alike.setdefault(f"{_flags(node)}{_told(node.out)}", []).append(node.name)
    told = [f"{fold(sorted(names))} {why}" for why, names in alike.items()]
    more = sum(len(names) for names in list(alike.values())[_MOST_REASONS:])
    return "; ".join([*told[:_MOST_REASONS], *([f"{counted(more, 'node')} more"] if more else [])])


def _flags(node: NodeState) -> str:
    shown = [flag for flag in node.flags if flag in _UNUSABLE | KEPT_FLAGS]
    return "+".join(sorted(flag.lower().replace("mark *", "not responding") for flag in shown)) or "elsewhere"


def _told(out: TakenOut | None) -> str:
    if out is None or not out.why:
        return ""
    known = not math.isnan(out.at_s)
    when = f"{datetime.fromtimestamp(out.at_s, timezone.utc):%Y-%m-%d %H:%M} UTC" if known else ""
    said = ", ".join(part for part in (out.by, when) if part)
    return f": {out.why}{f' ({said})' if said else ''}"
