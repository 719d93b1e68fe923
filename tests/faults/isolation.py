"""``python -m faults.isolation --repeats N --into FILE``: faults that only groups tell apart, made for real, and whom the isolation names.

On the virtual Slurm: a CPU quota, a rank that crashes, one that is stopped, nothing. On virtual nodes with a network of their own each: a
slow link, a slow port, two nodes that do not reach each other. Exit status 0 when each was named rightly, nobody else was
blamed and nothing was left running, in every repeat.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from support.slurm_fixtures import WHY_NOT
from support.submission import command
from system.cluster import VirtualSlurm

from faults import network, quota
from faults.results import keep, kept

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "detection.md"
_MARK = "<!-- made by python -m faults.isolation -->"
_HERE = Path(__file__).parent
_BROKEN, _WORK, _TRANSFER = (_HERE / f"{name}.py" for name in ("broken_rank", "group_work", "group_transfer"))
_MBIT = 400
_LONGEST_S = 600
#: A small all-reduce: what is slow is to start it.
_SMALL = (
    "--check",
    "allreduce",
    "--set",
    "allreduce.sizes_bytes=[4096]",
    "--set",
    'allreduce.backends=["device"]',
    "--set",
    "allreduce.deadline_s=30",
)


@dataclass(frozen=True)
class Result:
    """What one isolation said of its fault.

    Attributes:
        named: what was blamed: nodes, links.
        word: how it ended.
        code: exit code.
        tests: that were run.
        rounds: of them.
        seconds: of the whole command.
        beyond_s: of a round, at most: what was neither measuring nor importing.
        left: processes that were still there when it had ended.
    """

    named: tuple[str, ...]
    word: str
    code: int
    tests: int = 0
    rounds: int = 0
    seconds: float = 0.0
    beyond_s: float = 0.0
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """One fault.

    Attributes:
        name: for people and tests.
        fault: what is broken.
        groups: what groups run, and where.
        names: that must be blamed, and nothing else.
        run: makes it in a folder; the Slurm is None where none can be.
        slurm: True when it needs the virtual Slurm.
        why_not: why it cannot be made here; empty when it can.
    """

    name: str
    fault: str
    groups: str
    names: tuple[str, ...]
    run: Callable[[Path, VirtualSlurm | None], Result]
    slurm: bool = False
    why_not: str = ""

    def is_right(self, result: Result) -> bool:
        """True where exactly what is broken was named, and nothing is left running."""
        code = 1 if self.names else 0
        return result.named == self.names and result.code == code and not result.left


def isolate(folder: Path, *words: str, env: Mapping[str, str] | None = None) -> Result:
    """``hpcaccept isolate`` to its end, and what it left."""
    begun = time.monotonic()
    runs = folder / "runs"
    done = command("isolate", *words, "--runs-dir", str(runs), "-g", "0", "--json", env=env, timeout_s=_LONGEST_S)
    seconds = time.monotonic() - begun
    if not done.stdout.startswith("{"):
        return Result((), f"no report: {done.stderr[-2000:]}", done.returncode)
    report = json.loads(done.stdout)
    return Result(
        named=tuple(one["where"] for one in report["findings"] if one["blamed"]),
        word=report["word"],
        code=done.returncode,
        tests=len(report["tests"]),
        rounds=len(report["rounds"]),
        seconds=seconds,
        beyond_s=max((one["beyond_s"] for one in report["rounds"]), default=0.0),
        left=_left(runs),
    )


def _left(runs: Path) -> tuple[str, ...]:
    """Processes that name the runs folder, some moments after the end."""
    until = time.monotonic() + 5
    while (found := tuple(_naming(str(runs)))) and time.monotonic() < until:
        time.sleep(0.1)
    return found


def _naming(text: str) -> list[str]:
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if text in words and int(place.parent.name) != os.getpid():
                found.append(words[:200])
    return found


def broken_python(folder: Path, *faults: Mapping[str, object]) -> dict[str, str]:
    """What a submission is started with whose interpreter has faults."""
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, str(_BROKEN)])} "$@"\n')
    python.chmod(0o755)
    paths = os.pathsep.join([str(_HERE.parent), os.environ.get("PYTHONPATH", "")])
    return {"HPCACCEPT_PYTHON": str(python), "HPCACCEPT_FAULT": json.dumps(list(faults)), "PYTHONPATH": paths}


def work(seconds: float, *fault: str) -> str:
    """The site's own test of a group, as a command of srun."""
    words = [
        "--mpi=pmix",
        "--nodelist={nodes}",
        "--nodes={count}",
        "--ntasks={count}",
        "--kill-on-bad-exit=1",
        "--wait=5",
    ]
    return shlex.join(["srun", *words, sys.executable, str(_WORK), str(seconds), *fault])


