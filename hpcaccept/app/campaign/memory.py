"""What the journal of nights or of a campaign says: what is unfinished, and what is known of each node. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from hpcaccept.model.nightly.night import (
    Began,
    Concluded,
    Ended,
    LastTest,
    Line,
    Missed,
    Scheduled,
    Submitting,
    Withdrawn,
    Yielding,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True)
class Memory:
    """What a journal amounts to.

    Attributes:
        began: when each night began (UTC), and its name, oldest first.
        ended: every night that came to its end, oldest first.
        open_nights: those that did not.
        open_runs: runs that may have been submitted and of which nothing more is known.
        runs: every run that is known here, however it went.
        before: node → what was known of it when the last night had ended, runs by hand included.
        news: runs that were judged since, and not reported.
        clock: time of day at which a run is due; empty: none is.
        clock_since: since when (UTC).
        yielding: runs whose jobs were to be ended because somebody waits for their nodes.
        reported: nights whose absence was reported already (ISO 8601).
    """

    began: tuple[tuple[datetime, Began], ...] = ()
    ended: tuple[Ended, ...] = ()
    open_nights: tuple[str, ...] = ()
    open_runs: tuple[Submitting, ...] = ()
    runs: frozenset[str] = frozenset()
    before: tuple[tuple[str, LastTest], ...] = ()
    news: tuple[Concluded, ...] = ()
    clock: str = ""
    clock_since: datetime | None = None
    yielding: tuple[Yielding, ...] = ()
    reported: frozenset[str] = frozenset()

    @property
    def tested(self) -> dict[str, LastTest]:
        """Node → the latest that is known of it."""
        return with_runs(dict(self.before), self.news)


def recall(lines: Sequence[Line]) -> Memory:
    """The sum of a journal, oldest line first."""
    began = [(instant_of(line.at), line.word) for line in lines if isinstance(line.word, Began)]
    ended = [line.word for line in lines if isinstance(line.word, Ended)]
    over = {word.night for word in ended}
    settled = {line.word.run for line in lines if isinstance(line.word, (Withdrawn, Concluded))}
    submitting = [line.word for line in lines if isinstance(line.word, Submitting)]
    last = max((n for n, line in enumerate(lines) if isinstance(line.word, Ended)), default=-1)
    judged = [(n, line.word) for n, line in enumerate(lines) if isinstance(line.word, Concluded)]
    news = tuple(word for n, word in judged if n > last and word.night)
    scheduled = [(instant_of(line.at), line.word.clock) for line in lines if isinstance(line.word, Scheduled)]
    return Memory(
        began=tuple(began),
        ended=tuple(ended),
        open_nights=tuple(word.night for _, word in began if word.night not in over),
        open_runs=tuple(word for word in submitting if word.run not in settled),
        runs=frozenset(settled | {word.run for word in submitting}),
        before=tuple(with_runs({}, (word for _, word in judged if word not in news)).items()),
        news=news,
        clock=scheduled[-1][1] if scheduled else "",
        clock_since=scheduled[-1][0] if scheduled else None,
        yielding=tuple(line.word for line in lines if isinstance(line.word, Yielding)),
        reported=frozenset(due for line in lines if isinstance(line.word, Missed) for due in line.word.due),
    )


def with_runs(tested: Mapping[str, LastTest], runs: Iterable[Concluded]) -> dict[str, LastTest]:
    """What is known of each node after more runs; an older run never hides a later one."""
    found = dict(tested)
    for run in runs:
        for node, outcome in run.nodes.items():
            earlier = found.get(node)
            accepted_at = run.at if outcome == "PASS" else ""
            if earlier is None or earlier.at <= run.at:
                accepted_at = accepted_at or (earlier.accepted_at if earlier else "")
                found[node] = LastTest(run.at, outcome, run.run, run.reasons.get(node, ""), accepted_at)
            elif accepted_at > earlier.accepted_at:
                found[node] = replace(earlier, accepted_at=accepted_at)
    return found


def instant_of(text: str) -> datetime:
    """An aware instant; one that cannot be read is the beginning of time, so that nobody waits for it."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromtimestamp(0, timezone.utc)
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
