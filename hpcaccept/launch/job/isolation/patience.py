"""When a group is late: when it takes much longer than groups that have passed, so that nobody waits minutes for a stopped rank."""

from __future__ import annotations

import statistics

#: A group may take so many times as long as the others, and at least so much longer.
_TIMES, _SECONDS = 3.0, 15.0
#: For each node that has to be started.
_PER_NODE_S = 0.05


class Patience:
    """What groups may take, by what those took that have passed."""

    def __init__(self, longest_s: float) -> None:
        """``longest_s``: what a group may take while none has passed."""
        self._longest_s = longest_s
        self._passed_s: list[float] = []

    def learn(self, wall_s: float) -> None:
        """A group has passed."""
        self._passed_s.append(wall_s)

    def limit_s(self, nodes: int) -> float:
        """What a group of so many nodes may take."""
        if not self._passed_s:
            return self._longest_s
        usual_s = statistics.median(self._passed_s)
        return min(self._longest_s, max(_TIMES * usual_s, usual_s + _SECONDS) + _PER_NODE_S * nodes)
