"""Other people's tools, as far as hpcaccept needs them: tests/support/tools on PATH, with what they print and how they end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.solo_context import SoloContext

if TYPE_CHECKING:
    import pytest

    from hpcaccept.model.check import Check

TOOLS = Path(__file__).parent / "tools"
DATA = Path(__file__).parents[1] / "data"


def tools_say(monkeypatch: pytest.MonkeyPatch, out: Path | str, status: int = 0, err: str = "") -> None:
    """From now on every stand-in prints ``out`` (a file, or text) and ``err``, and ends with ``status``."""
    monkeypatch.setenv("PATH", f"{TOOLS}{os.pathsep}{os.environ['PATH']}")
    for name, given in (("OUT", out), ("ERR", err)):
        monkeypatch.setenv(f"STAND_IN_{name}", str(given))
    monkeypatch.setenv("STAND_IN_STATUS", str(status))


def eight_gpus(check: Check, **more: Any) -> SoloContext:
    """The first of eight ranks of a node with eight GPUs."""
    return SoloContext(check, **{"device": "cuda:0", "gpus_asked": 8, "node_ranks": tuple(range(8)), "size": 8, **more})


def eighth_rank(check: Check) -> SoloContext:
    """The last of them: what a node's first rank does is none of its business."""
    return eight_gpus(check, rank=7, local_rank=7, device="cuda:7")
