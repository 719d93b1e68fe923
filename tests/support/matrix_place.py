"""A place whose cells end as a test says: it writes what the machine of a cell would have written, and starts no process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hpcaccept.app.matrix import said
from hpcaccept.app.matrix.folder import now
from hpcaccept.app.matrix.order import order_in
from hpcaccept.errors import LaunchError
from hpcaccept.model.job import JobRef, JobStatus
from hpcaccept.store import entry_journal

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.model.matrix.matrix import Cell


class ToldPlace:
    """See above.

    Attributes:
        ends: id of a cell → outcome of each attempt; not there: PASS. ``pending``, ``stuck``: it never begins; ``refused``: it is not taken;
            ``silent``: its job is over without a word.
        down: names of machines that are not there.
        facts: that each machine says.
        seconds: that each cell takes by its own word.
        started: cells, in the order in which they were started.
        at_once: the most that were open at the same time.
    """

    by_hand = False
    provides = frozenset({"container", "one machine"})

    def __init__(self, ends: dict[str, list[str]] | None = None, down: tuple[str, ...] = (), seconds: float = 36.0) -> None:  # fmt: skip
        self.ends, self.down, self.seconds = ends or {}, down, seconds
        self.facts: dict[str, str] = {"machine.host": "n0", "driver.version": "550.54"}
        self.started: list[str] = []
        self.cancelled: list[str] = []
        self.at_once = 0
        self._states: dict[str, str] = {}

    def no_machine(self, cell: Cell) -> str:
        return "it is down" if cell.machine.name in self.down else ""

    def start(self, cell: Cell, folder: Path, word: str) -> JobRef:
        outcome = self._next(cell.id)
        if outcome == "refused":
            raise LaunchError("Slurm refused the job: invalid account")
        self.started.append(cell.id)
        job = JobRef("", str(len(self.started)))
        self.at_once = max(self.at_once, len(self.started) - len(self.cancelled))
        self._states[job.id] = outcome
        if outcome in ("PASS", "FAIL", "ERROR"):
            speak(folder, outcome, self.facts, self.seconds)
        return job

    def _next(self, cell: str) -> str:
        told = self.ends.get(cell, [])
        return told.pop(0) if told else "PASS"

    def find(self, folder: Path, word: str) -> JobRef | None:
        return None

    def status(self, job: JobRef) -> JobStatus:
        state = self._states[job.id]
        if state == "pending":
            return JobStatus("pending", "Resources")
        if state == "stuck":
            return JobStatus("stuck", "PENDING, PartitionDown")
        return JobStatus("node_fail", "NODE_FAIL", nodes=("n0",))

    def cancel(self, job: JobRef) -> None:
        self.cancelled.append(job.id)


def speak(folder: Path, outcome: str, facts: dict[str, str], seconds: float) -> None:
    """Write what a cell says whose tests all end so."""
    order = order_in(folder)
    lines: list[dict[str, Any]] = [{"facts": {"image.packages": "abc"}}]
    for test in order.inner["tests"]:
        log = f"test-{test['name']}.log"
        (folder / log).write_text(f"log of {test['name']}\n")
        reason = "" if outcome == "PASS" else "import torch: ImportError: libcudart.so.12"
        lines.append({"test": test["name"], "outcome": outcome, "reason": reason, "seconds": seconds, "log": log})
    lines.append({"end": True})
    (folder / said.RESULTS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    entry_journal.append(folder / said.MACHINE, [said.Began(now(), facts), said.Over(0, "", seconds)], now())


def write_matrix(folder: Path, images: int = 2, machines: int = 2, more: str = "", usd: float = 0.0) -> Path:
    """``m.toml`` with images i0 …, machines m0 … and one test."""
    tables = "".join(f"[images.i{n}]\n" for n in range(images))
    tables += "".join(f"[machines.m{n}]\nusd_per_hour = {usd}\nlimit_s = 3600\n" for n in range(machines))
    file = folder / "m.toml"
    file.write_text(f'name = "m"\n{more}\n{tables}[tests.t]\nimports = ["torch"]\n')
    return file
