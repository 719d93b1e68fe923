"""Where is a job on its way through its steps? Immutable, so that a driver holds it and an sbatch script can keep it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hpcaccept.launch.job.failure import Loss, next_steps
from hpcaccept.model.plan import Step

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True)
class Course:
    """What is still to be launched.

    Attributes:
        queue: steps, the next one first.
        struck: node → how many steps it has cost.
        launched: how many steps have been launched: the number of the next one.
        retests: how often suspects were measured again.
    """

    queue: tuple[Step, ...]
    struck: dict[str, int] = field(default_factory=dict)
    launched: int = 0
    retests: int = 0


def take(course: Course) -> tuple[Step | None, Course]:
    """The next step under its number, and the course without it; None at the end."""
    if not course.queue:
        return None, course
    step = replace(course.queue[0], id=f"{course.launched:02d}")
    return step, replace(course, queue=course.queue[1:], launched=course.launched + 1)


def after(course: Course, step: Step, loss: Loss) -> tuple[Course, tuple[str, ...]]:
    """The course after a loss, and the nodes that are left out from now on."""
    struck = dict(course.struck)
    for node in loss.nodes:
        struck[node] = struck.get(node, 0) + 1
    following = next_steps(step, loss, struck)
    remaining = {node for later in following for node in later.nodes}
    left_out = tuple(node for node in step.nodes if node in loss.nodes and following and node not in remaining)
    return replace(course, queue=(*following, *course.queue), struck=struck), left_out


def without(course: Course, gone: Collection[str]) -> Course:
    """The course without nodes: they are in no step that is still to be launched."""
    rest = (replace(step, nodes=tuple(node for node in step.nodes if node not in gone)) for step in course.queue)
    return replace(course, queue=tuple(step for step in rest if step.nodes))
