"""What holds for a runtime that does not say otherwise: it leaves nothing behind, needs no flag and takes no image.

`load()` takes from here every name of the protocol that the runtime's own file does not define.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hpcaccept.container import _inside
from hpcaccept.container._fault import Fault, first_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcaccept.container._login_probe import LoginProbe
    from hpcaccept.model.plan import Image

NEEDS: Sequence[str] = ("container",)
IMAGE_ENDINGS: Sequence[str] = ()
PROGRAMS: Sequence[str] = ()
#: After every runtime that says when it is taken.
USUAL = 100

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def takes_name(reference: str) -> bool:
    """Enter files only."""
    return False


def unfit(image: Image) -> str:
    """Refuse nothing."""
    return ""


def environment(image: Image) -> Mapping[str, str]:
    """Set what was asked for, and which image it is."""
    return image.environment


def srun_flags(image: Image) -> Sequence[str]:
    """Add none: what srun starts is the runtime itself."""
    return ()


def enter(
    image: Image, command: Sequence[str], *, step: str, names: Sequence[str] = (), gpus: bool = False
) -> Sequence[str]:
    """Return the command as it is."""
    return command


def before_job(image: Image) -> Sequence[str]:
    """Remove nothing: nothing outlives a run."""
    return ()


def after_step(image: Image, step: str) -> Sequence[str]:
    """Remove nothing: nothing is left."""
    return ()


def after_job(image: Image) -> Sequence[str]:
    """Remove nothing: nothing is left."""
    return ()


def digest_command(reference: str) -> Sequence[str]:
    """Ask nobody."""
    return ()


def parse_digest(text: str) -> str:
    """Take the first SHA-256 digest in the text."""
    found = _DIGEST.search(text)
    return found[0] if found else ""


def pinned(reference: str, digest: str) -> str:
    """Leave the reference as it was given."""
    return reference


def login_probe() -> LoginProbe | None:
    """Ask nothing of the machine that submits: the nodes must have the runtime."""
    return None


def explain(stderr: str) -> Fault | None:
    """Explain what a host may lack: Python, hpcaccept or an MPI that fits."""
    return first_of(_inside.SIGNS, stderr)
