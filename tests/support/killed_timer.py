"""``python -m support.killed_timer``: a timer that kills itself before or after its n-th step; one JSON request a line, one answer a line.

Each request is carried out by a fork of this process, which has no threads: that costs milliseconds. A step is a line of the journal, a file of
progress, a process that is started or ended, a request to Slurm or to the marketplace, or something that is done on a rented machine; each counts
twice, before and after it. What a rented machine does is done here, in a folder, without ssh.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept.app.schedule import add, here, machine, on_slurm, records, rented, timer
from hpcaccept.app.schedule.clock import Clock
from hpcaccept.app.schedule.recipe_file import parse_recipe
from hpcaccept.app.vast.session import Session
from hpcaccept.store import entry_journal
from hpcaccept.transport import rsync, sessions, vast_api
from hpcaccept.transport.ssh import SshDone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Steps:
    """Counts, and kills."""

    def __init__(self, at: int) -> None:
        self.at, self.count = at, 0

    def tick(self) -> None:
        self.count += 1
        if self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, name: str) -> None:
        """Count before and after each call of a function."""
        real: Callable[..., Any] = getattr(owner, name)

        def counted(*words: Any, **named: Any) -> Any:
            self.tick()
            found = real(*words, **named)
            self.tick()
            return found

        setattr(owner, name, counted)


def _here_instead_of_ssh(folder: Path) -> None:
    """What is done on a machine is done in a folder, which its end removes."""

    def place(it: machine.Machine) -> Path:
        return folder / it.keys.parent.name / it.keys.name

    def run(it: machine.Machine, command: str, *, deadline_s: float = 30.0, given: bytes = b"") -> SshDone:
        place(it).mkdir(parents=True, exist_ok=True)
        words = ["bash", "-c", command.replace(machine.ROOT, str(place(it)))]
        done = subprocess.run(words, input=given, capture_output=True, timeout=deadline_s, check=False)
        return SshDone(done.returncode, done.stdout, done.stderr.decode())

    def copied(source: Path, names: Sequence[str], target: Path) -> rsync.Synced:
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            if (source / name).is_dir():
                shutil.copytree(source / name, target / name, dirs_exist_ok=True)
            elif (source / name).exists():
                shutil.copy2(source / name, target / name)
        return rsync.Synced(whole=True, size_bytes=1)

    def send(it: machine.Machine, source: Path, names: Sequence[str], into: str, *_: Any) -> rsync.Synced:
        return copied(source, names, Path(into.replace(machine.ROOT, str(place(it)))))

    def fetch(it: machine.Machine, target: Path, names: Sequence[str], of: str, *_: Any, by_hash: bool) -> rsync.Synced:
        return copied(Path(of.replace(machine.ROOT, str(place(it)))), names, target)

    for method in (run, send, fetch):
        setattr(machine.Machine, method.__name__, method)


def _prepared(request: dict[str, Any]) -> Steps:
    steps = Steps(request.get("kill", 0))
    steps.around(entry_journal, "append")
    steps.around(records, "replace_file")
    steps.around(here, "spawn_detached")
    steps.around(sessions, "end_session")
    steps.around(on_slurm, "hand_in")
    for name in ("_put_back", "_release", "_scancel"):
        steps.around(on_slurm, name)
    vast_api.INTERVAL_S = 0.0
    rented.REMOVE_WAIT_S, rented.LISTED_S = 0.01, 0.5
    for name in ("create", "destroy"):
        steps.around(Session, name)
    if request.get("machines"):
        _here_instead_of_ssh(Path(request["machines"]))
        for name in ("run", "send", "fetch"):
            steps.around(machine.Machine, name)
    return steps


def carry_out(request: dict[str, Any]) -> dict[str, Any]:
    """One request: ``add``, ``once``, or a wish (``pause``, ``resume``, ``stop``)."""
    os.chdir(request["tree"])
    steps = _prepared(request)
    top, there = add.top_and_records(Path.cwd())
    said: list[str] = []
    later, boot = float(request.get("later_s", 0.0)), request.get("boot", "")
    clock = Clock(wall=lambda: time.time() + later, boot=(lambda: boot) if boot else Clock().boot)
    if request["do"] == "add":
        recipe = parse_recipe(request["recipe"], "the test")
        wanted = add.Request(
            top,
            recipe,
            request["place"],
            clock.now().replace(microsecond=0) + dt.timedelta(seconds=request.get("in_s", 0)),
        )
        add.add(wanted, there, clock.now(), said.append)
    elif request["do"] == "once":
        timer.run_once(there, said.append, clock)
    else:
        timer.carry_out(there, there.one(""), request["do"], said.append, clock)
    return {"said": said, "steps": steps.count}


def main(carry_out: Callable[[dict[str, Any]], dict[str, Any]] = carry_out) -> None:
    """Until the end of the input."""
    os.environ["PYTHONUNBUFFERED"] = "1"
    for line in sys.stdin:
        read, write = os.pipe()
        child = os.fork()
        if not child:
            answer: dict[str, Any] = {}
            with contextlib.suppress(BaseException):
                try:
                    answer = carry_out(json.loads(line))
                except Exception as fault:  # noqa: BLE001 (the test shows it)
                    answer = {"fault": f"{type(fault).__name__}: {fault}"}
                os.write(write, json.dumps(answer).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            text = pipe.read()
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        sys.stdout.write(json.dumps({"killed": killed, **(json.loads(text) if text else {})}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
