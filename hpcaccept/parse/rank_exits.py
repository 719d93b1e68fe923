"""The ranks that a launcher reports dead, and how they died.

Recorded from srun 22.05 to 26.05 and Open MPI 4.1 / 5.0 (tests/data/launchers, slurm). What is not understood is not guessed: the
caller falls back on the journals.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_RANKS = 1 << 20
#: srun: error: node2: task 2: Killed   |   srun: error: node2: tasks 4-7: Exited with exit code 1
_SRUN = re.compile(r"^srun: error: (?P<node>\S+): tasks? (?P<ranks>\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*): (?P<how>.+)$", re.M)
#: mpiexec noticed that process rank 2 with PID 4395 on node vm exited on⏎signal 9 (Killed).
_MPIEXEC_SIGNAL = re.compile(
    r"noticed that process rank (?P<rank>\d+) with PID \d+ on node (?P<node>\S+)\s+exited\s+on\s+signal\s+(?P<how>\d+ \([^)]*\))"
)
#: Process name: [[36083,1],2]⏎  Exit code:    3     (Open MPI 4)   |   [prterun-vm-4389@1,2]⏎ Exit code: 3   (Open MPI 5)
_MPIEXEC_EXIT = re.compile(
    r"Process name:\s+\[(?:\[\d+,\d+\]|[^\],]*@\d+),(?P<rank>\d+)\]\s+Exit code:\s+(?P<code>\d+)"
)


@dataclass(frozen=True)
class Death:
    """A rank that the launcher saw die.

    Attributes:
        rank: its number in the step.
        node: as the launcher calls it; for virtual nodes that is the host.
        how: the launcher's words (``Killed``, ``signal 9 (Killed)``, ``Exited with exit code 1``).
    """

    rank: int
    node: str
    how: str


def parse_deaths(text: str) -> list[Death]:
    """Every death in the standard error of srun or mpiexec, in the order in which it was told."""
    found: list[tuple[int, Death]] = []
    for match in _SRUN.finditer(text):
        found += [(match.start(), Death(rank, match["node"], match["how"].strip())) for rank in _ranks(match["ranks"])]
    found += [
        (match.start(), Death(int(match["rank"]), match["node"], f"signal {match['how']}"))
        for match in _MPIEXEC_SIGNAL.finditer(text)
    ]
    found += [
        (match.start(), Death(int(match["rank"]), "", f"exit code {match['code']}"))
        for match in _MPIEXEC_EXIT.finditer(text)
    ]
    return [death for _, death in sorted(found, key=lambda pair: pair[0])]


def _ranks(text: str) -> list[int]:
    ranks: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        # Ranks print into the same stream: a range that no cluster has is no word of srun's.
        if int(last or first) < MOST_RANKS:
            ranks.extend(range(int(first), int(last or first) + 1))
    return ranks
