"""Where a campaign stands, from the lines of its journal alone, so that whoever goes on knows what is done. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hpcaccept.model.campaign import Asked, Closed, Opened
from hpcaccept.model.nightly.night import Concluded, Submitting, Withdrawn, Yielding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.nightly.night import Line

State = Literal["running", "paused", "stopping", "done", "expired", "stopped"]
#: So many runs of a node may be refused or lost, before it is given up: what fails each time would be tried for ever.
MOST_TRIES = 3


@dataclass(frozen=True)
class Result:
    """What a campaign says of a node that was tested."""

    outcome: str
    run: str
    at: str
    reason: str = ""


@dataclass(frozen=True)
class Standing:
    """A campaign at one moment.

    Attributes:
        opened: what was asked for.
        opened_at: when (UTC, ISO 8601).
        state: where it stands.
        closed: how it ended; None while it has not.
        closed_at: when.
        results: node → what was found.
        begun: every run that was, or may have been, submitted, with the time of its line.
        open: those of which nothing more is known.
        concluded: runs that were judged.
        withdrawn: runs that came to nothing, with the time of their lines.
        yielded: runs whose jobs were ended because somebody waited for their nodes.
    """

    opened: Opened
    opened_at: str
    state: State = "running"
    closed: Closed | None = None
    closed_at: str = ""
    results: dict[str, Result] | None = None
    begun: tuple[tuple[str, Submitting], ...] = ()
    open: tuple[Submitting, ...] = ()
    concluded: tuple[Concluded, ...] = ()
    withdrawn: tuple[tuple[str, Withdrawn], ...] = ()
    yielded: tuple[Yielding, ...] = ()

    @property
    def tested(self) -> dict[str, Result]:
        """Node → what was found."""
        return self.results or {}

    @property
    def nodes_of(self) -> dict[str, tuple[str, ...]]:
        """Run → its nodes."""
        return {one.run: one.nodes for _, one in self.begun}

    @property
    def tries(self) -> Counter[str]:
        """Node → runs of it that were begun, however they went."""
        return Counter(node for _, one in self.begun for node in one.nodes)

    @property
    def given_up(self) -> dict[str, str]:
        """Node whose runs were refused or lost again and again → the last reason."""
        counts: Counter[str] = Counter()
        why: dict[str, str] = {}
        nodes_of = self.nodes_of
        for _, one in self.withdrawn:
            if one.kind in ("refused", "other"):
                for node in nodes_of.get(one.run, ()):
                    counts[node] += 1
                    why[node] = one.reason
        return {node: why[node] for node, count in counts.items() if count >= MOST_TRIES and node not in self.tested}

    @property
    def in_test(self) -> frozenset[str]:
        """Nodes of open runs."""
        return frozenset(node for one in self.open for node in one.nodes)

    @property
    def left(self) -> tuple[str, ...]:
        """Nodes that are still to be tested and are not being tested."""
        out = {*self.tested, *self.given_up, *self.in_test}
        return tuple(node for node in self.opened.nodes if node not in out)


def standing_of(lines: Sequence[Line]) -> Standing | None:
    """The sum of a journal, oldest line first; None where it does not say what was asked for."""
    opened = next(((line.at, line.word) for line in lines if isinstance(line.word, Opened)), None)
    if opened is None:
        return None
    closed = next(((line.at, line.word) for line in lines if isinstance(line.word, Closed)), None)
    begun = tuple((line.at, line.word) for line in lines if isinstance(line.word, Submitting))
    concluded = tuple(line.word for line in lines if isinstance(line.word, Concluded))
    withdrawn = tuple((line.at, line.word) for line in lines if isinstance(line.word, Withdrawn))
    settled = {one.run for one in concluded} | {one.run for _, one in withdrawn}
    return Standing(
        opened=opened[1],
        opened_at=opened[0],
        state=closed[1].how if closed else _wished(lines),
        closed=closed[1] if closed else None,
        closed_at=closed[0] if closed else "",
        results={
            node: Result(outcome, one.run, one.at, one.reasons.get(node, ""))
            for one in concluded
            for node, outcome in one.nodes.items()
            if node in opened[1].nodes
        },
        begun=begun,
        open=tuple(one for _, one in begun if one.run not in settled),
        concluded=concluded,
        withdrawn=withdrawn,
        yielded=tuple(line.word for line in lines if isinstance(line.word, Yielding)),
    )


def _wished(lines: Sequence[Line]) -> State:
    """The last wish counts; a stop is never taken back."""
    wishes = [line.word.wish for line in lines if isinstance(line.word, Asked)]
    if "stop" in wishes:
        return "stopping"
    return "paused" if wishes and wishes[-1] == "pause" else "running"
