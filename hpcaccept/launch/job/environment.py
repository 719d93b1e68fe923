"""What the processes of a job see of the shell in which it was submitted: everything but secrets, and what the launcher changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept import container, launch
from hpcaccept.config.private_variables import without_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcaccept.model.plan import Plan


#: No MPI pins ranks: a check measures with all the cores that its node has, and says how many those are. Open MPI does what the other
#: variables say. https://www.intel.com/content/www/us/en/docs/mpi-library/developer-reference-linux/2021-18/process-pinning.html,
#: https://mvapich.cse.ohio-state.edu/userguide/ (on by default in both)
UNPINNED = {"I_MPI_PIN": "0", "MV2_ENABLE_AFFINITY": "0", "MVP_ENABLE_AFFINITY": "0"}


def on_nodes(plan: Plan, environ: Mapping[str, str]) -> dict[str, str]:
    """With what a command is started on the nodes, outside of containers."""
    return launch.load(plan.launcher).step_environment(without_secrets(environ, plan.request.keep_variables))


def of_ranks(plan: Plan, environ: Mapping[str, str]) -> dict[str, str]:
    """With what a step is started: what was asked for the container by name is there, whatever it is called."""
    return {**on_nodes(plan, environ), **container.load(plan.image.runtime).environment(plan.image)}
