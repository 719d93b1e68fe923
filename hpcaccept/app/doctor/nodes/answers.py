"""Whether every node answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.model.doctor.finding import Finding
from hpcaccept.report.phrases import counted
from hpcaccept.units import show_duration

if TYPE_CHECKING:
    from hpcaccept.app.doctor.case import Case
    from hpcaccept.model.doctor.probe import ProbeResult

PLACE = 0


def judge(case: Case, heard: ProbeResult) -> list[Finding]:
    """Of a job that never began nothing is known of any node: that is nobody's fault, and no acquittal."""
    asked = 1 if case.traits.virtual else case.request.nodes
    expected = counted(asked, "node")
    silent = [
        Finding(
            "job",
            "wrong" if heard.begun else "unknown",
            item.cause,
            "" if item.nodes else expected,
            item.remedy,
            item.nodes,
        )
        for item in heard.silent
    ]
    cut = tuple(node.node for node in heard.nodes if not (node.done or node.mpi_begun))
    if cut and not silent:  # else they were ended, with the job
        remedy = "There: dmesg, journalctl -u slurmd (out of memory? killed?)"
        silent.append(Finding("job", "wrong", "the process ended before it had said all", remedy=remedy, nodes=cut))
    if silent and not heard.nodes:
        return silent
    answered = f"{len(heard.nodes)} of {expected} answered" if asked > 1 else "answered"
    took = f" in {show_duration(heard.waited_s)}" if heard.waited_s else ""
    return [Finding("job", "warning" if silent else "ok", f"{answered}{took}"), *silent]
