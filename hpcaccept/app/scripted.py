"""How does an sbatch script get a run folder, without submitit and without Python on the host?

Inside its job, one task in the image writes plan and steps; the script then starts ``srun`` steps of
``hpcaccept.rank`` that read them, and ``collect`` on any machine judges what they left.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from hpcaccept import __version__
from hpcaccept.app.submitting import commit_of
from hpcaccept.config.settings import Settings
from hpcaccept.config.suites import read_suite
from hpcaccept.errors import UsageError
from hpcaccept.launch.events import Events
from hpcaccept.model.plan import Image
from hpcaccept.plan.make import make_plan, request_of
from hpcaccept.plan.resolve import resolve_suite
from hpcaccept.store.folder import RunFolder


def plan_inside_job(
    path: str, suite: str, gpus_per_node: int, ranks_per_node: int, environ: Mapping[str, str] = os.environ
) -> str:
    """Write ``plan.json``, ``steps/00.json`` and the driver's first event; gives a line about them.

    Raises:
        UsageError: not inside a Slurm job, or the suite is wrong.
        RunError: the folder cannot be written.
    """
    nodes = nodes_of_job(environ)
    folder = RunFolder(Path(path).absolute())
    settings = Settings(nodes=len(nodes), ranks_per_node=ranks_per_node, suite=suite)
    resolved = resolve_suite(read_suite(suite if suite != "auto" else ("quick" if gpus_per_node else "cpu")))
    plan = make_plan(
        settings,
        resolved,
        request_of(settings, gpus_per_node),
        Image(python=sys.executable),
        launcher="slurm",
        run_id=folder.run_id,
        now=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        version=__version__,
        commit=commit_of(Path(__file__).parents[2]),
    )
    folder.create()
    folder.write_plan(plan)
    folder.write_step(plan.first_step(nodes))
    Events(folder).say("started", nodes=nodes)
    return f"{folder.path}: suite {resolved.name} on {', '.join(nodes)}"


def nodes_of_job(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The node names of the job this process runs in."""
    compressed = environ.get("SLURM_JOB_NODELIST", "")
    if not compressed:
        raise UsageError("SLURM_JOB_NODELIST is not set: 'hpcaccept plan' belongs inside a Slurm job.", "Use 'hpcaccept submit'.")
    from ClusterShell.NodeSet import NodeSet

    return tuple(NodeSet(compressed))
