"""The ranks of a step speak with each other through files of the run folder, which all of them see, where MPI is not theirs.

Each rank writes one file; rank 0 waits for all and writes what they say into one, which everybody else waits for: so every rank reads one file, not one
of each other. Slow (tenths of a second), and made for a few words before and after a program that speaks MPI itself.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from hpcaccept.bounded import read_bytes
from hpcaccept.errors import RunError
from hpcaccept.serial import dumps, loads
from hpcaccept.store.replaced_files import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_LOOK_S = 0.1
#: Of what 65,000 ranks say in some hundred bytes each.
_MOST_BYTES = 64 * 1024 * 1024


class FileMeeting:
    """The ranks of one step."""

    def __init__(
        self, folder: Path, rank: int, size: int, deadline_s: float, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Nobody has come yet.

        Args:
            folder: of this step, there already.
            rank: this one.
            size: how many there are.
            deadline_s: for each exchange.
            sleep: waits for seconds.
        """
        self._folder = folder
        self._rank = rank
        self._size = size
        self._deadline_s = deadline_s
        self._sleep = sleep
        self._round = 0

    def allgather(self, thing: Any) -> list[Any]:
        """What every rank says, by rank; plain JSON types. All ranks together.

        Raises:
            RunError: somebody did not come in time; rank 0 says who.
        """
        number, self._round = self._round, self._round + 1
        replace_file(self._word_of(number, self._rank), dumps(thing))
        together = self._folder / f"meeting-{number:02d}.json"
        if self._rank == 0:
            replace_file(together, dumps(self._collected(number)))
        found = self._awaited(together, lambda: "rank 0 did not say who is here")
        if not isinstance(found, list) or len(found) != self._size:
            raise RunError(f"{together.name} of the run folder is not that of {self._size} ranks.")
        return found

    def _word_of(self, number: int, rank: int) -> Path:
        return self._folder / f"meeting-{number:02d}-r{rank:06d}.json"

    def _collected(self, number: int) -> list[Any]:
        words: dict[int, Any] = {}

        def missing() -> str:
            absent = [rank for rank in range(self._size) if rank not in words]
            return f"{len(absent)} of {self._size} ranks did not come, the first is rank {absent[0]}"

        for rank in range(self._size):
            words[rank] = self._awaited(self._word_of(number, rank), missing)
        return [words[rank] for rank in range(self._size)]

    def _awaited(self, file: Path, missing: Callable[[], str]) -> Any:
        """What a file says, as soon as it is there; it comes into being whole."""
        until = time.monotonic() + self._deadline_s
        while True:
            try:
                return loads(read_bytes(file, most=_MOST_BYTES))
            except FileNotFoundError:
                if time.monotonic() > until:
                    raise RunError(f"deadline: after {self._deadline_s:g} s {missing()}.") from None
            except (OSError, ValueError) as fault:
                raise RunError(f"{file.name} of the run folder cannot be read: {fault}.") from None
            self._sleep(_LOOK_S)
            # A file server's client may remember for half a minute that there was no such file; a listing asks it anew.
            next(iter(self._folder.iterdir()), None)
