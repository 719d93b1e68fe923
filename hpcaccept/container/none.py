"""No container: ranks run with the host's own Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.container import _inside
from hpcaccept.container._fault import Fault, first_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.plan import Image

NEEDS: tuple[str, ...] = ()


def srun_flags(image: Image) -> Sequence[str]:
    """None are needed."""
    return ()


def unfit(image: Image) -> str:
    """Nothing is asked of an image that is not there."""
    return ""


def enter(
    image: Image, command: Sequence[str], *, step: str, names: Sequence[str] = (), gpus: bool = False
) -> Sequence[str]:
    """The command as it is."""
    return command


def after_step(image: Image, step: str) -> Sequence[str]:
    """Nothing is left."""
    return ()


def after_job(image: Image) -> Sequence[str]:
    """Nothing is left."""
    return ()


def explain(stderr: str) -> Fault | None:
    """There is no container that could fail, but a host may lack Python, hpcaccept or an MPI that fits."""
    return first_of(_inside.SIGNS, stderr)
