"""Chooses the runs that may be deleted: finished ones alone, the oldest first, and never one whose job could still write."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from hpcaccept.app.run.listing import lines_of
from hpcaccept.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.run_line import RunLine
    from hpcaccept.store.folder import RunFolder


def removable(
    folders: Sequence[RunFolder], now: datetime, *, keep: int | None, older_than_days: float | None, keep_bad: bool
) -> list[tuple[RunFolder, RunLine]]:
    """The runs that both rules let go, oldest first, with what is known of each.

    Args:
        folders: every run, oldest first.
        now: with a time zone.
        keep: so many of the newest runs stay; None: this rule asks for nothing.
        older_than_days: younger runs stay; None: this rule asks for nothing.
        keep_bad: True to keep runs that were not accepted.
    """
    candidates = folders[: max(0, len(folders) - keep)] if keep is not None else folders
    lines = zip(candidates, lines_of(candidates, now), strict=True)
    return [
        (folder, line)
        for folder, line in lines
        if line.over and _old(line, now, older_than_days) and not (keep_bad and line.exit_code)
    ]


def _old(line: RunLine, now: datetime, days: float | None) -> bool:
    if days is None:
        return True
    try:
        return now - datetime.fromisoformat(line.created_at) > timedelta(days=days)
    except (ValueError, TypeError, OverflowError):
        return False  # when it was made is not known, so it stays


def remove(folder: RunFolder) -> None:
    """Remove a run folder and everything in it; links in it are removed, not followed.

    Raises:
        RunError: something cannot be removed.
    """
    try:
        shutil.rmtree(folder.path)
    except OSError as fault:
        raise RunError(f"{folder.path} could not be removed: {fault.filename}: {fault.strerror}.") from fault
