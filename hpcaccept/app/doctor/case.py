"""The request that is about to be made of the cluster, which the doctor checks against it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpcaccept import launch
from hpcaccept.model.launcher import LauncherTraits
from hpcaccept.model.plan import Image, Plan, Request


@dataclass(frozen=True)
class Case:
    """What a run would ask for.

    Attributes:
        launcher: module name in hpcaccept.launch; empty: one node speaks for itself.
        request: nodes, GPUs, partition and the rest.
        image: that the ranks would enter.
        runs_dir: where the run would be kept.
        plan: of the run; None when none can be made.
        quick: True when no job will be started: what only nodes can tell is not known then.
    """

    launcher: str
    request: Request
    image: Image
    runs_dir: Path
    plan: Plan | None = None
    quick: bool = False

    @property
    def traits(self) -> LauncherTraits:
        """Those of the launcher; one node that speaks for itself is a machine alone."""
        return launch.load(self.launcher).TRAITS if self.launcher else LauncherTraits(virtual=True)
