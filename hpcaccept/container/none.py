"""No container: ranks run with the host's own Python."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hpcaccept.container import _defaults
from hpcaccept.container._inside import JOIN_WITHOUT_IMAGE

if TYPE_CHECKING:
    from hpcaccept.container._fault import Fault

NEEDS: tuple[str, ...] = ()


def explain(stderr: str) -> Fault | None:
    """The same faults, without the word container, and without a remedy for one: there is none."""
    found = _defaults.explain(stderr)
    if found is None:
        return None
    remedy = JOIN_WITHOUT_IMAGE if "an image whose MPI" in found.remedy else found.remedy
    return replace(found, cause=found.cause.removeprefix("container: "), remedy=remedy)
