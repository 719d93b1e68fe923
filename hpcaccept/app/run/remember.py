"""Runs that were judged before there was a history enter it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.app.history import remember
from hpcaccept.app.run.conclude import evidence_of, judge_run
from hpcaccept.store.folder import find

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def add_runs(runs_dir: Path, names: Iterable[str], baselines_dir: Path, folder: Path) -> Iterator[str]:
    """Judge old runs, oldest first, and remember them; tells of each.

    Raises:
        RunError: a run does not exist or cannot be read, or as ``remember``.
    """
    found = {path.run_id: path for path in (find(runs_dir, name) for name in names)}
    for path in sorted(found.values(), key=lambda f: f.read_plan().created_at):
        judged = judge_run(evidence_of(path), baselines_dir, folder)
        remember(judged, folder)
        numbers = sum(len(column.value) for column in judged.values)
        yield f"{path.run_id}: {len(judged.evidence.nodes)} nodes, {numbers} numbers remembered"
