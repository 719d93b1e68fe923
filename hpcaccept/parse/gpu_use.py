"""How busy the GPUs were: lines ``SECONDS PERCENT`` of the start-up script, by a clock of its own, with the busiest GPU's utilisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Seconds that one sample may stand for.
_LONGEST_S = 120.0


def samples(lines: Iterable[str]) -> list[tuple[float, float]]:
    """Seconds since the sample before, and percent; lines of another form are skipped."""
    found, before = [], None
    for line in lines:
        words = line.split()
        if len(words) == 2 and all(each.isascii() and each.isdigit() for each in words):
            at, percent = float(words[0][:9]), float(words[1][:4])
            # A new attempt counts from zero again; the first sample of a piece stands for the usual distance.
            apart = at - before if before is not None and at >= before else 15.0
            found.append((min(apart, _LONGEST_S), percent))
            before = at
    return found
