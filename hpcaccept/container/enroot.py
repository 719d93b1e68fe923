"""Enters an image with Enroot alone, where Slurm has no Pyxis, or on a single machine (https://github.com/NVIDIA/enroot).

Each rank starts the ``.sqsh`` by itself, read-only, without unpacking it (squashfuse and fuse-overlayfs). For PMIx the site must have
Enroot's hook ``50-slurm-pmi.sh``, or that of ``enroot/hooks.d``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.container import _enroot_errors, _inside
from hpcaccept.container._fault import Fault, first_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.plan import Image

NEEDS = ("container",)
IMAGE_ENDINGS = (".sqsh", ".squashfs")
PROGRAMS = ("enroot",)
USUAL = 1
#: Ranks in user namespaces of their own may not read each other's memory, and Open MPI 4 waits for ever when it tries.
_APART = ("OMPI_MCA_btl_vader_single_copy_mechanism=none",)


def unfit(image: Image) -> str:
    """Why the image cannot be entered as it is asked for."""
    if not image.reference.endswith(IMAGE_ENDINGS):
        return (
            f"Enroot starts a .sqsh, {image.reference!r} is none: make one with enroot/import, and name what it prints"
        )
    if image.workdir:
        return "Enroot starts in the image's own working folder: leave container_workdir out"
    return ""


def enter(
    image: Image, command: Sequence[str], *, step: str, names: Sequence[str] = (), gpus: bool = False
) -> Sequence[str]:
    """``enroot start``. The image's entry point runs first: Enroot knows no way around it.

    No flag asks for GPUs: Enroot's hook (``98-nvidia.sh``) mounts the driver where the image, or ``--container-env``, sets
    NVIDIA_VISIBLE_DEVICES, as images of CUDA do; ``enroot/hooks.d/80-nvidia.sh`` sets it for every image.
    """
    return (
        "enroot",
        "start",
        *(["--rw"] if image.writable else []),
        *(word for mount in image.mounts for word in ("--mount", mount)),
        # Without a value Enroot takes the caller's.
        *(word for name in (*image.environment, *names) for word in ("--env", name)),
        *(word for variable in _APART for word in ("--env", variable)),
        image.reference,
        *command,
    )


def explain(stderr: str) -> Fault | None:
    """Cause and remedy when Enroot could not start the container, or nothing could be started in it."""
    enroots = any(word in stderr for word in ("[ERROR]", "[INFO]", "enroot", "This account "))
    return first_of(_enroot_errors.SIGNS if enroots else (), stderr) or first_of(_inside.SIGNS, stderr)
