"""How is an image entered on a single machine with Podman?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hpcaccept.container._engine import NEEDS, after_job, explain, name_of, run, srun_flags, unfit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.plan import Image

__all__ = ["NEEDS", "after_job", "after_step", "enter", "explain", "srun_flags", "unfit"]


def enter(
    image: Image, command: Sequence[str], *, step: str, names: Sequence[str] = (), gpus: bool = False
) -> Sequence[str]:
    """``podman run``, as the user who asks; GPUs by NVIDIA's CDI description."""
    # Without root the user keeps the number that owns the records; root is root inside already.
    engine = ("podman", "run", *(["--userns=keep-id"] if os.getuid() else []))
    return run(engine, image, command, step, names, ["--device=nvidia.com/gpu=all"] if gpus else [])


def after_step(image: Image, step: str) -> Sequence[str]:
    """A client that was killed leaves its container running."""
    return ("podman", "rm", "--force", "--ignore", name_of(image, step))
