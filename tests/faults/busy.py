"""``python -m faults.busy``: is a healthy node blamed on a busy machine, and is a slow one found on an idle one?

Four virtual nodes run products, copies and burn for some seconds, under steady, bursty and uneven load, on this machine and on the
virtual Slurm; then one node of four is held at half of a core. Exit status 0 when no healthy node failed in any run, and the
slow one was named in nine of ten.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from support.slurm_fixtures import WHY_NOT
from support.submission import submit, suite_file
from system.cluster import VirtualSlurm

from faults import quota
from faults.results import keep, kept

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "detection.md"
_MARK = "<!-- made by python -m faults.busy -->"
SUITE = """[checks.identity]
[checks.matmul]
dtypes = ["fp32"]
[checks.memory_bandwidth]
size_bytes = 67108864
[checks.burn]
duration_s = 2.0
"""
#: Load → the words of stress-ng; none: nothing, or what comes and goes.
STEADY = {"idle": [], "cpu": ["--cpu", "8"], "memory": ["--stream", "4", "--vm", "2", "--vm-bytes", "256m"]}
_SLOW = "node2"


@contextlib.contextmanager
def load(name: str) -> Iterator[None]:
    """Other programs on this machine while open."""
    if name == "uneven":
        with _uneven():
            yield
        return
    words = STEADY[name]
    process = subprocess.Popen(["stress-ng", "--quiet", *words]) if words else None
    try:
        yield
    finally:
        if process:
            process.terminate()
            process.wait(30)


@contextlib.contextmanager
def _uneven() -> Iterator[None]:
    """Between none and six busy processes, each for a random while: installations, test runs, jobs of others."""
    over, dice = threading.Event(), random.Random(7)

    def work() -> None:
        while not over.is_set():
            words = dice.choice(
                [["--cpu", str(dice.randint(1, 6))], ["--vm", "2", "--vm-bytes", "256m"], ["--fork", "4"]]
            )
            subprocess.run(["stress-ng", "--quiet", *words, "--timeout", f"{dice.uniform(0.5, 6):.1f}s"], check=False)
            over.wait(dice.uniform(0.0, 5.0))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)


@dataclass
class Cell:
    """The runs of one load under one launcher."""

    load: str
    launcher: str
    slow: bool = False
    codes: list[int] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    doubted: int = 0

    @property
    def key(self) -> list[str]:
        """Which one it is, in a file of results."""
        return [self.load, self.launcher, "slow" if self.slow else "healthy"]

    def add(self, code: int, nodes: dict[str, str]) -> None:
        """Count what a run says of its nodes.

        Args:
            code: exit status.
            nodes: node → outcome.
        """
        self.codes.append(code)
        self.failed += [node for node, outcome in nodes.items() if outcome == "FAIL"]
        self.doubted += sum(outcome == "WARN" for outcome in nodes.values())

    @property
    def innocent(self) -> list[str]:
        """Healthy nodes that failed."""
        return [node for node in self.failed if not self.slow or node != _SLOW]

    def cells(self) -> tuple[str, ...]:
        """For the table."""
        named = f"{self.failed.count(_SLOW)} of {len(self.codes)}" if self.slow else "–"
        counts = {code: self.codes.count(code) for code in (0, 1, 3)}
        what = f"{self.load}, one node at half a core" if self.slow else self.load
        return (
            what,
            self.launcher,
            str(len(self.codes)),
            str(len(self.innocent)),
            named,
            str(self.doubted),
            f"{counts[0]} / {counts[1]} / {counts[3]}",
        )


def one(cell: Cell, slurm: VirtualSlurm | None) -> tuple[int, dict[str, str]]:
    """Exit status, and outcome of each node, of one run of a cell."""
    folder = Path(tempfile.mkdtemp(prefix="hpcaccept-busy-"))
    try:
        with contextlib.ExitStack() as around:
            if cell.slow:
                assert slurm is not None
                around.enter_context(quota.quota(slurm.slurmd_pid(_SLOW), share=0.5))
            around.enter_context(load(cell.load))
            env = slurm.env if slurm and cell.launcher == "slurm" else {}
            words = ("--nodes", "4", "--launcher", cell.launcher)
            done = submit(folder / "runs", suite_file(folder, SUITE), *words, env=env).finish(400)
            return done.code, done.report.get("nodes", {})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Run them, print, write."""
    parser = argparse.ArgumentParser(prog="python -m faults.busy", description=__doc__)
    parser.add_argument("--repeats", type=int, default=10, metavar="N", help="runs of each (%(default)s)")
    parser.add_argument("--loads", nargs="*", default=[*STEADY, "uneven"], metavar="LOAD", help="only under these")
    parser.add_argument("--into", type=Path, metavar="FILE", help="keep results there too, and count those that it has")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args()
    launchers = ["local", *([] if WHY_NOT else ["slurm"])]
    cells = [Cell(name, launcher) for name in (*STEADY, "uneven") for launcher in launchers]
    cells += [] if WHY_NOT or quota.why_not() else [Cell("idle", "slurm", slow=True)]
    for key, result in kept(options.into):
        for cell in (cell for cell in cells if cell.key == key):
            cell.add(*result)
    with contextlib.ExitStack() as open_things:
        slurm = None
        if not WHY_NOT:
            place = Path(tempfile.mkdtemp(prefix="hpcaccept-busy-", dir="/run"))
            slurm = open_things.enter_context(VirtualSlurm.up(place))
        # One run of each cell in turn: what the hour does to the machine it does to all of them.
        for number in range(options.repeats):
            for cell in (cell for cell in cells if cell.load in options.loads and len(cell.codes) <= number):
                said = one(cell, slurm)
                cell.add(*said)
                keep(options.into, cell.key, said)
                sys.stdout.write("  ".join(cell.cells()) + "\n")
                sys.stdout.flush()
            if options.write_docs:
                _write(cells)
    slow = [cell for cell in cells if cell.slow]
    found = all(cell.failed.count(_SLOW) >= 0.9 * len(cell.codes) for cell in slow)
    return 0 if found and not any(cell.innocent for cell in cells) else 1


def _write(cells: list[Cell]) -> None:
    head = (
        "other programs",
        "launcher",
        "runs",
        "healthy nodes that failed",
        "slow node named",
        "nodes in doubt",
        "accepted / not accepted / not judged",
    )
    rows = [head, tuple("---" for _ in head), *(cell.cells() for cell in cells)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    before, _, rest = PAGE.read_text("utf-8").partition(_MARK)
    PAGE.write_text(f"{before}{_MARK}\n{table}\n{_MARK}{rest.partition(_MARK)[2]}", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
