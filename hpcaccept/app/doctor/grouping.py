"""Folds many nodes into few lines: those that agree together, those that differ by name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hpcaccept.model.doctor.finding import Finding
    from hpcaccept.model.doctor.probe import NodeFacts


def grouped(nodes: Sequence[NodeFacts], judge: Callable[[NodeFacts], Finding], *, alike: bool = False) -> list[Finding]:
    """One finding for each thing that is found, with the names of its nodes; the most frequent first.

    Args:
        nodes: that have spoken.
        judge: what is found on one of them.
        alike: True for what should be the same everywhere: whatever fewer nodes have is a warning then.
    """
    groups: dict[Finding, list[str]] = {}
    for node in nodes:
        groups.setdefault(judge(node), []).append(node.node)
    found = [replace(finding, nodes=tuple(names)) for finding, names in groups.items()]
    found.sort(key=lambda finding: -len(finding.nodes))
    if not alike or len(found) < 2:
        return found
    usual = next((finding for finding in found if finding.mark == "ok"), found[0])
    return [
        replace(finding, mark="warning", expected=f"as elsewhere: {usual.found}", remedy=_ALIKE)
        if finding.mark == "ok" and finding is not usual
        else finding
        for finding in found
    ]


_ALIKE = "Give all nodes the same image or environment: unlike software makes unlike numbers."
