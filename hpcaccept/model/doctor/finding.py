"""One finding of the doctor: a thing that was looked at, against what was expected of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: ``unknown``: it could not be looked at, which is never the same as well.
Mark = Literal["ok", "warning", "wrong", "unknown"]


@dataclass(frozen=True)
class Finding:
    """One line of a diagnosis.

    Attributes:
        look: what was looked at.
        mark: what that means for a run.
        found: in a few words; for ``unknown`` why it could not be looked at.
        expected: what would have been right.
        remedy: what to type next.
        nodes: names of those it speaks of; empty: of the path as a whole.
        stops: True when no job can start before it is mended.
        passes: True for what stops a job now and ends by itself: whoever can wait may queue all the same.
    """

    look: str
    mark: Mark
    found: str
    expected: str = ""
    remedy: str = ""
    nodes: tuple[str, ...] = ()
    stops: bool = False
    passes: bool = False
