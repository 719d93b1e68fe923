"""``python -m faults.deaths``: one rank dies, or stops, under each MPI and launcher; is it named alone, and the rest measured?

The rank of node2 is killed while MPI starts, in a check, in a collective and after its last record; it exits, is stopped, and takes more
memory than its control group has. Exit status 0 when in every run nobody else was named and all others were measured.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import ssh_hosts
from support.other_mpis import DEBIANS, MPIS, OPEN_MPI_5, Mpi
from support.slurm_fixtures import LAUNCHERS, WHY_NOT
from support.submission import ANY_NOISE, Finished, Submission, noise, submit, suite_file
from system.cluster import VirtualSlurm

from faults.results import keep, kept

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "detection.md"
_MARK = "<!-- made by python -m faults.deaths -->"
_BROKEN = Path(__file__).with_name("broken_rank.py")
_MEMORY = Path("/sys/fs/cgroup/memory")
#: Whose rank it is.
_RANK, _NODE = 2, "node2"
_OTHERS = ("node0", "node1", "node3")
_NOISE = noise(0.4, "os_noise", "os_noise:later", deadline_s=4)
#: Under PMI alone and under torch's own library, in turn: their survivors see different things.
_SUMS = """[checks.identity]
[limits."identity.cores"]
lower = 0.01
unit = "cores"
[checks.allreduce]
backends = ["BACKEND"]
sizes_bytes = [4096]
blocks = 1
block_s = 1.0
deadline_s = 20
[checks."os_noise:later"]
duration_s = 0.1
""" + ANY_NOISE.format(label="os_noise:later")
#: Of MPI's start: before it, inside of it, and when it is nearly over.
_START_S = (0.0, 0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Death:
    """How the rank ends.

    Attributes:
        name: for people.
        how: see ``broken_rank.end``.
        at: the same; empty: the check that measures.
    """

    name: str
    how: str
    at: str = "os_noise"

    def fault(self, number: int, group: str) -> dict[str, Any]:
        """For ``HPCACCEPT_FAULT``, in the run of this number; ``group``: name of the control group with little memory."""
        after_s = {"start": _START_S[number % len(_START_S)], "last:os_noise:later": 0.0, "allreduce": 0.5}.get(
            self.at, 0.15
        )
        common = {"kind": "end", "ranks": [_RANK], "step": "00", "at": self.at, "how": self.how}
        return {**common, "after_s": after_s, "group": group}

    def suite(self, number: int) -> str:
        """What is measured in the run of this number."""
        return _SUMS.replace("BACKEND", ("mpi", "device")[number % 2]) if self.at == "allreduce" else _NOISE


DEATHS = (
    Death("killed as MPI starts", "kill", "start"),
    Death("killed in a check", "kill"),
    Death("killed in a collective", "kill", "allreduce"),
    Death("killed after its last record", "kill", "last:os_noise:later"),
    Death("exits with code 5", "exit"),
    Death("stopped", "stop"),
    Death("out of memory", "memory"),
)


@dataclass(frozen=True)
class Result:
    """What a run said.

    Attributes:
        named: True when the rank was named as lost.
        blamed: others that were, or that have an ERROR or a FAIL.
        unmeasured: others without a value of some check; our node too, where it died after its last record.
        said: what is shown of a run in which something is wrong.
    """

    named: bool
    blamed: tuple[str, ...]
    unmeasured: tuple[str, ...]
    said: str


def result_of(death: Death, done: Finished) -> Result:
    """Who was named, and who was measured."""
    told = done.events("death") + done.events("excluded") + done.events("not_entered")
    named = {node for event in told for node in event["nodes"]}
    named |= {
        f"rank {rank}"
        for event in done.events("death")
        for rank in event["ranks"]
        if event["step"] == "00" and rank != _RANK
    }
    named |= {v["node"] or v["check"] for v in done.verdicts() if v["outcome"] in ("ERROR", "FAIL")}
    late = death.at.startswith("last:")
    asked = {"identity", "os_noise:later", "allreduce" if death.at == "allreduce" else "os_noise"}
    there = _measured(done.folder)
    unmeasured = [node for node in (*_OTHERS, *([_NODE] if late else [])) if not asked <= there.get(node, set())]
    right = any(event["ranks"] == [_RANK] and event["nodes"] == [_NODE] for event in done.events("death"))
    said = "; ".join(event["detail"] for event in told + done.events("ended"))
    return Result(right or late, tuple(sorted(named - {_NODE})), tuple(sorted(unmeasured)), said)


def _measured(folder: Path) -> dict[str, set[str]]:
    """Node → the checks that it has measured."""
    lines = [
        line
        for file in folder.glob("records/*/*.jsonl")
        for line in file.read_text().splitlines()
        if '"kind":"record"' in line
    ]
    found: dict[str, set[str]] = {}
    for record in (json.loads(line)["data"] for line in lines):
        if record["outcome"] == "measured":
            found.setdefault(record["node"], set()).add(record["check"])
    return found


@dataclass
class Cell:
    """The runs of one death under one MPI and launcher."""

    mpi: Mpi
    launcher: str
    death: Death
    results: list[Result] = field(default_factory=list)

    @property
    def key(self) -> list[str]:
        """Its name in a file of results."""
        return [self.mpi.name, self.launcher, self.death.name]

    @property
    def why_not(self) -> str:
        """Why it cannot be made here; empty when it can."""
        if self.launcher == "hosts" and self.mpi not in (DEBIANS, OPEN_MPI_5):
            return "needs Open MPI"
        if self.launcher == "slurm" and WHY_NOT:
            return WHY_NOT
        if self.launcher == "hosts" and ssh_hosts.why_not():
            return ssh_hosts.why_not()
        if self.death.how == "memory" and not os.access(_MEMORY / "cgroup.procs", os.W_OK):
            return "a memory limit needs root and a writable cgroup v1"
        return self.mpi.why_not()

    @property
    def right(self) -> int:
        """Runs in which the rank alone was named, and the rest was measured."""
        return sum(r.named and not r.blamed and not r.unmeasured for r in self.results)

    def text(self) -> str:
        """For the table."""
        if self.why_not or not self.results:
            return "–"
        wrong = Counter(f"{who} blamed" for r in self.results for who in r.blamed)
        wrong.update(f"{who} unmeasured" for r in self.results for who in r.unmeasured)
        wrong.update("not named" for r in self.results if not r.named)
        return ", ".join(
            [f"{self.right} of {len(self.results)}", *(f"{what} ({count} ×)" for what, count in sorted(wrong.items()))]
        )


@contextlib.contextmanager
def _memory_group(death: Death) -> Iterator[Path | None]:
    """A control group with little memory, while open; its members are gone by then or go back to the top."""
    if death.how != "memory":
        yield None
        return
    group = _MEMORY / f"hpcaccept-deaths-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(256 << 20))
        yield group
    finally:
        for member in (group / "cgroup.procs").read_text().split():
            (_MEMORY / "cgroup.procs").write_text(member)
        group.rmdir()


def interpreter(folder: Path, mpi: Mpi, launcher: str, *faults: dict[str, Any]) -> Path:
    """A Python for the ranks that loads this MPI and has faults; under Slurm the machine's own MPI would be taken before a wheel."""
    file = folder / "python"
    library = f"export MPI4PY_LIBMPI={shlex.quote(mpi.path)}\n" if mpi.path and launcher == "slurm" else ""
    file.write_text(
        f"#!/bin/sh\n{library}export HPCACCEPT_FAULT={shlex.quote(json.dumps(faults))}\n"
        f'[ "$2" != hpcaccept.rank ] || exec {shlex.join([str(mpi.python), str(_BROKEN)])} "$@"\n'
        f'exec {shlex.quote(str(mpi.python))} "$@"\n'
    )
    file.chmod(0o755)
    return file


