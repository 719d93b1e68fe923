"""Cells on rented machines: a process of this machine rents one, has it proven and tested, and destroys it. It outlives the client, and has a guard of its own."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from hpcaccept.app.matrix.here import LOG, Here, ref
from hpcaccept.app.matrix.order import INSIDE
from hpcaccept.app.vast.session import KEY_VARIABLE, read_key
from hpcaccept.config.private_variables import without_secrets
from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.transport.process import spawn_detached

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.model.job import JobRef
    from hpcaccept.model.matrix.matrix import Cell

#: Words that start it; tests put others in their place.
COMMAND: tuple[str, ...] = (sys.executable, "-m", "hpcaccept")
#: Seconds in which a rental is destroyed, and seen to be gone.
_DESTROYING_S = 180.0


class Rented(Here):
    """See ``Place``."""

    by_hand = False
    provides: frozenset[str] = frozenset({INSIDE})

    def __init__(self, allowed: bool) -> None:
        """Args: whether somebody has said that money may be spent."""
        self._allowed = allowed

    def no_machine(self, cell: Cell) -> str:
        """Ask nobody before something may be spent."""
        if not self._allowed:
            return "renting spends money: add --yes and --max-usd"
        try:
            read_key("", os.environ)
        except UsageError as fault:
            return fault.message
        return ""

    def start(self, cell: Cell, folder: Path, word: str) -> JobRef:
        """A process in a session of its own, with the account's key."""
        import psutil

        env = without_secrets(os.environ, (KEY_VARIABLE,))
        pid = spawn_detached((*COMMAND, "matrix", "rent", str(folder)), log=folder / LOG, env=env, cwd=folder)
        try:
            return ref(psutil.Process(pid))
        except psutil.NoSuchProcess:
            raise LaunchError(f"The process that rents ended at once; see {folder / LOG}.") from None

    def find(self, folder: Path, word: str) -> JobRef | None:
        """By its command line."""
        return self.found(["matrix", "rent", str(folder)])

    def cancel(self, job: JobRef) -> None:
        """SIGTERM, and time to destroy what it has rented; where it takes longer its guard does so."""
        import psutil

        try:
            process = psutil.Process(int(job.id))
            if abs(process.create_time() - job.started) < 1.0:
                process.terminate()
                psutil.wait_procs([process], timeout=_DESTROYING_S)
        except psutil.NoSuchProcess:
            return
