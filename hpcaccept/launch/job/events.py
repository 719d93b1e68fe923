"""Records what happens to the job, even on a full disk."""

from __future__ import annotations

import os
import pwd
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from hpcaccept.errors import RunFolderFull
from hpcaccept.model.event import Event, Kind
from hpcaccept.store.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hpcaccept.store.folder import RunFolder


def job_of(environ: Mapping[str, str]) -> dict[str, str]:
    """``job``, ``user`` and ``cluster`` of ``started``, as the environment of the job states them."""
    try:
        login = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a number without a name, as in many containers
        login = ""
    return {
        "job": environ.get("SLURM_JOB_ID", ""),
        "user": environ.get("SLURM_JOB_USER", login),
        "cluster": environ.get("SLURM_CLUSTER_NAME", ""),
    }


class Events:
    """The open ``driver.jsonl``.

    Args:
        folder: of the run.
        aloud: is given every sentence too: the output of a job whose driver is a script.
    """

    def __init__(self, folder: RunFolder, aloud: Callable[[str], None] = lambda _: None) -> None:
        self._folder = folder
        self._aloud = aloud
        self._journal = self._on_space(lambda: Journal(folder.driver_log))

    def say(self, kind: Kind, **more: Any) -> None:
        """Append one event; the reserve is given up when the disk is full."""
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        event = Event(kind, now, **more)
        self._on_space(lambda: self._journal.write(event))
        self._aloud(f"{now[11:19]} {event.sentence}")

    def _on_space(self, write: Any) -> Any:
        try:
            return write()
        except RunFolderFull:
            self._folder.reserve.unlink(missing_ok=True)
            return write()
