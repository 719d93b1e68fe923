"""The record of a night or a campaign, from which whoever goes on knows what to finish, to choose and to compare with.

The journal is a list of these words. A word is written before what it announces is done (``Submitting``) or after what it
states has happened (``Concluded``): whatever is killed in between can be made out from the last word.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hpcaccept.model.campaign import Asked, Closed, Opened

#: Outcomes (of ``model.verdict``) of nodes that were judged and have not failed; one with a WARN is in doubt.
ACCEPTED = ("PASS", "WARN")


@dataclass(frozen=True)
class Scheduled:
    """From now on a run is due every day at ``clock`` (``"02:00"``); an empty text: no longer."""

    clock: str


@dataclass(frozen=True)
class Began:
    """A night has begun.

    Attributes:
        night: its name.
        host: that it runs on.
        pid: of its process.
        user: who runs it.
    """

    night: str
    host: str = ""
    pid: int = 0
    user: str = ""


@dataclass(frozen=True)
class Chosen:
    """Nodes that are to be tested.

    Attributes:
        night: name of the night.
        nodes: the one that was tested longest ago first.
        left_out: reason → how many nodes of the partition.
    """

    night: str
    nodes: tuple[str, ...]
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Submitting:
    """A run is about to be submitted: from here on it may exist."""

    night: str
    run: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Yielding:
    """A job is about to be ended because somebody else's job waits for its nodes.

    Attributes:
        night: name of the night or campaign.
        run: whose job it is.
        job: that waits.
        partition: that it waits in.
        waited_s: for how long it has waited.
    """

    night: str
    run: str
    job: str
    partition: str
    waited_s: float


#: Why a run came to nothing: its job was refused, did not begin in time, was ended for a user's job by us or by the scheduler; or anything else.
Why = Literal["refused", "late", "room", "preempted", "other"]


@dataclass(frozen=True)
class Withdrawn:
    """A run came to nothing: it never began, or was ended from outside before anything was judged."""

    night: str
    run: str
    reason: str
    kind: Why = "other"


@dataclass(frozen=True)
class Concluded:
    """A run was judged.

    Attributes:
        night: name of the night; empty for a run that somebody made with ``submit``.
        run: its name.
        at: when it was planned, UTC, ISO 8601.
        exit_code: of the run.
        nodes: node → its worst outcome.
        reasons: node that was not accepted → why, in one sentence.
        false_alarm_rate: stated chance that the run blames anybody where all is well; None: everything was held to limits that state none.
    """

    night: str
    run: str
    at: str
    exit_code: int
    nodes: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    false_alarm_rate: float | None = None


@dataclass(frozen=True)
class Missed:
    """Nights of which nothing came, as they were reported: UTC, ISO 8601."""

    due: tuple[str, ...]


@dataclass(frozen=True)
class Ended:
    """A night is over.

    Attributes:
        night: name of the night.
        exit_code: of the night.
        headline: what it came to, in one line.
        nothing: why no node was tested; empty when some were.
        stale: nodes that were not tested for too long, as they were reported.
        untold: lines of news that could not be sent to anybody.
        notes: what else went wrong: a message that was not delivered, a report that was not written.
    """

    night: str
    exit_code: int
    headline: str
    nothing: str = ""
    stale: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


NightEntry = (
    Scheduled
    | Began
    | Chosen
    | Submitting
    | Yielding
    | Withdrawn
    | Concluded
    | Missed
    | Ended
    | Opened
    | Asked
    | Closed
)


@dataclass(frozen=True)
class Line:
    """A word, and when it was said (UTC, ISO 8601)."""

    at: str
    word: NightEntry


@dataclass(frozen=True)
class LastTest:
    """The latest that is known of a node.

    Attributes:
        at: when it was tested, UTC, ISO 8601.
        outcome: its worst.
        run: that tested it.
        reason: why it was not accepted.
        accepted_at: when it was accepted the last time; empty: never.
    """

    at: str
    outcome: str
    run: str
    reason: str = ""
    accepted_at: str = ""
