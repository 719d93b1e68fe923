"""Finds the nodes that can be entered at all. The first step of a job in containers has no checks: it only asks that.

A container that fails on a few nodes is most often the trouble of a first night, and looks like bad nodes. In a step of its own, in
which no task's failure ends another, every node answers for itself: those that fail are told with their cause and left out, and
the rest is measured. When no node can be entered, it is the image or the site.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from hpcaccept import container, launch
from hpcaccept.launch.job.queue import StepQueue, apart, without
from hpcaccept.parse.slurm.refusals import explain_srun

if TYPE_CHECKING:
    from hpcaccept.container import Fault
    from hpcaccept.launch.job.events import Events
    from hpcaccept.launch.job.failure import RankLogs
    from hpcaccept.model.plan import Plan, Step

#: ``srun --label`` puts the number of its task before each line.
_LABEL = re.compile(r"^ *(\d+): ?(.*)$")


def opening(plan: Plan, nodes: tuple[str, ...]) -> StepQueue:
    """The queue of a job before its first step: into the image on every node, then all checks, those with an MPI of their own last."""
    traits = launch.load(plan.launcher).TRAITS
    first = plan.first_step(nodes, virtual=traits.virtual)
    look = replace(first, id="", ranks_per_node=1, checks=())
    steps = apart(first)
    return StepQueue((look, *steps) if plan.image.reference and traits.enters_first else steps)


def entry_of(plan: Plan, nodes: tuple[str, ...]) -> StepQueue:
    """The same without the checks: empty where nothing has to be entered."""
    return StepQueue(opening(plan, nodes).steps[:-1])


def reckon_entry(
    events: Events, queue: StepQueue, step: Step, words: RankLogs, stderr: str, *, late: bool, runtime: str
) -> tuple[StepQueue, tuple[str, str] | None]:
    """The queue without the nodes that could not be entered, or cause and remedy when none could.

    Args:
        events: where such nodes are told.
        queue: from which the step was taken.
        step: without checks, that has ended.
        words: of its tasks.
        stderr: of its srun, labelled.
        late: True when the driver's own deadline ended it.
        runtime: of the container.
    """
    inside = tuple(node for task, node in enumerate(step.nodes) if task in words.finished)
    if len(inside) == len(step.nodes):
        return queue, None
    refused = None if inside or container.load(runtime).explain(stderr) else explain_srun(stderr)
    if refused:
        return queue, refused
    of_task = by_task(stderr)
    alike: dict[tuple[str, str], tuple[Fault, list[str]]] = {}
    for task, node in enumerate(step.nodes):
        if node not in inside:
            said = words.stopped.get(task, ("", False))[0]
            fault = _fault(step, runtime, f"hpcaccept: {said}" if said else of_task.get(task, ""), stderr, late=late)
            alike.setdefault((fault.kind, fault.remedy), (fault, []))[1].append(node)
    many = len(step.nodes)
    if not inside:
        worst = max(alike.values(), key=lambda found: len(found[1]))
        where = (
            f"on all {many} nodes" if len(alike) == 1 else f"on {len(worst[1])} of {many} nodes, on none is it entered"
        )
        return queue, (f"{worst[0].cause}, {where}", worst[0].remedy)
    for fault, nodes in alike.values():
        detail = (
            f"{fault.cause}; so on {len(nodes)} of {many} nodes, {len(inside)} could be entered: look at "
            f"{'this node' if len(nodes) == 1 else 'these nodes'} rather than at the image"
        )
        events.say("not_entered", step=step.id, nodes=tuple(nodes), detail=detail, remedy=fault.remedy)
    return without(queue, set(step.nodes) - set(inside)), None


def by_task(stderr: str) -> dict[int, str]:
    """Task → what it, or its node's daemon for it, has written, of the output of ``srun --label``."""
    found: dict[int, list[str]] = {}
    for line in stderr.splitlines():
        match = _LABEL.match(line)
        if match:
            found.setdefault(int(match[1]), []).append(match[2])
    return {task: "\n".join(lines) for task, lines in found.items()}


def _fault(step: Step, runtime: str, said: str, stderr: str, *, late: bool) -> Fault:
    """What kept a node outside: its own words, else those of the launcher, else the clock."""
    explain = container.load(runtime).explain
    found = explain(said) or (None if said.strip() else explain(_unlabelled(stderr)))
    # What is said by a container that was ended for being late tells of the end, not of the delay.
    if found and not (late and found.kind == "does not start"):
        return found
    if late:
        return container.Fault(
            "does not start",
            f"container: it did not start within {step.start_deadline_s:g} s",
            "Is pulling or unpacking slow? Import the image once (enroot/import), or raise --start-timeout. Does 'srun "
            "--container-image=IMAGE true' end on this node? An entry point that ignores /etc/rc.local keeps Pyxis waiting.",
        )
    last = [line for line in (said or _unlabelled(stderr)).splitlines() if line.strip()][-1:]
    return container.Fault(
        "does not start",
        f"container: it did not start ({last[0].strip()[:200] if last else 'it printed nothing'})",
        f"The whole output is logs/step-{step.id}.err.",
    )


def _unlabelled(stderr: str) -> str:
    return "\n".join(line for line in stderr.splitlines() if not _LABEL.match(line))
