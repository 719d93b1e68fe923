"""How long the steps of a training take, and which rank holds the others up.

Trap: in a data-parallel training everybody waits for the slowest rank in every step, so the steps last equally long on
all ranks, and the rank that shows the longest step is anybody. What tells ranks apart is their **own time**: from the
begin of a step until the rank's own gradient is ready, before the collective in which it waits for the others.

Own time is taken as the mean of a block of steps, and of the blocks the median: a rank that stands still for a part of
every block (a CPU quota, a GPU that throttles in pulses) is slow in all of them, though most of its steps are as fast as
ever; one interruption in one block changes nothing.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Seconds between two words of a heartbeat, where a step does not take longer.
BEAT_S = 0.5


@dataclass(frozen=True)
class Distribution:
    """Seconds of the steps of one rank.

    Attributes:
        p50_s: half of the steps took no longer.
        p99_s: 99 of 100 steps took no longer; with fewer than 100 steps it is the longest one.
        worst_s: the longest.
    """

    p50_s: float
    p99_s: float
    worst_s: float


def distribution(seconds: Sequence[float]) -> Distribution:
    """Of at least one step, by the nearest rank: every figure is one of the steps.

    Raises:
        ValueError: there is no step.
    """
    if not seconds:
        raise ValueError("no step was timed")
    ordered = sorted(seconds)

    def at(share: float) -> float:
        return ordered[math.ceil(share * len(ordered)) - 1]

    return Distribution(at(0.50), at(0.99), ordered[-1])


def typical(block_means_s: Sequence[float]) -> float:
    """One figure for a rank: the median of its blocks' means."""
    return statistics.median(block_means_s)


def straggler_shares(own_s: Sequence[float]) -> list[float]:
    """By rank: own time over the median of the **other** ranks' own times; 1 where all are alike.

    The other ranks only, because among two or three a slow rank would raise the median that it is held against. All
    ranks slow together are 1 each: only a baseline can tell that.

    Raises:
        ValueError: there are fewer than two ranks.
    """
    if len(own_s) < 2:
        raise ValueError(f"{len(own_s)} rank(s) cannot hold each other up")
    return [own / statistics.median([*own_s[:rank], *own_s[rank + 1 :]]) for rank, own in enumerate(own_s)]


def slowest(own_s: Sequence[float]) -> int:
    """The rank with the longest own time; the first of several."""
    return max(range(len(own_s)), key=lambda rank: own_s[rank])


class Beat:
    """Says which step begins, for the day one of them does not end; not more often than is useful.

    On a GPU what is said may be some steps ahead: it is of what is queued.

    Args:
        say: what the heart beats with.
        of: what the steps are of.
        total: how many there will be; 0 when that is not known.
        clock: seconds from any start.
    """

    def __init__(
        self, say: Callable[[str], None], of: str = "", total: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say, self._before, self._after = say, f"{of}, " if of else "", f" of {total}" if total else ""
        self._clock = clock
        self._step, self._said_s = 0, -math.inf

    def __call__(self) -> None:
        """A step begins."""
        now = self._clock()
        if now - self._said_s >= BEAT_S:
            self._said_s = now
            self._say(f"{self._before}step {self._step}{self._after}")
        self._step += 1
