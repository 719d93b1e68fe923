"""Whether the PMIx of the host and that of the image work together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.app.doctor.grouping import grouped
from hpcaccept.model.doctor.finding import Finding

if TYPE_CHECKING:
    from hpcaccept.app.doctor.case import Case
    from hpcaccept.model.doctor.probe import NodeFacts, ProbeResult

PLACE = 30


def judge(case: Case, heard: ProbeResult) -> list[Finding]:
    """Only where PMIx started the ranks."""

    def fit(node: NodeFacts) -> Finding:
        versions = f"host {node.pmix_host or 'says none'}, image {node.pmix_image or 'says none'}"
        if node.pmix_misfit:
            remedy = (
                "Build the image's MPI against a PMIx that fits (openpmix.github.io/support/faq), or update Slurm's."
            )
            return Finding("PMIx", "wrong", f"{versions}: {node.pmix_misfit}", "two that fit", remedy)
        return Finding("PMIx", "ok", versions)

    return grouped([node for node in heard.nodes if node.pmix_host or node.pmix_misfit], fit, alike=True)
