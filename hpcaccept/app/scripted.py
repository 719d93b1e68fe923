"""How does an sbatch script run a plan, without submitit and without Python on the host?

Inside its job one task in the image writes the plan and says which step to launch; the script launches it with
``srun``, tells how it ended, and is told the next one. What follows from a crash is decided here as in the driver.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept import __version__
from hpcaccept.app.submitting import commit_of
from hpcaccept.config.settings import Settings, load_settings
from hpcaccept.config.suites import read_suite
from hpcaccept.errors import UsageError
from hpcaccept.launch.course import Course, take
from hpcaccept.launch.driver import reckon
from hpcaccept.launch.events import Events
from hpcaccept.model.plan import Image
from hpcaccept.plan.make import make_plan, request_of
from hpcaccept.plan.resolve import resolve_suite
from hpcaccept.serial import dumps, from_plain
from hpcaccept.store.folder import RunFolder, write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping


def begin(
    path: str, suite: str, gpus_per_node: int, ranks_per_node: int, environ: Mapping[str, str] = os.environ
) -> str:
    """Write the plan of a run into a new folder; gives the line of its first step (see ``_line``).

    Raises:
        UsageError: not inside a Slurm job, or the suite is wrong.
        RunError: the folder cannot be written.
    """
    nodes = nodes_of_job(environ)
    folder = RunFolder(Path(path).absolute())
    settings = Settings(nodes=len(nodes), ranks_per_node=ranks_per_node, suite=suite)
    name = suite if suite != "auto" else ("quick" if gpus_per_node else "cpu")
    plan = make_plan(
        settings,
        resolve_suite(read_suite(name), load_settings({}, environ).overrides),
        request_of(settings, gpus_per_node),
        Image(
            "pyxis" if environ.get("HPCACCEPT_IMAGE") else "none",
            environ.get("HPCACCEPT_IMAGE", ""),
            (),
            sys.executable,
        ),
        launcher="slurm",
        run_id=folder.run_id,
        now=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        version=__version__,
        commit=commit_of(Path(__file__).parents[2]),
    )
    folder.create()
    folder.write_plan(plan)
    Events(folder).say("started", nodes=nodes)
    return _launch_next(folder, Events(folder), Course((plan.first_step(nodes),)))


def proceed(path: str, step_id: str, code: int) -> str:
    """Say how a step ended; gives the line of the next one, or an empty text when the run is over.

    Args:
        path: of the run folder.
        step_id: the step that has ended.
        code: exit status of its srun.
    """
    folder = RunFolder(Path(path).absolute())
    events = Events(folder)
    course = from_plain(json.loads((folder.path / "course.json").read_text("utf-8")), Course)
    step = folder.read_step(step_id)
    events.say("step_ended", step=step_id, returncode=code)
    runtime = folder.read_plan().image.runtime
    course, why = reckon(folder, events, course, step, code=code, late=False, runtime=runtime)
    if why:
        events.say("ended", detail=why[0], remedy=why[1])
        return ""
    return _launch_next(folder, events, course)


def _launch_next(folder: RunFolder, events: Events, course: Course) -> str:
    step, course = take(course)
    write_whole(folder.path / "course.json", dumps(course) + "\n")
    if step is None:
        events.say("ended")
        return ""
    folder.write_step(step)
    events.say("step_started", step=step.id, nodes=step.nodes)
    return f"{step.id} {len(step.nodes)} {step.ranks_per_node} {','.join(step.nodes)}"


def nodes_of_job(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The node names of the job this process runs in, in Slurm's order."""
    compressed = environ.get("SLURM_JOB_NODELIST", "")
    if not compressed:
        raise UsageError(
            "SLURM_JOB_NODELIST is not set: 'hpcaccept plan' belongs inside a Slurm job.", "Use 'hpcaccept submit'."
        )
    from ClusterShell.NodeSet import NodeSet

    return tuple(NodeSet(compressed))
