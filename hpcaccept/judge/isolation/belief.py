"""Belief."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Belief:
    """What is believed about a fleet.

    Attributes:
        nodes: names, in the order in which they were given.
        round: rounds so far.
    """

    nodes: tuple[str, ...]
    round: int = 0
