"""Where a job is on its way through its steps. Immutable, so that a driver holds it and an sbatch script can keep it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hpcaccept import checks
from hpcaccept.launch.job.failure import Loss, next_steps
from hpcaccept.model.plan import Step

if TYPE_CHECKING:
    from collections.abc import Collection

    from hpcaccept.model.suite import CheckSpec


@dataclass(frozen=True)
class StepQueue:
    """What is still to be launched.

    Attributes:
        steps: steps, the next one first.
        struck: node → how many steps it has cost.
        launched: how many steps have been launched: the number of the next one.
        retests: how often suspects were measured again.
    """

    steps: tuple[Step, ...]
    struck: dict[str, int] = field(default_factory=dict)
    launched: int = 0
    retests: int = 0


def apart(step: Step) -> tuple[Step, ...]:
    """A step as the steps that it takes: checks whose programs are the ranks' processes in MPI have one each, after all others."""

    def alone(spec: CheckSpec) -> bool:
        kind = checks.find(spec.name)
        return bool(step.gpus_per_node and kind and kind.brings_mpi)

    together = tuple(spec for spec in step.checks if not alone(spec))
    groups = [*([together] if together else []), *((spec,) for spec in step.checks if alone(spec))]
    return tuple(replace(step, checks=group) for group in groups)


def next_step(queue: StepQueue) -> tuple[Step | None, StepQueue]:
    """The next step under its number, and the queue without it; None at the end."""
    if not queue.steps:
        return None, queue
    step = replace(queue.steps[0], id=f"{queue.launched:02d}")
    return step, replace(queue, steps=queue.steps[1:], launched=queue.launched + 1)


def after(queue: StepQueue, step: Step, loss: Loss) -> tuple[StepQueue, tuple[str, ...]]:
    """The queue after a loss, and the nodes that are left out from now on."""
    struck = dict(queue.struck)
    for node in loss.nodes:
        struck[node] = struck.get(node, 0) + 1
    following = next_steps(step, loss, struck)
    remaining = {node for later in following for node in later.nodes}
    left_out = tuple(node for node in step.nodes if node in loss.nodes and following and node not in remaining)
    return replace(queue, steps=(*following, *queue.steps), struck=struck), left_out


def without(queue: StepQueue, gone: Collection[str]) -> StepQueue:
    """The queue without nodes: they are in no step that is still to be launched."""
    rest = (replace(step, nodes=tuple(node for node in step.nodes if node not in gone)) for step in queue.steps)
    return replace(queue, steps=tuple(step for step in rest if step.nodes))
