"""Whether the nodes see the runs folder, and this machine sees what they write there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.app.doctor.grouping import grouped
from hpcaccept.model.doctor.finding import Finding

if TYPE_CHECKING:
    from hpcaccept.app.doctor.case import Case
    from hpcaccept.model.doctor.probe import NodeFacts, ProbeResult

PLACE = 60


def judge(case: Case, heard: ProbeResult) -> list[Finding]:
    """Files are all that the ranks leave behind."""
    shared = "--runs-dir DIR, a folder of a file system that all nodes and this machine mount"
    name = str(case.runs_dir)

    def examine(node: NodeFacts) -> Finding:
        if node.no_read:
            return Finding(
                "runs seen", "wrong", f"{name}: what is written here is not read there ({node.no_read})", remedy=shared
            )
        if node.no_write:
            remedy = "Permissions for this user on the nodes (root_squash?), a mount that is read-only, a full disk"
            return Finding(
                "runs seen", "wrong", f"{name}: nothing of theirs is read here ({node.no_write})", remedy=remedy
            )
        return Finding("runs seen", "ok", "what is written here is read there, and back")

    return grouped([node for node in heard.nodes if node.python and case.launcher], examine)