def run(cell: Cell, number: int, env: dict[str, str], folder: Path) -> Finished:
    """One run of a cell in a folder; ``env``: what its launcher is reached with."""
    with _memory_group(cell.death) as group:
        python = interpreter(folder, cell.mpi, cell.launcher, cell.death.fault(number, group.name if group else ""))
        suite = suite_file(folder, cell.death.suite(number))
        started = start(cell.mpi, cell.launcher, cell.mpi.slurm, suite, python, env)
        if group:
            _put_into(group, started.pid(_RANK, check="os_noise"))
        return started.finish(200)


def _put_into(group: Path, rank: int) -> None:
    """The rank and its parent, as a scheduler would have it."""
    parent = Path(f"/proc/{rank}/stat").read_text().rpartition(")")[2].split()[1]
    for pid in (parent, str(rank)):
        (group / "cgroup.procs").write_text(pid)


def start(mpi: Mpi, launcher: str, slurm_type: str, suite: Path, python: Path, env: dict[str, str]) -> Submission:
    """Four nodes under this MPI, whose own mpiexec lies beside its interpreter; the ranks have the interpreter that is given."""
    who = ("--nodelist", "node[0-3]") if launcher == "hosts" else ("--nodes", "4")
    # An MPI that hangs as it starts (seen once: MPICH by PMI-2, on a busy machine) is told by the run, before the wait for it ends.
    mine = {**env, "HPCACCEPT_PYTHON": str(python), "HPCACCEPT_MPI": slurm_type, "HPCACCEPT_START_TIMEOUT_S": "60"}
    return submit(suite.parent / "runs", suite, *who, "--launcher", launcher, env=mine, python=str(mpi.python))


