"""The places where scheduled runs can run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.errors import UsageError, nearest

if TYPE_CHECKING:
    from hpcaccept.app.schedule.job import Place

NAMES = ("here", "slurm", "rented")


def place_of(name: str) -> Place:
    """A place by its name; modules are imported when they are asked for.

    Raises:
        UsageError: there is none of this name.
    """
    if name == "here":
        from hpcaccept.app.schedule.here import Here

        return Here()
    if name == "slurm":
        from hpcaccept.app.schedule.on_slurm import OnSlurm

        return OnSlurm()
    if name == "rented":
        from hpcaccept.app.schedule.rented import OnRented

        return OnRented()
    raise UsageError(f"Unknown place {name!r}. {nearest(name, NAMES)}")
