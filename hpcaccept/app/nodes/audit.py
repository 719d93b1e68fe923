"""Who took which node out of service, why, and with what result: ``audit.jsonl``, a line before each order to Slurm and one after it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.errors import RunError
from hpcaccept.model.node_mark import Acted, Acting, Mark
from hpcaccept.store import entry_journal
from hpcaccept.store.one_writer import locked

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_KINDS = entry_journal.kinds_of((Acting, Acted))


@dataclass(frozen=True)
class Audit:
    """The log of one site.

    Attributes:
        folder: that it lies in, beside the runs.
    """

    folder: Path

    @property
    def file(self) -> Path:
        """Where it is."""
        return self.folder / "audit.jsonl"

    def write(self, entry: Acting | Acted) -> None:
        """Add a line; after return it is on the disk. Raises RunError: then nothing may be done."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            entry_journal.append(self.file, [entry], now_text(), mode=0o644)
        except OSError as fault:
            raise RunError(
                f"Cannot write {self.file}: {fault.strerror}. No node is touched without an entry in it.",
                "Name another folder with --state-dir.",
            ) from None

    def entries(self) -> list[tuple[str, Acting | Acted]]:
        """Everything that can be read, oldest first."""
        try:
            return entry_journal.read(self.file, _KINDS)[0]
        except FileNotFoundError:
            return []
        except OSError as fault:
            raise RunError(f"Cannot read {self.file}: {fault.strerror}.") from None

    def mark(self, id: str) -> Mark | None:
        """A mark by its id; None where this log has never seen it: it was made with another one."""
        found = [entry.mark for _, entry in self.entries() if isinstance(entry, Acting) and entry.mark.id == id]
        return found[-1] if found else None

    def lock(self, purpose: str) -> AbstractContextManager[None]:
        """One administrator with this log at a time. Others, with another log or with scontrol, are seen by reading back."""
        return locked(self.folder / "lock", purpose, wait_s=60.0)


def now_text() -> str:
    """Now, ISO 8601 in UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