@dataclass
class Pair:
    """Runs of healthy nodes under an MPI and a type of ``srun --mpi`` that may not fit: does somebody get the blame?"""

    mpi: Mpi
    slurm_type: str
    said: list[str] = field(default_factory=list)

    @property
    def key(self) -> list[str]:
        """Its name in a file of results."""
        return [self.mpi.name, f"--mpi={self.slurm_type}"]

    def add(self, done: Finished) -> None:
        """Take what a run said."""
        blamed = [event["nodes"] for event in done.events("death") + done.events("excluded") if event["nodes"]]
        failed = [v["node"] for v in done.verdicts(outcome="FAIL")]
        ended = [event for event in done.events("ended") if event["detail"]]
        wrong = f"blames {blamed or failed}" if blamed or failed else ""
        told = (
            "what does not fit is said, with what to type" if ended and "--mpi" in ended[0]["remedy"] else "not stated"
        )
        self.said.append(wrong or ("all measured" if done.code == 0 else told))

    def text(self) -> str:
        """For the table."""
        counts = Counter(self.said)
        return ", ".join(f"{said} ({count} ×)" for said, count in counts.items()) or "–"

    @property
    def right(self) -> bool:
        """Measured, or told."""
        return not {said for said in self.said if said.startswith(("blames", "not stated"))}


def main() -> int:
    """Run them, print, write."""
    parser = argparse.ArgumentParser(prog="python -m faults.deaths", description=__doc__)
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="only where MPI, launcher or death contains one of the words of each 'a,b'",
    )
    parser.add_argument("--repeats", type=int, default=10, metavar="N", help="runs of each (%(default)s)")
    parser.add_argument("--into", type=Path, metavar="FILE", help="keep results there too, and count those that it has")
    parser.add_argument("--write-docs", action="store_true", help=f"put the tables into {PAGE.name}")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep the folders of runs in which something is wrong"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is open is closed: clusters, namespaces
    for mpi in MPIS:
        mpi.make()
    cells = [Cell(*which) for which in itertools.product(MPIS, LAUNCHERS, DEATHS)]
    pairs = [Pair(*which) for which in itertools.product(MPIS, ("pmix", "pmi2", "none"))] if not WHY_NOT else []
    cells = [cell for cell in cells if _wanted(options.words, cell.mpi.name, cell.launcher, cell.death.name)]
    pairs = [pair for pair in pairs if _wanted(options.words, pair.mpi.name, "slurm", f"mpi={pair.slurm_type}")]
    for key, result in kept(options.into):
        for cell in (cell for cell in cells if cell.key == key):
            cell.results.append(Result(**result))
        for pair in (pair for pair in pairs if pair.key == key):
            pair.said.append(result)
    with contextlib.ExitStack() as open_things:
        envs = _launchers(
            open_things, {cell.launcher for cell in cells if not cell.why_not} | ({"slurm"} if pairs else set())
        )
        # One run of each cell in turn: what the hour does to the machine it does to all of them.
        for number in range(options.repeats):
            for cell in cells:
                if not cell.why_not and len(cell.results) <= number:
                    _one(cell, number, envs[cell.launcher], options.keep)
                    keep(options.into, cell.key, asdict(cell.results[-1]))
            for pair in pairs:
                if len(pair.said) <= number:
                    _one_pair(pair, envs["slurm"], options.keep)
                    keep(options.into, pair.key, pair.said[-1])
            if options.write_docs:
                _write(cells, pairs)
    return 0 if all(cell.right == len(cell.results) for cell in cells) and all(pair.right for pair in pairs) else 1


