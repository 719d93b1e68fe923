"""How does a command enter an image? One file per runtime, found by module name; all are text in, argument lists out."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Protocol, cast

from hpcaccept.container._fault import Fault
from hpcaccept.errors import UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.plan import Image

__all__ = ["Container", "Fault", "load", "names"]


class Container(Protocol):
    """A container runtime."""

    #: What a launcher must provide to start ranks in it (``LauncherTraits.provides``).
    NEEDS: Sequence[str]

    def unfit(self, image: Image) -> str:
        """Why this image cannot be entered as it is asked for; empty when it can."""

    def srun_flags(self, image: Image) -> Sequence[str]:
        """Flags that make ``srun`` start its tasks inside the image."""

    def enter(
        self, image: Image, command: Sequence[str], *, step: str, names: Sequence[str] = (), gpus: bool = False
    ) -> Sequence[str]:
        """The command that runs ``command`` inside the image.

        Args:
            image: to enter.
            command: to run.
            step: of which it is the command.
            names: variables of the caller's environment that must be seen inside.
            gpus: True when the GPUs of the machine must be there.
        """

    def after_step(self, image: Image, step: str) -> Sequence[str]:
        """The command that removes what a step may have left, however it ended; empty when nothing can be."""

    def after_job(self, image: Image) -> Sequence[str]:
        """The same on every node at the end of the job."""

    def explain(self, stderr: str) -> Fault | None:
        """What is the matter when a launcher's standard error tells that the container itself failed, else None."""


def names() -> tuple[str, ...]:
    """Every runtime there is."""
    return tuple(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def load(name: str) -> Container:
    """The runtime of that name.

    Raises:
        UsageError: there is no such runtime.
    """
    if name not in names():
        raise UsageError(f"There is no container runtime {name!r}.", nearest(name, names()))
    return cast("Container", importlib.import_module(f"{__name__}.{name}"))
