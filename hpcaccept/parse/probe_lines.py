"""Lets many processes speak through one standard output without mixing their lines.

A message is cut into short lines: launchers pass on lines whole, but what is longer than about a kilobyte only in pieces, between
which others speak. Each line says whose it is and which piece::

    hpcaccept-probe SOURCE facts NUMBER 2/4 …text…
    hpcaccept-probe SOURCE pong 0 1/1 1795336292.25 1795336292.31

Whatever else stands in the output (banners of images, warnings of MPI) is none of ours and is left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields

from hpcaccept.model.doctor.probe import Clock, NodeFacts
from hpcaccept.serial import from_plain

_MARK = "hpcaccept-probe"
#: Characters of a piece: at most four bytes each.
_PIECE = 200


def framed(source: str, kind: str, number: int, text: str) -> list[str]:
    """The lines of a message.

    Args:
        source: a word that no other process has.
        kind: ``facts`` or ``pong``.
        number: of the message.
        text: without line ends.
    """
    pieces = [text[i : i + _PIECE] for i in range(0, len(text), _PIECE)] or [""]
    return [f"{_MARK} {source} {kind} {number} {i}/{len(pieces)} {piece}" for i, piece in enumerate(pieces, 1)]


@dataclass
class ProbeReader:
    """What was heard so far.

    Attributes:
        facts: source → the last that it said of itself.
    """

    facts: dict[str, NodeFacts] = field(default_factory=dict)
    _pieces: dict[tuple[str, int], dict[int, str]] = field(default_factory=dict)
    _answers: dict[str, Clock] = field(default_factory=dict)

    def add(self, arrived_s: float, line: str) -> None:
        """One line of output and when it came, by the clock of this machine. A line that others have written into is left out."""
        _, mark, rest = line.rstrip("\r\n").partition(f"{_MARK} ")
        words = rest.split(" ", 4)
        if not mark or len(words) != 5:
            return
        try:
            if words[1] == "pong":
                self._answer(words[0], arrived_s, words[4])
            elif words[1] == "facts":
                self._piece(words[0], int(words[2]), words[3], words[4])
        except ValueError:
            return

    def _piece(self, source: str, number: int, place: str, piece: str) -> None:
        index, _, count = place.partition("/")
        pieces = self._pieces.setdefault((source, number), {})
        pieces[int(index)] = piece
        if len(pieces) == int(count):
            del self._pieces[source, number]
            self.facts[source] = _facts("".join(pieces[i] for i in sorted(pieces)))

    def _answer(self, source: str, arrived_s: float, piece: str) -> None:
        asked_s, said_s = map(float, piece.split(" "))
        bound_s = (arrived_s - asked_s) / 2
        best = self._answers.get(source)
        # A clock that was set in between makes a way of negative length, which says nothing.
        if bound_s >= 0 and (best is None or bound_s < best.bound_s):
            self._answers[source] = Clock("", said_s - (asked_s + arrived_s) / 2, bound_s)

    @property
    def clocks(self) -> tuple[Clock, ...]:
        """The quickest answer of each node."""
        best: dict[str, Clock] = {}
        for source, clock in self._answers.items():
            node = self.facts[source].node if source in self.facts else ""
            if node and (node not in best or clock.bound_s < best[node].bound_s):
                best[node] = Clock(node, clock.ahead_s, clock.bound_s)
        return tuple(best[node] for node in sorted(best))


def _facts(text: str) -> NodeFacts:
    """What is understood of a node's words: another version of hpcaccept may say less, more, or other things."""
    plain = json.loads(text)
    known = {f.name: plain[f.name] for f in fields(NodeFacts) if f.name in plain}
    try:
        return from_plain(known, NodeFacts)
    except ValueError:
        return NodeFacts(node=str(plain.get("node", "")), version=str(plain.get("version", "")), done=True)
