"""Destroys what a client has rented when the client itself is killed: a second process that reads a pipe of the first.

Nothing tells a killed process that it is killed. Its pipe ends, though: the guard then removes whatever carries the run's label, looks again for a while,
because a request that was under way may still make an instance, and ends. It gets the key by that pipe, and nothing else of it.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hpcaccept.app.vast import journal as journals
from hpcaccept.app.vast import session as sessions
from hpcaccept.app.vast.removal import remove
from hpcaccept.errors import HpcacceptError
from hpcaccept.transport.process import spawn_heir
from hpcaccept.transport.vast_api import VastApi

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcaccept.transport.process import Heir

FAREWELL = b"done\n"
LOG = "guard.log"
#: For so long after a client's end is looked for what its last request may have made, and how often.
LOOKS, BETWEEN_S = 12, 10.0
#: Words that start the guard; tests put others in their place.
COMMAND: tuple[str, ...] = (sys.executable, "-m", "hpcaccept", "vast", "guard")


def post(folder: Path, run: str, server: str, key: str) -> Heir:
    """Start the guard of a run.

    Raises:
        LaunchError: it does not start; then nothing is to be rented.
    """
    command = [*COMMAND, str(folder.resolve()), run, server]
    environ = {name: value for name, value in os.environ.items() if name != sessions.KEY_VARIABLE}
    return spawn_heir(command, key.encode() + b"\n", log=folder / LOG, env=environ, cwd=Path.cwd())


def stand(
    folder: Path,
    run: str,
    server: str,
    pipe: BinaryIO,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait for the end of the pipe; without a farewell, remove what the run has rented.

    Args:
        folder: of the run.
        run: whose label is removed.
        server: of the account.
        pipe: key in the first line, then nothing until the farewell.
        say: prints a line.
        sleep: waits for seconds.
    """
    key = pipe.readline().decode("ascii", "replace").strip()
    if FAREWELL in pipe.read():
        return
    session = sessions.Session(VastApi(server, key))
    say(f"The client of run {run} has ended without a word: what it has rented is removed.")
    removed, left, why = set[int](), set[int](), ""
    for look in range(LOOKS):
        if look:
            sleep(BETWEEN_S)
        found = remove(session, lambda each: each.run == run, sleep=sleep)
        removed |= set(found.gone)
        left, why = set(found.left), found.why
    journal = journals.Journal(folder)
    if left or why:
        say(f"NOT REMOVED: {', '.join(map(str, sorted(left))) or 'not known'}: {why}")
        _write(journal, journals.Left(0, tuple(sorted(left)), why), say)
    else:
        say(
            f"Removed: {', '.join(map(str, sorted(removed))) or 'there was nothing'}; a whole list of the account shows nothing of this run."
        )
        _write(journal, journals.Destroyed(0, tuple(sorted(removed)), 0.0, 0.0), say)


def _write(journal: journals.Journal, entry: journals.Entry, say: Callable[[str], None]) -> None:
    try:
        journal.write(entry, sessions.now())
    except HpcacceptError as fault:
        say(fault.message)
