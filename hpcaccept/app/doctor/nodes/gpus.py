"""Whether as many GPUs as requested can be started on each node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.app.doctor.grouping import grouped
from hpcaccept.model.doctor.finding import Finding
from hpcaccept.report.phrases import counted

if TYPE_CHECKING:
    from hpcaccept.app.doctor.case import Case
    from hpcaccept.model.doctor.probe import NodeFacts, ProbeResult

PLACE = 50


def judge(case: Case, heard: ProbeResult) -> list[Finding]:
    """Whether they compute rightly is for the checks."""
    wanted = case.request.gpus_per_node

    def examine(node: NodeFacts) -> Finding:
        count = node.gpus or 0
        if count < wanted:
            remedy = node.gpus_remedy or "There: dmesg, for the errors of the GPU driver"
            return Finding("GPUs", "wrong", f"{counted(count, 'GPU')} ({node.no_gpus})", f"{wanted}", remedy)
        return Finding("GPUs", "ok", counted(count, "GPU"), f"{wanted}")

    return grouped([node for node in heard.nodes if node.gpus is not None], examine)