def _of_work(*fault: str) -> Callable[[Path, VirtualSlurm | None], Result]:
    def run(folder: Path, slurm: VirtualSlurm | None) -> Result:
        assert slurm is not None
        return isolate(folder, "--nodes", "4", "--deadline", "20s", "--command", work(0.05, *fault), env=slurm.env)

    return run


def _of_check(*faults: Mapping[str, object]) -> Callable[[Path, VirtualSlurm | None], Result]:
    def run(folder: Path, slurm: VirtualSlurm | None) -> Result:
        assert slurm is not None
        env = {**slurm.env, **broken_python(folder, *faults)}
        return isolate(folder, "--nodes", "4", *_SMALL, "--metric", "none", env=env)

    return run


def _tenth_of_a_core(folder: Path, slurm: VirtualSlurm | None) -> Result:
    assert slurm is not None
    rule = ("--match", "slowest ([0-9]+)", "--at-once", "1", "--budget", "3m", "--deadline", "60s")
    with quota.quota(slurm.slurmd_pid("node2"), share=0.1):
        return isolate(folder, "--nodes", "4", "--command", work(0.5), *rule, env=slurm.env)


def _networked(
    check: str, break_it: Callable[[network.Network], None]
) -> Callable[[Path, VirtualSlurm | None], Result]:
    def run(folder: Path, _: VirtualSlurm | None) -> Result:
        with network.network(6, _MBIT) as net:
            break_it(net)
            env = broken_python(folder, {"kind": "network", "prefix": net.prefix})
            words = ("--nodes", "6", "--launcher", "local")
            if check == "pairs":
                return isolate(folder, *words, "--check", "pairs", "--set", "pairs.block_s=0.1", env=env)
            return isolate(folder, *words, *_SMALL, "--metric", "none", env=env)

    return run


def _transfers(break_it: Callable[[network.Network], None]) -> Callable[[Path, VirtualSlurm | None], Result]:
    def run(folder: Path, _: VirtualSlurm | None) -> Result:
        with network.network(8, _MBIT) as net:
            break_it(net)
            text = shlex.join([sys.executable, str(_TRANSFER), net.prefix, "{nodes}"])
            rule = ("--match", "slowest ([0-9.]+)", "--at-least", str(_MBIT / 2))
            return isolate(folder, "--nodes", "8", "--launcher", "local", "--at-once", "1", "--command", text, *rule)

    return run


