"""How is an image entered on a single machine with Docker?"""

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
    """``docker run``, as the user who asks: the records belong to him."""
    engine = ("docker", "run", "--init", f"--user={os.getuid()}:{os.getgid()}")
    return run(engine, image, command, step, names, ["--gpus=all"] if gpus else [])


def after_step(image: Image, step: str) -> Sequence[str]:
    """A client that was killed leaves its container running."""
    return ("docker", "rm", "--force", name_of(image, step))
