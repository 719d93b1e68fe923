"""Enters an image on a single machine with Docker."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hpcaccept.container import _engine
from hpcaccept.container._engine import NEEDS, explain, name_of, run, takes_name, unfit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.container._login_probe import LoginProbe
    from hpcaccept.model.plan import Image

__all__ = [
    "NEEDS",
    "PROGRAMS",
    "USUAL",
    "after_step",
    "digest_command",
    "enter",
    "explain",
    "login_probe",
    "takes_name",
    "unfit",
]

PROGRAMS = ("docker",)
USUAL = 2


def enter(
    image: Image, command: Sequence[str], *, step: str, names: Sequence[str] = (), gpus: bool = False
) -> Sequence[str]:
    """``docker run``, as the user who submits, so that the records belong to that user; RDMA may lock memory."""
    engine = ("docker", "run", "--init", f"--user={os.getuid()}:{os.getgid()}")
    return run(engine, image, command, step, names, ["--ulimit=memlock=-1", *(["--gpus=all"] if gpus else [])])


def after_step(image: Image, step: str) -> Sequence[str]:
    """A client that was killed leaves its container running."""
    return ("docker", "rm", "--force", name_of(image, step))


def digest_command(reference: str) -> Sequence[str]:
    """The engine here is the one that starts the image."""
    return _engine.digest_command("docker", reference)


def login_probe() -> LoginProbe:
    """The machine that submits is the one that runs."""
    return _engine.login_probe("docker")
