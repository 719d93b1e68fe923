"""How do tasks enter Enroot containers under Slurm? With Pyxis, its SPANK plugin (https://github.com/NVIDIA/pyxis).

A named container is created by the first step and entered again by the next ones (about a second instead of an unpack).
A failure here is an ERROR of the image or the site, never the node's FAIL.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.plan import Image

#: Steps of one job share the unpacked container under this name.
CONTAINER_NAME = "hpcaccept"

#: What Pyxis, Enroot and Slurm say → cause, remedy. Wording of Pyxis 0.15 to 0.21, Enroot 3.4 to 4.0, Slurm 22.05 to 25.05.
_FAULTS: tuple[tuple[str, str, str], ...] = (
    (
        r"unrecognized option '--container-image",
        "this Slurm has no Pyxis: srun does not know --container-image",
        "Install Pyxis, or leave --container-image out; 'srun --help | grep container' shows whether it is there.",
    ),
    (
        r"(No such file or directory|does not exist).*\.sqsh|\.sqsh.*(No such file or directory|does not exist)",
        "the image file does not exist where the ranks start",
        "Give a path on a file system that every node mounts.",
    ),
    (
        r"\[ERROR\].*(401|403|[Uu]nauthorized|denied)",
        "the registry refused the image",
        "Put credentials into ~/.config/enroot/.credentials (mode 0600), or check the image's name.",
    ),
    (
        r"\[ERROR\].*(404|[Nn]ot [Ff]ound|manifest unknown|No such image)",
        "the registry does not know the image",
        "Check name and tag or digest: --container-image REGISTRY#PATH:TAG.",
    ),
    (
        r"\[ERROR\].*(Could not resolve|[Cc]onnection (refused|timed out)|Failed to connect)",
        "the registry cannot be reached from the nodes",
        "Import the image once on the login node to a .sqsh on the shared file system and name that file.",
    ),
    (
        r"No space left on device",
        "no space where Enroot unpacks images",
        "Free ENROOT_DATA_PATH / ENROOT_CACHE_PATH on the node, or point them elsewhere.",
    ),
    (
        r"pyxis: .*(failed to import|failed to create|couldn't start|child \d+ failed|enroot)",
        "Pyxis could not start the container",
        "See the Enroot log above in the step's output under logs/.",
    ),
)


def srun_flags(image: Image) -> Sequence[str]:
    """``--container-image`` and what belongs to it. Secrets never stand here: Enroot reads its own credentials file."""
    flags = [f"--container-image={image.reference}", f"--container-name={CONTAINER_NAME}", "--no-container-mount-home"]
    if image.mounts:
        flags.append(f"--container-mounts={','.join(image.mounts)}")
    return tuple(flags)


def explain(stderr: str) -> tuple[str, str] | None:
    """Cause and remedy when Pyxis or Enroot could not start the container."""
    for pattern, cause, remedy in _FAULTS:
        match = re.search(pattern, stderr)
        if match:
            line = next((x.strip() for x in stderr.splitlines() if match[0] in x), match[0])
            return f"container: {cause} ({line[:200]})", remedy
    return None
