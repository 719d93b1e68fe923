"""The journal of a run of ``verify``: a line for each step, on the disk before the request that spends.

``journal.jsonl``, in the form of ``store.entry_journal``. From its lines alone a killed run is resumed, its logs are written, and what it left
behind is found.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from hpcaccept.errors import RunError, UsageError
from hpcaccept.store import entry_journal
from hpcaccept.store.replaced_files import OWNER_ONLY

if TYPE_CHECKING:
    from pathlib import Path

NAME = "journal.jsonl"


@dataclass(frozen=True)
class Begun:
    """A client began, or went on with, a run.

    Attributes:
        run: its name.
        machines: that are to be verified.
        image: template of the image.
        requirements: name of the set.
        max_usd: cap of the whole run.
        max_hours: cap of this client.
        max_price: cap of an offer, USD per hour; None: none.
        load_s: limit until the container runs.
        test_s: limit of the tests.
        silence_s: limit without an answer about progress.
        at_once: rentals side by side.
        pid: of the client.
    """

    run: str
    machines: tuple[int, ...]
    image: str
    requirements: str
    max_usd: float
    max_hours: float
    max_price: float | None
    load_s: float
    test_s: float
    silence_s: float
    at_once: int
    pid: int


@dataclass(frozen=True)
class Renting:
    """A creation is about to be sent."""

    machine: int
    offer: int
    label: str
    usd_per_hour: float


@dataclass(frozen=True)
class Rented:
    """It was answered."""

    machine: int
    instance: int


@dataclass(frozen=True)
class Destroying:
    """A destruction is about to be sent."""

    machine: int
    instances: tuple[int, ...]


@dataclass(frozen=True)
class Destroyed:
    """A whole list of the account shows none of them."""

    machine: int
    instances: tuple[int, ...]
    seconds: float
    usd: float


@dataclass(frozen=True)
class Left:
    """Some could not be destroyed, or their end not be seen."""

    machine: int
    instances: tuple[int, ...]
    why: str


@dataclass(frozen=True)
class Rejected:
    """A price increase was rejected."""

    instance: int
    pending: int


@dataclass(frozen=True)
class Decided:
    """What became of a machine.

    Attributes:
        machine: at the marketplace.
        code: ``verified``, or of ``provider.vast.failures``.
        text: what was found.
        instance: that was rented; 0: none.
        offer: what was listed, by name.
        seconds: of each stage.
        usd: estimate, or the account's charge where it is higher.
        proved: by this side's computation.
        claimed: by the machine.
    """

    machine: int
    code: str
    text: str = ""
    instance: int = 0
    offer: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    usd: float = 0.0
    proved: dict[str, Any] = field(default_factory=dict)
    claimed: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """The client has ended, and knows of nothing that it has left."""

    usd: float
    interrupted: bool


Entry = Begun | Renting | Rented | Destroying | Destroyed | Left | Rejected | Decided | Ended
_KINDS = entry_journal.kinds_of(get_args(Entry))


@dataclass(frozen=True)
class Line:
    """One entry and when it was written (UTC)."""

    at: dt.datetime
    entry: Entry


class Journal:
    """The open journal of a run. Threads may share it."""

    def __init__(self, folder: Path) -> None:
        """Nothing is written yet."""
        self.folder = folder
        self._lock = threading.Lock()

    def write(self, entry: Entry, at: dt.datetime) -> None:
        """After return the entry is on the disk.

        Raises:
            RunError: it cannot be written (no space, for one); then what it announces must not be done.
        """
        file = self.folder / NAME
        try:
            with self._lock:
                entry_journal.append(file, [entry], at.isoformat(), OWNER_ONLY)
        except OSError as fault:
            raise RunError(f"Cannot write {file}: {fault.strerror}.", "Nothing is rented without it.") from None


def read(folder: Path) -> list[Line]:
    """Every line that can be read, oldest first.

    Raises:
        UsageError: the folder is none of a run.
    """
    file = folder / NAME
    try:
        found, _ = entry_journal.read(file, _KINDS)
    except OSError as fault:
        raise UsageError(f"{folder} is not a run of hpcaccept vast: {NAME}: {fault.strerror}.") from None
    lines = []
    for at, entry in found:
        with contextlib.suppress(ValueError):
            lines.append(Line(dt.datetime.fromisoformat(at), entry))
    if not any(isinstance(each.entry, Begun) for each in lines):
        raise UsageError(f"{file} has no line that says what was begun.")
    return lines
