"""How does a command enter an image? One file per runtime, found by module name."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Protocol, cast

from hpcaccept.errors import UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.plan import Image


class Container(Protocol):
    """A container runtime, as pure functions: text in, argument lists out."""

    def srun_flags(self, image: Image) -> Sequence[str]:
        """Flags that make ``srun`` start its tasks inside the image."""

    def explain(self, stderr: str) -> tuple[str, str] | None:
        """Cause and remedy when a launcher's standard error tells that the container itself failed, else None."""


def load(name: str) -> Container:
    """The runtime of that name.

    Raises:
        UsageError: there is no such runtime.
    """
    known = [m.name for m in pkgutil.iter_modules(__path__)]
    if name not in known:
        raise UsageError(f"There is no container runtime {name!r}.", nearest(name, known))
    return cast("Container", importlib.import_module(f"{__name__}.{name}"))