def _wanted(words: list[str], *names: str) -> bool:
    return all(any(part in name for part in word.split(",") for name in names) for word in words)


def _launchers(open_things: contextlib.ExitStack, wanted: set[str]) -> dict[str, dict[str, str]]:
    """Launcher → what it is reached with; each is one for all its runs."""
    envs: dict[str, dict[str, str]] = {"local": {}}
    if "slurm" in wanted:
        place = Path(tempfile.mkdtemp(prefix="hpcaccept-deaths-", dir="/run"))
        envs["slurm"] = open_things.enter_context(VirtualSlurm.up(place)).env
    if "hosts" in wanted:
        place = Path(open_things.enter_context(tempfile.TemporaryDirectory(prefix="hpcaccept-deaths-")))
        envs["hosts"] = open_things.enter_context(ssh_hosts.ssh_hosts(place)).env
    return envs


def _one(cell: Cell, number: int, env: dict[str, str], keep: Path | None) -> None:
    folder = Path(tempfile.mkdtemp(prefix="hpcaccept-death-", dir=keep))
    began = time.monotonic()
    cell.results.append(result := result_of(cell.death, run(cell, number, env, folder)))
    right = result.named and not result.blamed and not result.unmeasured
    took = f"{time.monotonic() - began:.0f} s"
    sys.stdout.write("  ".join([*cell.key, cell.text(), took, "" if right else f"{result.said} {folder}"]) + "\n")
    sys.stdout.flush()
    if right or not keep:
        shutil.rmtree(folder, ignore_errors=True)


def _one_pair(pair: Pair, env: dict[str, str], keep: Path | None) -> None:
    folder = Path(tempfile.mkdtemp(prefix="hpcaccept-death-", dir=keep))
    suite = suite_file(folder, noise(0.1))
    python = interpreter(folder, pair.mpi, "slurm")
    pair.add(start(pair.mpi, "slurm", pair.slurm_type, suite, python, env).finish(200))
    sys.stdout.write(f"{pair.mpi.name}  --mpi={pair.slurm_type}  {pair.text()}\n")
    sys.stdout.flush()
    if pair.right or not keep:
        shutil.rmtree(folder, ignore_errors=True)


def _write(cells: list[Cell], pairs: list[Pair]) -> None:
    head = ("MPI", "launcher", *(death.name for death in DEATHS))
    rows = [head, tuple("---" for _ in head)]
    for (mpi, launcher), row in itertools.groupby(cells, lambda cell: (cell.mpi.name, cell.launcher)):
        texts = {cell.death.name: cell for cell in row}
        reasons = {cell.why_not for cell in texts.values()}
        rows.append(
            (
                mpi,
                launcher,
                *(
                    next(iter(reasons)) if len(reasons) == 1 and "" not in reasons else cell.text()
                    for cell in texts.values()
                ),
            )
        )
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    types = list(dict.fromkeys(pair.slurm_type for pair in pairs))
    rows = [
        ("healthy nodes under srun", *(f"`--mpi={name}`" for name in types)),
        tuple("---" for _ in range(len(types) + 1)),
    ]
    for mpi, of_mpi in itertools.groupby(pairs, lambda pair: pair.mpi.name):
        rows.append((mpi, *(pair.text() for pair in of_mpi)))
    table += "\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows)
    before, _, rest = PAGE.read_text("utf-8").partition(_MARK)
    PAGE.write_text(f"{before}{_MARK}\n{table}\n{_MARK}{rest.partition(_MARK)[2]}", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
