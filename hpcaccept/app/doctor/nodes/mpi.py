"""Do the ranks find each other?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.app.doctor.telling import told
from hpcaccept.model.finding import Finding

if TYPE_CHECKING:
    from hpcaccept.app.doctor.case import Case
    from hpcaccept.model.probe import Heard, NodeFacts

PLACE = 20
_LIST = "Compare 'srun --mpi=list' with the image's MPI (ompi_info | grep -i pmix), or name another: HPCACCEPT_MPI"
_MPIEXEC = "Use the mpiexec of the MPI that mpi4py loads: python -c 'from mpi4py import MPI; print(MPI.get_vendor())'"


def judge(case: Case, heard: Heard) -> list[Finding]:
    """A rank that finds itself alone would measure nothing between nodes, and call it well."""
    remedy = _LIST if case.launcher == "slurm" else _MPIEXEC

    def library(node: NodeFacts) -> Finding:
        if not node.mpi4py:
            return Finding("MPI", "wrong", "mpi4py is not installed", "mpi4py", "pip install 'hpcaccept[rank]'")
        if node.no_mpi:
            return Finding("MPI", "wrong", node.no_mpi, "MPI starts", node.pmix_misfit or remedy)
        if not node.world:
            return Finding("MPI", "wrong", "it ended the process when it started", "MPI starts", remedy)
        return Finding("MPI", "ok", f"{node.mpi}, mpi4py {node.mpi4py}")

    def world(node: NodeFacts) -> Finding:
        expected = _expected(case, node)
        if node.world != expected:
            found = "alone: a world of 1" if node.world == 1 else f"a world of {node.world}"
            return Finding("MPI world", "wrong", found, f"{expected}", remedy)
        if case.launcher == "slurm" and node.met != case.request.nodes:
            found = f"words of {node.met} nodes came through"
            return Finding("MPI world", "wrong", found, f"{case.request.nodes}", "Ranks must be placed one to a node.")
        return Finding("MPI world", "ok", f"{node.world}", f"{expected}")

    spoken = [node for node in heard.nodes if node.mpi_begun or node.done]
    return told(spoken, library, alike=True) + told([node for node in spoken if node.world], world)


def _expected(case: Case, node: NodeFacts) -> int:
    """What was asked for; of one node by itself, what its launcher says."""
    return case.ranks if case.launcher else node.world_asked or 1
