"""Run ``identity`` and ``health`` for every rank of a described node in this process; records as JSON on standard output.

A child of the tests, without MPI: the ranks take turns, and ``compare`` is given what all of them kept. ``argv``: ranks, folder.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcaccept.checks.health import Health
from hpcaccept.checks.identity import Identity
from hpcaccept.errors import HpcacceptError
from hpcaccept.model.check import Check, Unavailable
from support.nvml.watched import until_sampled
from support.solo_context import SoloContext


@dataclass
class Seat(SoloContext):
    """One rank of a node, which hears what all ranks have kept."""

    everyone: tuple[Any, ...] = ()
    outcome: str = "measured"
    cause: str = ""
    remedy: str = ""

    def allgather(self, thing: Any) -> list[Any]:
        return list(self.everyone)

    def said(self) -> dict[str, Any]:
        """The fields of a Record."""
        found = [(metric, value, variant) for (metric, variant), values in self.samples.items() for value in values]
        return {
            "check": self.check.name, "rank": self.rank, "samples": found, "outcome": self.outcome,
            "cause": self.cause, "remedy": self.remedy, "unsupported": self.refused, "facts": self.facts,
        }  # fmt: skip


def main() -> None:
    """Begin everywhere, measure everywhere, compare everywhere, tell."""
    ranks = int(sys.argv[1])
    checks: tuple[Check, ...] = (Identity(), Health(period_s=0.01))
    folder = Path(sys.argv[2])
    seats = [
        Seat(check, rank=r, local_rank=r, size=ranks, gpus_asked=ranks, folder=folder)
        for check in checks
        for r in range(ranks)
    ]
    for seat in seats:
        _do(seat, lambda seat: setattr(seat, "begun", seat.check.begin(seat)))
    until_sampled(*seats)
    kept = [_do(seat, lambda seat: seat.check.measure(seat)) for seat in seats]
    for seat in seats:
        seat.everyone = tuple(kept[ranks:])
        if seat.outcome == "measured":
            seat.check.compare(seat, kept[seats.index(seat)])
    print(json.dumps([seat.said() for seat in seats]))  # noqa: T201


def _do(seat: Seat, action: Any) -> Any:
    """As the rank program does: what stands in the way is kept, and the check goes no further."""
    if seat.outcome != "measured":
        return None
    try:
        return action(seat)
    except Unavailable as why:
        seat.outcome, seat.cause, seat.remedy = "not_run", why.cause, why.remedy
    except HpcacceptError as why:
        seat.outcome, seat.cause, seat.remedy = "error", why.message, why.remedy
    return None


if __name__ == "__main__":
    main()
