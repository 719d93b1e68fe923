"""Enters an image on a single machine with Podman."""

from __future__ import annotations

import os
import resource
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

PROGRAMS = ("podman",)
USUAL = 3


def enter(
    image: Image, command: Sequence[str], *, step: str, names: Sequence[str] = (), gpus: bool = False
) -> Sequence[str]:
    """``podman run``, as the user who asks; GPUs by NVIDIA's CDI description."""
    # Without root the user keeps the number that owns the records, and gets no limit raised; root is root inside already.
    by_user = (f"--ulimit=memlock={_locked_memory()}", "--userns=keep-id") if os.getuid() else ("--ulimit=memlock=-1",)
    gpu = ["--device=nvidia.com/gpu=all"] if gpus else []
    return run(("podman", "run"), image, command, step, names, [*by_user, *gpu])


def _locked_memory() -> str:
    """All that this user may lock, in the words of ``--ulimit``: bytes, or -1 where nothing limits it."""
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    return "-1" if limit == resource.RLIM_INFINITY else f"{limit}:{limit}"


def after_step(image: Image, step: str) -> Sequence[str]:
    """A client that was killed leaves its container running. By itself podman would wait 10 s for what does not end."""
    return ("podman", "rm", "--force", "--time=0", "--ignore", name_of(image, step))


def digest_command(reference: str) -> Sequence[str]:
    """The engine here is the one that starts the image."""
    return _engine.digest_command("podman", reference, prefix="sha256:")


def login_probe() -> LoginProbe:
    """The machine that submits is the one that runs."""
    return _engine.login_probe("podman")
