"""How long the steps of an earlier run took, and each check in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class CheckTime:
    """What one check cost one step.

    Attributes:
        check: its name, with a label where it has one.
        params: it was measured with.
        seconds: from its start to that of the next one, for all ranks together; imports are not in it.
        cause: why it was not measured there; empty where it was.
    """

    check: str
    params: dict[str, Any]
    seconds: float
    cause: str = ""


@dataclass(frozen=True)
class StepTime:
    """What one step cost.

    Attributes:
        nodes: how many there were.
        ranks_per_node: MPI ranks on each.
        gpus: that each had, as ``--gpus-per-node`` takes it; empty: none were asked for.
        virtual: True where they were groups of ranks on one machine.
        image: that its ranks entered; empty without a container.
        first: True for the first step of the job with checks: it pays for the image.
        start_s: until its first check began, imports of the whole step included; for the first one from the start of the job.
        checks: in the order of measuring.
    """

    nodes: int
    ranks_per_node: int
    gpus: str
    virtual: bool
    image: str
    first: bool
    start_s: float
    checks: tuple[CheckTime, ...] = field(default=())
