"""A run on the nodes of a cluster goes on, and comes here, whatever becomes of the connection.

hpcaccept is started on the first node over ssh, over all nodes as hosts. What was begun is on the disk here before it begins there: whoever loses the
connection, or is killed, comes back to the same run (``come_back``). Nothing else is begun on these nodes until it has come here.
"""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from hpcaccept.app.azure.gather import gather
from hpcaccept.bounded import read_text
from hpcaccept.errors import LaunchError, RunError, UsageError
from hpcaccept.serial import dumps, from_plain, loads
from hpcaccept.store.replaced_files import replace_files
from hpcaccept.transport.ssh import follow_there

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: In the cluster's folder: the run that has not come here yet.
NOTE = "run-there.json"
#: Of a run's folder and of the folder ``isolation`` in it.
_FETCHED = (
    "plan.json", "job.json", "driver.jsonl", "run.h5", "report.json", "report.html",
    "isolation.json", "isolation.jsonl", "isolation-report.json", "isolation-report.html",
)  # fmt: skip
_ISOLATION = "isolation"
#: Without it a run has not come: what a command leaves last.
_NEEDED = {"submit": "run.h5", "isolate": "isolation-report.json"}
#: Exit codes of hpcaccept; a shell has others.
_CODES = (0, 1, 2, 3, 130)
_RUN = re.compile(r"[0-9]{8}-[0-9]{6}-[A-Za-z0-9_.-]{1,120}")
_MOST_BYTES = 1 << 30
_FETCH_S = 600.0
_SSH_FAILED = 255
#: From the note to the run's folder: Python starts there, from a shared folder.
BEGIN_S = 120.0
_LOOK_S = 2.0


@dataclass(frozen=True)
class Begun:
    """What was begun on the nodes.

    Attributes:
        command: ``submit`` or ``isolate``.
        head: node that it was started on.
        folder: of its runs there.
        python: that imports hpcaccept there.
        at: when (UTC, ISO 8601).
        before: runs that were in the folder already.
    """

    command: str
    head: str
    folder: str
    python: str
    at: str
    before: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ended:
    """A run that has ended.

    Attributes:
        code: exit code of hpcaccept there.
        folder: the run, here; None where there was none.
    """

    code: int
    folder: Path | None


