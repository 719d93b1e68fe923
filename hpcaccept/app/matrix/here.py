"""Cells as processes of this machine, which outlive the client."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hpcaccept.app.matrix.place import cell_command
from hpcaccept.config.private_variables import without_secrets
from hpcaccept.errors import LaunchError
from hpcaccept.launch.job import this_machine
from hpcaccept.model.job import JobRef, JobStatus
from hpcaccept.transport.process import spawn_detached

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.model.matrix.matrix import Cell

LOG = "job.log"


class Here:
    """See ``Place``."""

    by_hand = False
    provides: frozenset[str] = frozenset({"container", "one machine"})

    def no_machine(self, cell: Cell) -> str:
        """This one is there."""
        return ""

    def start(self, cell: Cell, folder: Path, word: str) -> JobRef:
        """A process in a session of its own."""
        import psutil

        pid = spawn_detached(cell_command(folder), log=folder / LOG, env=without_secrets(os.environ), cwd=folder)
        try:
            return ref(psutil.Process(pid))
        except psutil.NoSuchProcess:
            raise LaunchError(f"The cell's process ended at once; see {folder / LOG}.") from None

    def find(self, folder: Path, word: str) -> JobRef | None:
        """By its command line."""
        return self.found(["matrix", "cell", str(folder)])

    def found(self, last: list[str]) -> JobRef | None:
        """The process whose command line ends so."""
        import psutil

        for process in psutil.process_iter(["cmdline", "status"]):
            words = process.info["cmdline"] or []
            if words[-3:] == last and process.info["status"] != psutil.STATUS_ZOMBIE:
                return ref(process)
        return None

    def status(self, job: JobRef) -> JobStatus:
        """Running while its process lives."""
        return this_machine.status(job)

    def cancel(self, job: JobRef) -> None:
        """SIGTERM, then by force."""
        this_machine.cancel(job)


def ref(process) -> JobRef:  # type: ignore[no-untyped-def]
    """How to find a process again."""
    return JobRef("", str(process.pid), started=process.create_time(), host=os.uname().nodename)
