"""No container: ranks run with the host's own Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.plan import Image


def srun_flags(image: Image) -> Sequence[str]:
    """None are needed."""
    return ()


def explain(stderr: str) -> tuple[str, str] | None:
    """There is no container that could fail."""
    return None