_NETWORK = network.why_not()
_TCP = "a site's own program (TCP), network namespaces"
_KILL = {"kind": "end", "nodes": ["node2"], "at": "allreduce", "how": "kill"}
_STOP = {"kind": "end", "nodes": ["node2"], "at": "allreduce", "how": "stop"}
CASES = (
    Case("nothing", "nothing", "a site's own MPI program, Slurm", (), _of_work(), slurm=True),
    Case("nothing, all-reduce", "nothing", "`allreduce`, Slurm", (), _of_check(), slurm=True),
    Case("failing node", "the program fails on node2", "a site's own MPI program, Slurm", ("node2",), _of_work("node2", "fail"), slurm=True),
    Case("crash", "the rank of node2 is killed (SIGKILL)", "a site's own MPI program, Slurm", ("node2",), _of_work("node2", "kill"), slurm=True),
    Case("crash, all-reduce", "the rank of node2 is killed (SIGKILL)", "`allreduce`, Slurm", ("node2",), _of_check(_KILL), slurm=True),
    Case("stop", "the rank of node2 is stopped (SIGSTOP)", "a site's own MPI program, Slurm", ("node2",), _of_work("node2", "stop"), slurm=True),
    Case("stop, all-reduce", "the rank of node2 is stopped (SIGSTOP)", "`allreduce`, Slurm", ("node2",), _of_check(_STOP), slurm=True),
    Case("tenth of a core", "node2 has a tenth of a core (a CPU quota)", "a site's own MPI program, its number compared, Slurm", ("node2",), _tenth_of_a_core, slurm=True, why_not=quota.why_not()),
    Case("healthy transfers", f"nothing; all ports at {_MBIT} Mbit/s", _TCP, (), _transfers(lambda net: None), why_not=_NETWORK),
    Case("slow pair", f"node0 and node3 send each other {_MBIT // 5} instead of {_MBIT} Mbit/s (tc)", _TCP, ("node0 – node3",), _transfers(lambda net: net.slow_link(0, 3, _MBIT // 5)), why_not=_NETWORK),
    Case("slow sender", f"node1 sends at {_MBIT // 5} instead of {_MBIT} Mbit/s (tc)", _TCP, ("node1",), _transfers(lambda net: net.slow_port(1, _MBIT // 5)), why_not=_NETWORK),
    Case("blocked pair", "node1 and node4 do not reach each other", _TCP, ("node1 – node4",), _transfers(lambda net: net.blocked(1, 4)), why_not=_NETWORK),
    Case("healthy network", f"nothing; all ports at {_MBIT} Mbit/s", "`pairs`, network namespaces", (), _networked("pairs", lambda net: None), why_not=_NETWORK),
    Case("slow link", f"node0 and node3 send each other {_MBIT // 5} instead of {_MBIT} Mbit/s (tc)", "`pairs`, network namespaces", ("node0 – node3",), _networked("pairs", lambda net: net.slow_link(0, 3, _MBIT // 5)), why_not=_NETWORK),
    Case("slow port", f"node1 sends at {_MBIT // 5} instead of {_MBIT} Mbit/s (tc)", "`pairs`, network namespaces", ("node1",), _networked("pairs", lambda net: net.slow_port(1, _MBIT // 5)), why_not=_NETWORK),
    Case("blocked", "node1 and node4 do not reach each other: no rendezvous", "`allreduce`, network namespaces", ("node1 – node4",), _networked("allreduce", lambda net: net.blocked(1, 4)), why_not=_NETWORK),
)  # fmt: skip


@dataclass
class Row:
    """What came of one case."""

    case: Case
    results: list[Result] = field(default_factory=list)

    @property
    def right(self) -> int:
        """Repeats in which exactly the culprit was named."""
        return sum(self.case.is_right(result) for result in self.results)

    def cells(self) -> tuple[str, ...]:
        """For the table."""
        many = len(self.results)
        others = sorted({name for result in self.results for name in result.named if name not in self.case.names})
        left = sum(bool(result.left) for result in self.results)
        mean = [
            sum(getattr(result, name) for result in self.results) / max(1, many)
            for name in ("tests", "rounds", "seconds")
        ]
        unsure = sum(not result.named and bool(self.case.names) for result in self.results)
        return (
            self.case.fault,
            self.case.groups,
            ", ".join(self.case.names) or "nobody",
            f"{self.right} of {many}" + (f" ({unsure} × nobody)" if unsure else ""),
            ", ".join(others) or "nobody",
            f"{mean[0]:.1f} / {mean[1]:.1f}",
            f"{mean[2]:.0f} s",
            str(left) if left else "nothing",
        )


def main() -> int:
    """Run them in turn, print, keep, write."""
    parser = argparse.ArgumentParser(prog="python -m faults.isolation", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="CASE", help="only these")
    parser.add_argument("--repeats", type=int, default=10, metavar="N", help="runs of each (%(default)s)")
    parser.add_argument(
        "--into", type=Path, metavar="FILE", help="keep each result there; what it has is not run again"
    )
    parser.add_argument(
        "--for-s", type=float, default=float("inf"), metavar="S", help="begin no other run after so long"
    )
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is open is closed: clusters, namespaces
    rows = [Row(case) for case in CASES if not options.names or case.name in options.names]
    for key, result in kept(options.into):
        for row in (row for row in rows if [row.case.name] == key):
            row.results.append(Result(**{**result, "named": tuple(result["named"]), "left": tuple(result["left"])}))
    until = time.monotonic() + options.for_s
    with contextlib.ExitStack() as open_things:
        slurm = None
        if not WHY_NOT and any(row.case.slurm and len(row.results) < options.repeats for row in rows):
            slurm = open_things.enter_context(
                VirtualSlurm.up(Path(tempfile.mkdtemp(prefix="hpcaccept-isolation-", dir="/run")))
            )
        # One run of each in turn: what the hour does to the machine it does to all of them.
        for number in range(options.repeats):
            for row in rows:
                possible = not row.case.why_not and (slurm is not None or not row.case.slurm)
                if possible and len(row.results) <= number and time.monotonic() < until:
                    _one(row, slurm, options.into)
    for row in rows:
        sys.stdout.write("  ".join(row.cells()) + "\n")
    if options.write_docs:
        _write(rows)
    return 0 if all(row.right == len(row.results) for row in rows) else 1


def _one(row: Row, slurm: VirtualSlurm | None, into: Path | None) -> None:
    with tempfile.TemporaryDirectory(prefix="hpcaccept-isolation-") as folder:
        result = row.case.run(Path(folder), slurm)
    row.results.append(result)
    keep(into, [row.case.name], asdict(result))
    right = "right" if row.case.is_right(result) else f"WRONG: {result}"
    sys.stdout.write(f"{row.case.name:<20} {result.seconds:5.0f} s  {result.tests} tests  {right}\n")
    sys.stdout.flush()


def _write(rows: list[Row]) -> None:
    head = (
        "fault",
        "groups run",
        "to be named",
        "named, and nothing else",
        "others blamed",
        "tests / rounds",
        "took",
        "left running",
    )
    lines = [
        "| " + " | ".join(cells) + " |"
        for cells in (head, ("---",) * len(head), *(row.cells() for row in rows if row.results))
    ]
    before, _, rest = PAGE.read_text("utf-8").partition(_MARK)
    _, _, after = rest.partition(_MARK)
    PAGE.write_text(f"{before}{_MARK}\n" + "\n".join(lines) + f"\n{_MARK}{after}", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
