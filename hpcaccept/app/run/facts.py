"""What the nodes of a run say of themselves: hardware, firmware, software, and how each check measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.errors import UsageError, nearest
from hpcaccept.model.record import OF_THE_HOUR

if TYPE_CHECKING:
    from hpcaccept.model.evidence import Evidence

#: (check, fact) → text → the places that say so.
Facts = dict[tuple[str, str], dict[str, list[str]]]


def facts_of(evidence: Evidence, node: str = "") -> Facts:
    """Every fact in the order in which it was stated first, with its texts and the places (``node1 cuda:0``) of each.

    What only describes the hour (load, pressure) is left out of a fleet's facts, where no two places agree on it.

    Args:
        evidence: of the run.
        node: whose facts are wanted; empty: those of all.

    Raises:
        UsageError: no record of the run is of such a node.
    """
    known = {record.node for record in evidence.records}
    if node and node not in known:
        raise UsageError(f"{evidence.plan.run_id} has no record of {node!r}.", nearest(node, known) if known else "")
    found: Facts = {}
    for record in evidence.records:
        if node and record.node != node:
            continue
        for name, text in record.facts.items():
            if node or name not in OF_THE_HOUR:
                found.setdefault((record.check, name), {}).setdefault(text, []).append(f"{record.node} {record.device}")
    return found
