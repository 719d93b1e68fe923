"""The processes that NCCL's RAS service (2.24 and later) misses, and those that are behind, from the text that it answers STATUS with.

Traps:
    * ``MISMATCH`` names the smaller of two groups of ranks, whether it is behind or ahead: only those with the lowest count are behind.
    * A rank is a rank of a communicator, not of the job: processes are told by number and address.
    * A communicator that is being opened or closed is INCOMPLETE too, with ranks that cannot be: of it only processes are read that
      RAS misses in the job, under the heading without a communicator.

Sources: https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting/ras.html, issues of NVIDIA/nccl
(``tests/data/nccl_ras/README.md``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

State = Literal["dead", "unresponsive", "behind"]
#: What a heading without a communicator says of the processes below it.
_OF_JOB: dict[str, State] = {"DEAD": "dead", "INCOMPLETE": "unresponsive"}

_HEADING = re.compile(r"^(?:(?P<comm>#\d+-\d+) \([0-9a-fx]+\) )?(?P<what>[A-Z]+(?:,[A-Z]+)*)$")
_PROCESS = re.compile(r"^\s*Process (?P<pid>\d+) on node (?P<node>\S+) managing GPU")
_RANK = re.compile(r"^\s*Rank \d+ -- GPU \d+ managed by process (?P<pid>\d+) on node (?P<node>\S+)$")
_COUNT = re.compile(r"^\s*\d+ ranks? ha(?:s|ve) launched up to operation (?P<count>\d+)$")
_COUNTS = re.compile(r"ranks have different .*operation counts$")


@dataclass(frozen=True)
class Suspect:
    """A process that RAS speaks of.

    Attributes:
        pid: its number on its host.
        node: its address, as NCCL knows it.
        state: ``dead`` (not reached for 60 s), ``unresponsive``, or ``behind`` in launching collectives.
    """

    pid: int
    node: str
    state: State


def suspects_of(status: str) -> tuple[Suspect, ...]:
    """The processes that are dead, do not answer, or are behind all others; each once, by the first that is said of it."""
    found: dict[tuple[int, str], Suspect] = {}
    for heading, lines in _blocks(status):
        state = _OF_JOB.get(heading["what"]) if not heading["comm"] else None
        named = [(match, state) for line in lines if state and (match := _PROCESS.match(line))]
        named = named or [(match, "behind") for match in _behind(lines)]
        for match, said in named:
            process = int(match["pid"]), match["node"]
            found.setdefault(process, Suspect(*process, said))
    return tuple(found.values())


def _blocks(status: str) -> Iterator[tuple[re.Match[str], list[str]]]:
    """Each heading with the indented lines below it."""
    heading: re.Match[str] | None = None
    lines: list[str] = []
    for line in [*status.splitlines(), ""]:
        if heading and line.startswith(" "):
            lines.append(line)
            continue
        if heading:
            yield heading, lines
        heading, lines = _HEADING.match(line), []


def _behind(lines: list[str]) -> list[re.Match[str]]:
    """Ranks that are named below the lowest count; none where a count is of ranks that nobody names."""
    if not any(_COUNTS.search(line) for line in lines):
        return []
    counts: list[tuple[int, list[re.Match[str]]]] = []
    for line in lines:
        if match := _COUNT.match(line):
            counts.append((int(match["count"]), []))
        elif counts and (match := _RANK.match(line)):
            counts[-1][1].append(match)
    return min(counts, key=lambda one: one[0])[1] if len(counts) > 1 else []
