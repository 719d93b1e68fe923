"""The record of a scheduled run: one line before and one after each thing that is done to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Place = Literal["here", "slurm", "rented"]
Wish = Literal["pause", "resume", "stop"]
#: What becomes of a run whose command no longer runs.
Then = Literal["done", "failed", "paused", "stopped", "lost"]


@dataclass(frozen=True)
class Added:
    """The run was recorded, and all that it consists of.

    Attributes:
        run: its name.
        at: when it is to begin (UTC, ISO 8601).
        place: where.
        commit: full hash of HEAD.
        subject: first line of its message.
        branch: empty: none.
        dirty: tracked files differed from the commit.
        diff_sha256: of ``changes.diff``; empty where nothing differed.
        untracked: how many files git does not know; their names are in ``untracked.txt``.
        submodules: lines of ``git submodule status``.
        lfs: files that Git LFS keeps.
        lfs_missing: of these, those of which only the pointer is here.
        manifest_sha256: of ``manifest.txt``: hash, size and name of each file that is sent.
        files: that are sent.
        size_bytes: of these.
    """

    run: str
    at: str
    place: Place
    commit: str
    subject: str
    branch: str
    dirty: bool
    diff_sha256: str
    untracked: int
    submodules: tuple[str, ...]
    lfs: int
    lfs_missing: int
    manifest_sha256: str
    files: int
    size_bytes: int


@dataclass(frozen=True)
class Asked:
    """Somebody has asked for a change."""

    wish: Wish


@dataclass(frozen=True)
class Starting:
    """A start is about to be made.

    Attributes:
        attempt: 1 for the first.
    """

    attempt: int


@dataclass(frozen=True)
class Waiting:
    """It cannot start yet; written when the reason changes."""

    why: str


@dataclass(frozen=True)
class Renting:
    """A machine is about to be rented."""

    attempt: int
    offer: int
    machine: int
    label: str
    usd_per_hour: float
    usd_once: float


@dataclass(frozen=True)
class Rented:
    """The request was answered."""

    attempt: int
    instance: int


@dataclass(frozen=True)
class Unfit:
    """A machine did not become usable, or its offer was gone; another one is tried."""

    attempt: int
    machine: int
    why: str


@dataclass(frozen=True)
class Sent:
    """All files are on the machine."""

    attempt: int
    size_bytes: int
    seconds: float


@dataclass(frozen=True)
class Started:
    """The command was started.

    Attributes:
        attempt: that was started.
        job: number of the process, of Slurm's job or of the instance.
        machine: where; empty: not known yet.
        key: of its files ``began.KEY.N`` and ``ended.KEY.N``.
    """

    attempt: int
    job: str
    machine: str = ""
    key: str = ""


@dataclass(frozen=True)
class Ending:
    """The command is about to be ended.

    Attributes:
        then: what becomes of the run.
        rule: that ends it.
        evidence: what was found.
    """

    then: Then
    rule: str
    evidence: str


@dataclass(frozen=True)
class Halted:
    """The command does not run any more.

    Attributes:
        then: what becomes of the run.
        exit_code: of the command; None: not known.
        why: rule and evidence.
    """

    then: Then
    exit_code: int | None
    why: str


@dataclass(frozen=True)
class Kept:
    """The results are here, or cannot be had.

    Attributes:
        whole: everything came.
        why: what is missing.
    """

    whole: bool
    why: str = ""


@dataclass(frozen=True)
class Released:
    """Nothing of the run is rented or queued any more: a whole list of the account showed nothing.

    Attributes:
        instances: that were destroyed.
        usd: cost of the attempt.
    """

    instances: tuple[int, ...] = ()
    usd: float = 0.0


@dataclass(frozen=True)
class Paused:
    """It waits for somebody to resume it."""

    why: str


@dataclass(frozen=True)
class Ended:
    """Nothing more will be done.

    Attributes:
        state: how it ended.
        why: rule and evidence.
        exit_code: of the command; None: not known.
    """

    state: Literal["done", "failed", "stopped", "lost", "missed"]
    why: str
    exit_code: int | None = None


Entry = (
    Added | Asked | Starting | Waiting | Renting | Rented | Unfit | Sent | Started | Ending | Halted | Kept | Released | Paused | Ended
)  # fmt: skip
