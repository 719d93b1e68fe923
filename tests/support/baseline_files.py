"""A file of baselines, read as judging does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.store.baseline_file import chained, read_generations

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.model.baseline import Baseline


def read_baseline(file: Path, at: str = "") -> Baseline:
    """The generation that is asked first, with the others as its alternatives."""
    return chained(read_generations(file), at)