def now() -> str:
    """For ``Begun.at``."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def must_be_free(place: Path, again: str) -> None:
    """Raise RunError where a run of this cluster has not come here yet; ``again`` is what brings it."""
    begun = _read(place)
    if begun:
        raise RunError(
            f"A run that was begun on {begun.head} at {begun.at} ({begun.command}) has not come here yet: a second one beside it would disturb both.",
            f"Bring it here: {again}. If {_gone(place)}",
        )


def hpcaccept_is_there(head: str, config: Path, python: str) -> None:
    """Raises LaunchError for a first node that cannot be reached, or whose Python does not import hpcaccept."""
    asked = shlex.join([python, "-c", "import hpcaccept"])
    (found,) = gather([head], asked, config=config, deadline_s=60, most_bytes=65536)
    if found.why:
        raise LaunchError(
            f"{python} on {head} cannot start hpcaccept: it {found.why}.",
            "Install it there at the same path on every node (pip install '.[rank]' in a checkout), and name its Python: --python PATH",
        )


def runs_in(folder: str, head: str, config: Path) -> tuple[str, ...]:
    """Names of the runs in a folder of the nodes, oldest first; none where there is no such folder.

    Raises:
        LaunchError: the node cannot say.
    """
    quoted = shlex.quote(folder)
    asked = f"ls -1 -- {quoted} || test ! -e {quoted}"
    (listed,) = gather([head], asked, config=config, deadline_s=60, most_bytes=1 << 20)
    if listed.why:
        raise LaunchError(f"Cannot list {folder} on {head}: it {listed.why}.")
    names = listed.output.decode("utf-8", "replace").split()
    return tuple(sorted(name for name in names if _RUN.fullmatch(name)))


def start(
    begun: Begun,
    words: Sequence[str],
    environment: Mapping[str, str],
    config: Path,
    place: Path,
    again: str,
    say: Callable[[str], None],
) -> Ended:
    """Write down what begins, begin it, hand on what it prints, and bring it here.

    Args:
        begun: what is written down.
        words: after ``hpcaccept``.
        environment: variables of the ranks.
        config: of ssh.
        place: folder here that gets ``runs/RUN``.
        again: what somebody types whose connection is lost.
        say: is told each line.

    Raises:
        LaunchError: the connection was lost, or hpcaccept did not come to its own end.
        RunError: the run has left nothing that could be fetched, or the folder cannot be written.
    """
    replace_files({NOTE: dumps(begun).encode()}, place)
    command = ["env", *(f"{key}={value}" for key, value in environment.items())]
    command += [begun.python, "-m", "hpcaccept", *words]
    say(f"on {begun.head}: {shlex.join(command)}")
    return _followed(begun, command, config, place, again, say)


def come_back(config: Path, place: Path, again: str, say: Callable[[str], None], node: str = "") -> Ended:
    """Wait for the run that was begun, and bring it here.

    Args:
        config: of ssh.
        place: as for ``start``.
        again: as for ``start``.
        say: is told each line.
        node: that is asked instead of the one that it was begun on, which is gone: what their folder has is judged.

    Raises:
        UsageError: none was begun that has not come here already.
        LaunchError: its node cannot be reached; ``again`` may help.
        RunError: as ``start``; or nothing had begun there.
    """
    begun = _read(place)
    if begun is None:
        raise UsageError(f"{place} knows of no run that has not come here yet.")
    begun = replace(begun, head=node) if node else begun
    until = datetime.fromisoformat(begun.at).timestamp() + BEGIN_S
    while not (run := _run_of(begun, config, place, again)):
        if time.time() >= until:
            (place / NOTE).unlink(missing_ok=True)
            raise RunError(f"What was to begin on {begun.head} at {begun.at} has not begun: {begun.folder} has no run.")
        time.sleep(_LOOK_S)
    command = [begun.python, "-m", "hpcaccept", "wait", run, "--runs-dir", begun.folder]
    say(f"on {begun.head}: {shlex.join(command)}")
    return _followed(begun, command, config, place, again, say)


def _followed(
    begun: Begun, command: Sequence[str], config: Path, place: Path, again: str, say: Callable[[str], None]
) -> Ended:
    try:
        code = follow_there(config, begun.head, shlex.join(command), say)
    except KeyboardInterrupt:
        say(f"What has begun on {begun.head} goes on there. Come back with: {again}")
        raise
    if code == _SSH_FAILED:
        raise LaunchError(
            f"The connection to {begun.head} was lost, or never made; what has begun there goes on.",
            f"Come back with: {again}",
        )
    run = _run_of(begun, config, place, again)
    if run is None:
        (place / NOTE).unlink(missing_ok=True)
    if code not in _CODES or (code == 1 and run is None):
        # A shell that finds no program ends with 127, a killed one with 137, a Python that breaks with 1: no verdict on anybody.
        raise LaunchError(
            f"hpcaccept {begun.command} ended on {begun.head} with {code}"
            + ("" if run else " and left no run")
            + ": that is not a verdict on a node.",
            f"See what it said above{f', and come back with: {again}' if run else ''}.",
        )
    folder = _fetched(begun, run, config, place) if run else None
    (place / NOTE).unlink(missing_ok=True)
    return Ended(code, folder)


def _run_of(begun: Begun, config: Path, place: Path, again: str) -> str | None:
    try:
        there = runs_in(begun.folder, begun.head, config)
    except LaunchError as fault:
        raise LaunchError(fault.message, f"Try again: {again}. If {_gone(place)}") from None
    return next((name for name in reversed(there) if name not in begun.before), None)


def _gone(place: Path) -> str:
    return f"that node is gone for good: --node NAME asks another one; if all are: rm {place / NOTE}"


def _read(place: Path) -> Begun | None:
    try:
        return from_plain(loads(read_text(place / NOTE)), Begun)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as fault:
        raise RunError(f"Cannot read {place / NOTE}: {fault}.", f"rm {place / NOTE}") from None


def _fetched(begun: Begun, run: str, config: Path, place: Path) -> Path:
    """The run's files, here."""
    there, here = f"{begun.folder}/{run}", place / "runs" / run
    found = _files(there, begun.head, config)
    needed = _NEEDED[begun.command]
    if needed not in found:
        raise RunError(
            f"The run {run} could not be fetched from {begun.head}: it has no {needed}.",
            f"It stays there: ssh -F {config} {begun.head} ls {shlex.quote(there)}",
        )
    replace_files(found, here)
    if inside := _files(f"{there}/{_ISOLATION}", begun.head, config):
        replace_files(inside, here / _ISOLATION)
    return here


def _files(folder: str, head: str, config: Path) -> dict[str, bytes]:
    """Name → content of what is fetched of a folder there.

    Raises:
        LaunchError: a file that is there does not come.
    """
    asked = f"cd -- {shlex.quote(folder)} 2>/dev/null && ls -1 || true"
    (listed,) = gather([head], asked, config=config, deadline_s=60, most_bytes=1 << 20)
    if listed.why:
        raise LaunchError(f"Cannot list {folder} on {head}: it {listed.why}.")
    there = set(listed.output.decode("utf-8", "replace").split())
    files = {}
    for name in (name for name in _FETCHED if name in there):
        path = shlex.quote(f"{folder}/{name}")
        (found,) = gather([head], f"cat -- {path}", config=config, deadline_s=_FETCH_S, most_bytes=_MOST_BYTES)
        if found.why:
            raise LaunchError(f"{folder}/{name} could not be fetched from {head}: it {found.why}.")
        files[name] = found.output
    return files
