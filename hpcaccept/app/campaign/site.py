"""What all rounds of a night or a campaign need: what is asked for, where the journal is, what time it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.app.campaign.memory import Memory, recall
from hpcaccept.config.settings import Layered
from hpcaccept.store import night_journal

if TYPE_CHECKING:
    from hpcaccept.model.nightly.night import Line, NightEntry

NIGHTLY = "nightly"


@dataclass(frozen=True)
class Site:
    """What every step needs.

    Attributes:
        layered: what is asked for; its launcher is decided.
        say: tells whoever watches, one line at a time.
        clock: the time now, aware.
        secrets: where the webhook's URL and token are looked for by name, before their files.
        place: of the journal and the lock, among the runs.
    """

    layered: Layered
    say: Callable[[str], None] = lambda _: None
    clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    place: str = NIGHTLY

    @property
    def runs_dir(self) -> Path:
        """Where runs are kept."""
        return Path(self.layered.settings.runs_dir).absolute()

    @property
    def baselines_dir(self) -> Path:
        """Where baselines are kept."""
        return Path(self.layered.settings.baselines_dir).absolute()

    @property
    def folder(self) -> Path:
        """Where the journal and the lock are."""
        return self.runs_dir / self.place

    @property
    def journal(self) -> Path:
        """What was written down."""
        return self.folder / "journal.jsonl"

    def lines(self) -> list[Line]:
        """Everything that can be read of it, oldest first. Raises RunError where it is there and cannot be opened."""
        return night_journal.read(self.journal)[0]

    def memory(self) -> Memory:
        """The sum of the journal."""
        return recall(self.lines())

    def write(self, *words: NightEntry) -> None:
        """Add to the journal. Raises RunError where that is not possible."""
        night_journal.append(self.journal, *words, at=self.clock().isoformat(timespec="milliseconds"))
