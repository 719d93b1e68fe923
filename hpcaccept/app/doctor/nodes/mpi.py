"""Whether the ranks find each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.app.doctor.grouping import grouped
from hpcaccept.errors import install_hint
from hpcaccept.model.doctor.finding import Finding

if TYPE_CHECKING:
    from hpcaccept.app.doctor.case import Case
    from hpcaccept.model.doctor.probe import NodeFacts, ProbeResult

PLACE = 20
_LIST = "Compare 'srun --mpi=list' with the image's MPI (ompi_info | grep -i pmix), or name another: --mpi TYPE"
_MPIEXEC = "Use the mpiexec of the MPI that mpi4py loads: python -c 'from mpi4py import MPI; print(MPI.get_vendor())'"


def judge(case: Case, heard: ProbeResult) -> list[Finding]:
    """A rank that finds itself alone would measure nothing between nodes, and call it well."""
    remedy = _LIST if "srun" in case.traits.provides else _MPIEXEC

    def library(node: NodeFacts) -> Finding:
        if not node.mpi4py:
            return Finding("MPI", "wrong", "mpi4py is not installed", "mpi4py", install_hint("rank"))
        if node.no_mpi:
            return Finding("MPI", "wrong", node.no_mpi, "MPI starts", node.pmix_misfit or remedy)
        if not node.world and heard.silent:
            return Finding("MPI", "unknown", "could not look: it waits for the nodes that are silent")
        if not node.world:
            return Finding("MPI", "wrong", "it ended the process when it started", "MPI starts", remedy)
        return Finding("MPI", "ok", f"{node.mpi}, mpi4py {node.mpi4py}")

    def world(node: NodeFacts) -> Finding:
        expected = heard.asked if case.launcher else node.world_asked or 1
        if node.world != expected:
            found = "alone: a world of 1" if node.world == 1 else f"a world of {node.world}"
            return Finding("MPI world", "wrong", found, f"{expected}", remedy)
        if not case.traits.virtual and node.met != heard.asked:
            found = f"words of {node.met} nodes came through"
            return Finding("MPI world", "wrong", found, f"{heard.asked}", "Ranks must be placed one to a node.")
        return Finding("MPI world", "ok", f"{node.world}", f"{expected}")

    spoken = [node for node in heard.nodes if node.python and (node.mpi_begun or node.done)]
    return grouped(spoken, library, alike=True) + grouped([node for node in spoken if node.world], world)
