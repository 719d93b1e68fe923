"""Finds out, with all ranks of a step, which checks of installed packages can be measured here.

The package was there when the plan was made; the image, or one node, may lack it or have another version. A rank without
the check cannot know which collectives belong to it, so that nobody measures a check that one rank lacks.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpcaccept import checks
from hpcaccept.errors import PluginError, ToolError, UsageError
from hpcaccept.measure.ranks import mpi
from hpcaccept.model.check import Check, CheckContext, Unavailable

if TYPE_CHECKING:
    from mpi4py import MPI

    from hpcaccept.model.suite import CheckSpec
    from hpcaccept.rank.rank import Rank


@dataclass(frozen=True)
class Missing(Check):
    """Stands in for a check that cannot be loaded: the record says why, and the other checks go on."""

    name: ClassVar = "missing"
    revision: ClassVar = 0
    about: ClassVar = "Stands in for a check that cannot be loaded."
    metrics: ClassVar = ()
    on_device: ClassVar = False

    def measure(self, ctx: CheckContext) -> None:
        """Never called: its task has a fault from the beginning."""


def missing_plugins(rank: Rank, comm: MPI.Intracomm) -> dict[str, Exception]:
    """Check of a package → why it cannot be measured. All ranks together, where a step has such checks."""
    added = [spec for spec in rank.step.checks if spec.origin]
    if not added:
        return {}
    mine = {spec.name: fault for spec in added if (fault := _fault(spec))}
    told = mpi.allgather(comm, (rank.node, {name: str(fault) for name, fault in mine.items()}))
    elsewhere: dict[str, Exception] = {
        name: Unavailable(f"rank {number} on {node} cannot take part: {why}", "Install the same package on every node.")
        for number, (node, faults) in reversed(list(enumerate(told)))
        for name, why in faults.items()
    }
    return {**elsewhere, **mine}


def _fault(spec: CheckSpec) -> Unavailable | ToolError | None:
    """Not installed is NOT_RUN; installed and not usable, or without a parameter of the plan, is an ERROR."""
    try:
        checks.build(spec.name, spec.params)
    except PluginError as fault:
        return ToolError(fault.message, fault.remedy)
    except UsageError as fault:
        package = spec.origin.rpartition(" ")[0]
        if checks.exists(spec.name):
            found = checks.origin(spec.name)
            return ToolError(f"{fault.message} The plan was made with {spec.origin}, found {found}.", fault.remedy)
        return Unavailable(
            f"the check {spec.name!r} comes from {spec.origin}, which is not installed in {sys.executable} of this rank",
            f"Add it to the image, or to the Python of the nodes: pip install {package}",
        )
    return None
