"""Whether ranks can be started here at all. One task per node looks, before anything is measured, and speaks of its own node only.

Containers fail on a few nodes more often than nodes do: found here, such a node takes nobody with it and is blamed for nothing.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import TYPE_CHECKING

from hpcaccept import __version__
from hpcaccept.measure.host import host
from hpcaccept.measure.ranks import mpi, pmix
from hpcaccept.model.record import RankFinished, RankStarted, RankStopped
from hpcaccept.rank import EXIT_CANNOT_START

if TYPE_CHECKING:
    from hpcaccept.model.plan import Plan
    from hpcaccept.store.journal import Journal


def enter(plan: Plan, journal: Journal, node: str, task: int) -> int:
    """Say what this node is inside the image, or why no rank could work here; gives the exit code."""
    journal.write(
        RankStarted(
            rank=task,
            size=1,
            node=node,
            pid=os.getpid(),
            python=".".join(map(str, sys.version_info[:3])),
            version=__version__,
            mpi="",
            boot_id=host.boot_id(),
            cores=host.usable_cores(),
            ranks_on_host=1,
            in_turn=False,
            threads=1,
        )
    )
    why = obstacle(plan)
    if why:
        journal.write(RankStopped(why, by_peer=False))
        print(f"hpcaccept: {why}", file=sys.stderr)  # noqa: T201
        return EXIT_CANNOT_START
    journal.write(RankFinished())
    return 0


def obstacle(plan: Plan) -> str:
    """Why ranks of this plan cannot work where this process runs, in the words that hpcaccept.container._inside knows."""
    if __version__ != plan.version:
        return f"another version: {__version__} is installed where the ranks start, {plan.version} made the plan"
    if importlib.util.find_spec("mpi4py") is None:
        return "missing: mpi4py is not installed where the ranks start"
    if not plan.request.mpi.startswith("pmix"):
        return ""
    why = pmix.unjoinable(os.environ) or pmix.misfit(pmix.host_version(os.environ), _image_version())
    return f"MPI cannot join: {why}" if why else ""


def _image_version() -> str:
    import mpi4py

    # Loads the MPI library without starting it: it brings its PMIx along.
    mpi4py.rc.initialize = False
    mpi.choose_library(os.environ)
    try:
        from mpi4py import MPI  # noqa: F401
    except (ImportError, RuntimeError):
        return ""  # the first step tells why MPI cannot start
    return pmix.image_version()
