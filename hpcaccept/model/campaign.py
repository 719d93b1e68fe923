"""The record of a campaign beside that of its runs (``model.nightly.night``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Wish = Literal["pause", "resume", "stop"]


@dataclass(frozen=True)
class Opened:
    """A campaign has begun: which nodes, and everything that it was asked for, so that whoever goes on needs no options.

    Attributes:
        campaign: its name.
        nodes: to be tested.
        partitions: that they belong to, in the order in which nodes are taken.
        until: when it ends even though nodes are missing, UTC, ISO 8601.
        caps: partition → at most so many of its nodes at once.
        max_jobs: at most so many jobs at once; 0: no such limit.
        accepted: node → when it was accepted last, before the campaign.
        settings: as ``config.settings`` has them, plain.
        terms: as ``config.nightly`` has them, plain.
        overrides: what the site changes in suites: ``file`` and ``tables`` of each.
        by: who began it.
    """

    campaign: str
    nodes: tuple[str, ...]
    partitions: tuple[str, ...]
    until: str
    caps: dict[str, int] = field(default_factory=dict)
    max_jobs: int = 0
    accepted: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    terms: dict[str, Any] = field(default_factory=dict)
    overrides: tuple[dict[str, Any], ...] = ()
    by: str = ""


@dataclass(frozen=True)
class Asked:
    """Somebody wants a campaign to be paused, to go on, or to be stopped."""

    wish: Wish


@dataclass(frozen=True)
class Closed:
    """A campaign is over.

    Attributes:
        how: every node was tested, its time was over, or somebody stopped it.
        missing: node that was not tested → why not, as it was seen last.
    """

    how: Literal["done", "expired", "stopped"]
    missing: dict[str, str] = field(default_factory=dict)
