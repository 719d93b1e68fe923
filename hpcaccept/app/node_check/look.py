"""What a part of the gate gets and gives. Both go through a pipe as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcaccept.model.node_check import Expected, Item


@dataclass(frozen=True)
class Asked:
    """What a part is asked by.

    Attributes:
        expected: of this node.
        node: its name.
        root: a folder that stands for ``/``.
        before: what this part kept when the job began; None where nothing did, or the node has booted since.
        elapsed_s: since then.
        kmsg: the kernel's log device.
    """

    expected: Expected
    node: str
    root: Path = Path("/")
    before: Any = None
    elapsed_s: float = 0.0
    kmsg: str = "/dev/kmsg"


@dataclass
class Look:
    """What a part found.

    Attributes:
        items: judged one by one.
        facts: name → text.
        kept: for the look after the job; plain JSON types.
        moved: counter → what it was before the job and is now.
    """

    items: list[Item] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    kept: Any = None
    moved: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def compare(self, before: dict[str, float], now: dict[str, float]) -> None:
        """Keep the counters that moved."""
        self.moved |= {
            name: (before[name], value) for name, value in now.items() if name in before and before[name] != value
        }
