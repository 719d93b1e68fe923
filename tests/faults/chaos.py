"""``python -m faults.chaos``: everything that goes wrong on a cluster, in the middle of a run. Is it named, and is nothing else harmed?

Of each kind: was it found and named rightly, is all that was measured still there, was a healthy node blamed, and is a job, a process or a
socket left? Results are kept in ``chaos.jsonl`` beside this file, so that rounds of different days add up, and the table of
docs/explanation/reliability.md is written from them. Exit status 0 when nothing was wrong in the rounds of today.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.compiler import shared_library
from support.left_over import jobs_of, processes_naming, processes_of, sockets_under
from support.other_mpis import DEBIANS
from support.slurm_fixtures import WHY_NOT
from support.submission import Finished, Submission, command, noise, submit, suite_file, until
from system.cluster import VirtualSlurm

from faults import deaths, network, quota, scenarios
from faults.results import keep, kept

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "reliability.md"
_MARK = "<!-- made by python -m faults.chaos -->"
_RESULTS = Path(__file__).with_name("chaos.jsonl")
_SHIM = Path(__file__).with_name("chaos_shim.c")
#: Whose fault it is, wherever it is that of a node.
_NODE = "node2"
_LONG_S = 300.0
#: Two checks; the first lasts long enough to be reached into.
_TWO = noise(1.5, "os_noise", "os_noise:later", deadline_s=20)


@dataclass(frozen=True)
class Ground:
    """Where one run takes place.

    Attributes:
        folder: of its own.
        cluster: four nodes; None where no Slurm can be.
    """

    folder: Path
    cluster: VirtualSlurm | None

    @property
    def slurm(self) -> VirtualSlurm:
        """The cluster, for kinds that need one."""
        assert self.cluster is not None
        return self.cluster

    def begin(
        self, text: str = _TWO, *words: str, launcher: str = "slurm", env: dict[str, str] | None = None
    ) -> Submission:
        """A submission to four nodes."""
        reached = self.slurm.env if launcher == "slurm" else {}
        more = {**reached, "HPCACCEPT_LAUNCHER": launcher, **(env or {})}
        return submit(self.folder / "runs", suite_file(self.folder, text), *(words or ("--nodes", "4")), env=more)

    def ask(self, *words: str) -> str:
        """What a program of Slurm says."""
        env = {**os.environ, **self.slurm.env}
        return subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False).stdout

    def job(self, run: Submission) -> str:
        """The number of its job, as soon as it has one."""
        file = run.folder() / "job.json"
        return str(json.loads(until(lambda: file.exists() and file.read_text(), 60))["id"])


@dataclass(frozen=True)
class Told:
    """What a run said of its fault.

    Attributes:
        done: the run.
        right: whether it says what was wrong, and of whom.
        said: its words, or what it did instead.
        broken: nodes that may be blamed.
    """

    done: Finished
    right: bool
    said: str
    broken: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """One run of a kind.

    Attributes:
        right: the fault was found and named, or what it should not harm was not harmed.
        lost: measured by a rank, and not in what is judged.
        blamed: healthy nodes with a FAIL, or told to have died.
        left: jobs, processes and sockets.
        said: what is shown of it.
        at: date of the round.
    """

    right: bool
    lost: tuple[str, ...] = ()
    blamed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    said: str = ""
    at: str = ""

    @property
    def perfect(self) -> bool:
        """Nothing wrong."""
        return self.right and not self.lost and not self.blamed and not self.left


@dataclass(frozen=True)
class Kind:
    """One kind of fault.

    Attributes:
        name: for people and for the file of results.
        fault: what is done.
        run: does it.
        slurm: True when it needs the virtual Slurm.
        why_not: why it cannot be made here; empty when it can.
        quiet: True where only an idle machine can show it.
        short: True for the form in CI.
    """

    name: str
    fault: str
    run: Callable[[Ground], Told]
    slurm: bool = True
    why_not: str = ""
    quiet: bool = False
    short: bool = False


def _died(done: Finished, node: str = _NODE) -> bool:
    return any(event["nodes"] == [node] for event in done.events("death"))


def _details(done: Finished) -> str:
    told = [event["detail"] for kind in ("death", "excluded", "ended", "started_again") for event in done.events(kind)]
    end = (done.report.get("job_end") or {}).get("detail", "")
    return "; ".join(text for text in (*told, end) if text) or (done.err.strip()[-300:] if done.code else "")


def _signalled(number: signal.Signals) -> Callable[[Ground], Told]:
    def run(at: Ground) -> Told:
        started = at.begin(noise(1.5, "os_noise", "os_noise:later", deadline_s=5))
        os.kill(started.pid(2, check="os_noise"), number)
        done = started.finish(_LONG_S)
        return Told(done, _died(done), _details(done), (_NODE,))

    return run


def _driver_killed(at: Ground) -> Told:
    run = at.begin()
    run.pid(0, check="os_noise")
    for pid, words in processes_of(run.folder()).items():
        if "hpcaccept.launch.job.driver" in words:
            os.kill(pid, signal.SIGKILL)
    done = run.finish(_LONG_S)
    return Told(done, done.code == 3 and "signal 9" in _details(done), _details(done))


def _stat(pid: int) -> tuple[str, int]:
    """Name and parent of a process."""
    head, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    return head.partition("(")[2], int(rest.split()[1])


def _slurmstepd_killed(at: Ground) -> Told:
    run = at.begin(noise(1.5, "os_noise", "os_noise:later", deadline_s=8))
    pid = run.pid(2, check="os_noise")
    while not _stat(pid)[0].startswith("slurmstepd"):
        pid = _stat(pid)[1]
        assert pid > 1, "the rank has no slurmstepd above it"
    os.kill(pid, signal.SIGKILL)
    done = run.finish(_LONG_S)
    silent = (done.report.get("job_end") or {}).get("nodes", [])
    return Told(done, _died(done) or silent == [_NODE], _details(done), (_NODE,))


def _slurmd_killed(at: Ground) -> Told:
    """Its steps go on without it; the run must too, or say which node is gone."""
    run = at.begin()
    run.pid(2, check="os_noise")
    os.kill(at.slurm.slurmd_pid(_NODE), signal.SIGKILL)
    try:
        done = run.finish(_LONG_S)
    finally:
        at.slurm.restart_slurmd(_NODE)
    return Told(done, done.code == 0 or _NODE in _details(done), _details(done) or "nothing was harmed", (_NODE,))


def _controller_killed(at: Ground) -> Told:
    run = at.begin()
    run.pid(0, check="os_noise")
    (controller,) = at.slurm.daemons("slurmctld")
    os.kill(controller.pid, signal.SIGKILL)
    time.sleep(1.0)
    at.slurm.restart_controller()
    done = run.finish(_LONG_S)
    return Told(done, done.code == 0, _details(done) or "nothing was harmed")


def _login_killed(at: Ground) -> Told:
    run = at.begin()
    run.pid(0, check="os_noise")
    run.process.kill()
    run.process.communicate()
    name, runs = run.folder().name, str(at.folder / "runs")
    again = command("wait", name, "--runs-dir", runs, env=at.slurm.env, timeout_s=_LONG_S)
    done = _finished(again, run.folder())
    return Told(done, done.code == 0, "the next 'wait' judged it" if done.code == 0 else again.stderr[-300:])


def _finished(done: subprocess.CompletedProcess[str], folder: Path) -> Finished:
    report = folder / "report.json"
    return Finished(
        done.returncode, done.stdout, done.stderr, folder, json.loads(report.read_text()) if report.exists() else {}
    )


@contextlib.contextmanager
def _small_disk(place: Path, size: str) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def _fill(place: Path) -> None:
    with contextlib.suppress(OSError), (place / "filler").open("wb", buffering=0) as file:
        while file.write(b"\0" * 4096):
            pass


def _disk_full_on_login(at: Ground) -> Told:
    """The run folder's disk, which all see."""
    with _small_disk(at.folder / "small", "1m") as small:
        more = "".join(f'[checks."os_noise:{i}"]\nduration_s = 0.3\nblocks = 30\n' for i in range(12))
        text = "[checks.identity]\n[checks.os_noise]\nduration_s = 2.0\n" + more
        run = submit(small / "runs", suite_file(at.folder, text), "--nodes", "2", "--launcher", "local")
        run.wait_for_record("identity")
        _fill(small)
        done = run.finish(_LONG_S)
        (small / "filler").unlink()
        again = command("report", str(done.folder), "--format", "json", timeout_s=60)
        kept_run = at.folder / "runs" / done.folder.name
        kept_run.parent.mkdir()
        shutil.copytree(done.folder, kept_run)
        report = json.loads(again.stdout)
        (kept_run / "report.json").write_text(again.stdout)
        words = f"{done.out}{done.err}"
        done = dataclasses.replace(done, folder=kept_run, report=report)
    return Told(done, done.code == 3 and "no space left" in words.lower(), "no space left under the run folder")


def _disk_full_on_node(at: Ground) -> Told:
    """The disk for temporary files, of which MPI and torch want some."""
    with _small_disk(at.folder / "tmp", "64k") as small:
        _fill(small)
        done = at.begin(_TWO, launcher="local", env={"TMPDIR": str(small)}).finish(_LONG_S)
    words = " ".join(f"{_details(done)} {done.out} {done.err}".split())
    named = "space" in words or "TMPDIR" in words or str(small) in words
    return Told(done, done.code == 0 or (done.code == 3 and named), words[:300])


def _read_only(at: Ground) -> Told:
    with _small_disk(at.folder / "readonly", "1m") as small:
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
        done = submit(small / "runs", suite_file(at.folder, _TWO), "--nodes", "2", "--launcher", "local").finish(
            _LONG_S
        )
    said = done.err.strip()
    return Told(done, done.code in (2, 3) and "ead-only" in said and "Traceback" not in said, said[-200:])


def _shim(at: Ground, **variables: str) -> dict[str, str]:
    library = shared_library(_SHIM, at.folder / "shim.so", "-ldl")
    return {"LD_PRELOAD": str(library), **variables}


def _clock(seconds: int) -> Callable[[Ground], Told]:
    def run(at: Ground) -> Told:
        file = at.folder / "clock"
        suite = noise(0.5, "os_noise", "os_noise:later", deadline_s=20)
        started = at.begin(suite, launcher="local", env=_shim(at, CHAOS_CLOCK=str(file)))
        started.pid(0, check="os_noise")
        file.write_text(f"{seconds}\n")
        done = started.finish(_LONG_S)
        times = [datetime.fromisoformat(event["at"]).timestamp() for event in done.report["events"]]
        jumped = max(times) - min(times) > abs(seconds) / 2
        said = "nothing was harmed" if jumped else "the clock did not jump"
        return Told(done, done.code == 0 and jumped, _details(done)[:300] or said)

    return run


def _stale(at: Ground) -> Told:
    """For two seconds every file of the run folder is stale for whoever opens it; what was open goes on."""
    since = at.folder / "stale"
    env = _shim(at, CHAOS_STALE=str(since), CHAOS_STALE_BELOW=str(at.folder / "runs"))
    started = at.begin(_TWO, launcher="local", env=env)
    started.pid(0, check="os_noise")
    since.touch()
    time.sleep(2.0)
    since.unlink()
    done = started.finish(_LONG_S)
    words = f"{_details(done)} {done.out} {done.err}"
    named = "Stale" in words and "Traceback" not in done.err
    return Told(done, done.code == 0 or (done.code == 3 and named), _details(done)[:300] or "nothing was harmed")


def _two_at_once(at: Ground) -> Told:
    gate = threading.Barrier(2)
    runs: list[Finished] = []

    def one(number: int) -> None:
        folder = at.folder / f"{number}"
        folder.mkdir()
        suite = suite_file(folder, noise(0.2))
        gate.wait()
        process = submit(at.folder / "runs", suite, "--nodes", "2", env=at.slurm.env).process
        out, err = process.communicate(timeout=_LONG_S)
        runs.append(Finished(process.returncode, out, err, at.folder, {}))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    folders = sorted(path.parent for path in (at.folder / "runs").glob("*/report.json"))
    done = _finished(subprocess.CompletedProcess([], max(run.code for run in runs), "", runs[0].err), folders[-1])
    right = len(folders) == 2 and [run.code for run in runs] == [0, 0]
    return Told(done, right, "two runs, each judged" if right else "; ".join(run.err[-200:] for run in runs))


def _queue_of_200(at: Ground) -> Told:
    array = at.ask(
        "sbatch", "--parsable", "--array=0-199", "-N1", "--begin=now+1hour", "-o", "/dev/null", "--wrap", "true"
    ).strip()
    try:
        done = at.begin(noise(0.2)).finish(_LONG_S)
        waiting = len(at.ask("squeue", "-h", "-r", "-j", array).splitlines())
    finally:
        at.ask("scancel", array)
    return Told(done, done.code == 0 and waiting == 200, f"judged; {waiting} jobs still wait")


def _requeued(at: Ground) -> Told:
    """An administrator allows it and does it: the second start measures nothing, and says so."""
    run = at.begin(noise(4.0, "os_noise", "os_noise:later"))
    run.pid(0, check="os_noise")
    job = at.job(run)
    at.ask("scontrol", "update", f"jobid={job}", "Requeue=1")
    at.ask("scontrol", "requeue", job)
    done = run.finish(_LONG_S)
    said = _details(done)
    right = done.code == 3 and ("put back into the queue" in said or "already started" in said)
    at.ask("scancel", job)
    return Told(done, right, said[:300])


def _preempted(at: Ground) -> Told:
    run = at.begin(noise(6.0, "os_noise", "os_noise:later"))
    run.pid(0, check="os_noise")
    urgent = at.ask(
        "sbatch", "--parsable", "-p", "urgent", "-N4", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 1"
    ).strip()
    done = run.finish(_LONG_S)
    at.ask("scancel", urgent)
    said = " ".join(f"{_details(done)} {done.out}".split())
    return Told(done, done.code == 3 and "preempt" in said.lower(), _details(done)[:300])


def _rebooted(at: Ground) -> Told:
    """Everything on the node ends at once; then its slurmd comes back."""
    run = at.begin(noise(3.0, "os_noise", "os_noise:later", deadline_s=10))
    run.pid(2, check="os_noise")
    daemon = at.slurm.slurmd_pid(_NODE)
    own = Path(f"/proc/{daemon}/ns/mnt").stat().st_ino
    for entry in Path("/proc").glob("[0-9]*/ns/mnt"):
        with contextlib.suppress(OSError):
            if entry.stat().st_ino == own:
                os.kill(int(entry.parents[1].name), signal.SIGKILL)
    at.slurm.restart_slurmd(_NODE)
    done = run.finish(_LONG_S)
    end = done.report.get("job_end") or {}
    return Told(done, _died(done) or end.get("nodes") == [_NODE], _details(done)[:300], (_NODE,))


def _record_corrupted(at: Ground) -> Told:
    done = at.begin(noise(0.2), launcher="local").finish(_LONG_S)
    journal = done.folder / "records/00/r000002.jsonl"
    raw = bytearray(journal.read_bytes())
    place = raw.rindex(b'"kind":"record"')
    raw[place + 40 : place + 60] = os.urandom(20).replace(b"\n", b"\0")
    journal.write_bytes(raw)
    again = _finished(command("report", str(done.folder), timeout_s=60), done.folder)
    right = again.code == 3 and "cannot be read" in again.out and again.report["nodes"][_NODE] != "PASS"
    return Told(again, right, "a line of node2 cannot be read", (_NODE,))


def _undecided(done: Finished) -> str:
    """Why a fault was not seen: company on this machine, most often."""
    return "; ".join(sorted({v["reason"] for v in done.verdicts() if "undecided" in v["reason"]}))[:300]


def _of_scenario(name: str) -> Callable[[Ground], Told]:
    scenario = next(one for one in scenarios.SCENARIOS if one.name == name)

    def run(at: Ground) -> Told:
        done = scenario.run(at.folder, at.cluster)
        found = scenarios.result_of(scenario, done)
        said = f"by {', '.join(found.found_by)}" if found.found_by else f"missed; {_undecided(done)}"
        return Told(
            done, bool(found.found_by) and not found.blamed, said, (scenario.names, *scenario.names.split(" – "))
        )

    return run


def _slowed(share: float) -> Callable[[Ground], Told]:
    def run(at: Ground) -> Told:
        text = '[checks.identity]\n[checks.matmul]\ndtypes = ["fp32"]\n[peers]\nretests = 1\n'
        with quota.quota(at.slurm.slurmd_pid(_NODE), share=(1 - share) * (os.cpu_count() or 1)):
            done = at.begin(text).finish(_LONG_S)
        bad = [v for v in done.verdicts(node=_NODE) if v["outcome"] in ("FAIL", "WARN")]
        return Told(done, bool(bad), bad[0]["reason"] if bad else f"missed; {_undecided(done)}", (_NODE,))

    return run


def _out_of_memory(at: Ground) -> Told:
    """The kernel's killer, in a control group with 256 MiB: what Slurm makes for a job, too."""
    death = next(one for one in deaths.DEATHS if one.how == "memory")
    DEBIANS.make()
    done = deaths.run(deaths.Cell(DEBIANS, "slurm", death), 0, at.slurm.env, at.folder)
    result = deaths.result_of(death, done)
    return Told(done, result.named, result.said, (_NODE,))


_ROOT = "" if os.geteuid() == 0 else "it needs root"
_MEMORY = Path("/sys/fs/cgroup/memory/cgroup.procs")
_GROUPS = "" if os.access(_MEMORY, os.W_OK) else "a memory limit needs root and a writable cgroup v1"
KINDS = (
    *(
        Kind(f"CPU quota {percent} %", f"node2 loses {percent} % of its cores", _slowed(percent / 100), why_not=quota.why_not(), quiet=True)
        for percent in (3, 5, 10, 25)
    ),
    *(
        Kind(name, next(s.fault for s in scenarios.SCENARIOS if s.name == name), _of_scenario(name), False, network.why_not(), quiet=True)
        for name in ("slow port", "slow link")
    ),
    Kind("bit flip in a result", "node2 flips one bit of the sums it gets from all-reduce", _of_scenario("flipped sum"), False),
    Kind("SIGSTOP of a rank", "the rank of node2 is stopped", _signalled(signal.SIGSTOP)),
    Kind("SIGKILL of a rank", "the rank of node2 is killed", _signalled(signal.SIGKILL)),
    Kind("SIGKILL of the driver", "on the first node", _driver_killed),
    Kind("SIGKILL of slurmstepd", "above the rank of node2", _slurmstepd_killed),
    Kind("SIGKILL of slurmd", "of node2, and started again after the run", _slurmd_killed),
    Kind("SIGKILL of slurmctld", "and started again a second later", _controller_killed),
    Kind("login side killed", "'submit' is killed, and 'wait' typed", _login_killed),
    Kind("disk full, login", "the disk of the run folder", _disk_full_on_login, False, _ROOT),
    Kind("disk full, node", "the disk for temporary files of the ranks", _disk_full_on_node, False, _ROOT),
    Kind("read-only run folder", "from the start", _read_only, False, _ROOT, short=True),
    Kind("clock jumps ahead", "an hour, while a check runs (driver, ranks and command)", _clock(3600), False, short=True),
    Kind("clock jumps back", "the same, back", _clock(-3600), False),
    Kind("two submits at once", "of two nodes each, behind a barrier", _two_at_once),
    Kind("200 queued jobs", "of others, that may not begin yet", _queue_of_200),
    Kind("requeue", "an administrator allows it, and does it in mid-run", _requeued),
    Kind("preemption", "a partition of higher priority takes the nodes", _preempted),
    Kind("node reboot", "everything on node2 is killed at once; its slurmd comes back", _rebooted),
    Kind("corrupted record", "20 bytes of a record of node2 are random", _record_corrupted, False, short=True),
    Kind("stale file handles", "whoever opens a file of the run folder gets ESTALE, for two seconds", _stale, False),
    Kind("OOM kill, memory limit", "the rank of node2 takes more than its control group has", _out_of_memory, why_not=_GROUPS),
)  # fmt: skip


def outcome_of(kind: Kind, ground: Ground) -> Outcome:
    """Run one of them, and look at what it has left."""
    at = time.strftime("%Y-%m-%d")
    try:
        told = kind.run(ground)
    except Exception as fault:  # noqa: BLE001 (a kind that could not be made is a result too)
        traceback.print_exc()
        for pid in processes_naming(ground.folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return Outcome(False, said=f"{type(fault).__name__}: {fault}"[:300], at=at)
    done = told.done
    blamed = {v["node"] for v in done.report.get("verdicts", []) if v["outcome"] == "FAIL"}
    blamed |= {node for event in done.report.get("events", []) if event["kind"] == "death" for node in event["nodes"]}
    return Outcome(
        told.right,
        lost=tuple(sorted(_lost(done))),
        blamed=tuple(sorted(blamed - {*told.broken, ""})),
        left=tuple(_left(done.folder, ground)),
        said=told.said,
        at=at,
    )


def _lost(done: Finished) -> set[str]:
    """What a rank says to have measured, and the report does not know of: node and check."""
    verdicts = done.report.get("verdicts", [])
    judged = {(v["node"], v["check"]) for v in verdicts} | {("", v["check"]) for v in verdicts if not v["node"]}
    found = set()
    for file in done.folder.glob("records/*/*.jsonl"):
        for line in file.read_bytes().splitlines():
            with contextlib.suppress(ValueError):
                data: dict[str, Any] = json.loads(line).get("data", {})
                if (
                    data.get("outcome") == "measured"
                    and not {(data["node"], data["check"]), ("", data["check"])} & judged
                ):
                    found.add(f"{data['check']} on {data['node']}")
    return found


def _left(folder: Path, ground: Ground) -> list[str]:
    """What is there a while after the end: what Slurm is still ending is given its time."""

    def look() -> list[str]:
        jobs = jobs_of(ground.cluster, folder) if ground.cluster else []
        return [*processes_of(folder).values(), *(f"job {job}" for job in jobs), *sockets_under(folder)]

    end = time.monotonic() + 30
    while (found := look()) and time.monotonic() < end:
        time.sleep(0.2)
    return found


def nodes_back(cluster: VirtualSlurm) -> None:
    """End what is left and wait until all nodes are idle: the next kind begins on a cluster that is whole."""
    env = {**os.environ, **cluster.env}
    subprocess.run(["scancel", "-u", "root"], env=env, capture_output=True, timeout=60, check=False)

    def idle() -> bool:
        words = ["sinfo", "-h", "-N", "-p", "gpu", "-o", "%T"]
        states = subprocess.run(words, env=env, capture_output=True, text=True, check=False).stdout.split()
        return len(states) == len(cluster.node_names) and set(states) == {"idle"}

    until(idle, 180)


def main() -> int:
    """Run them, print, keep, write."""
    parser = argparse.ArgumentParser(prog="python -m faults.chaos", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD", help="only kinds whose names contain one of these")
    parser.add_argument("--repeats", type=int, default=1, metavar="N", help="rounds (%(default)s)")
    parser.add_argument("--no-quiet", action="store_true", help="leave out what only an idle machine can show")
    parser.add_argument(
        "--into", type=Path, default=_RESULTS, metavar="FILE", help="results are added here (%(default)s)"
    )
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is open is closed: clusters, disks
    wanted = [kind for kind in KINDS if not options.words or any(word in kind.name for word in options.words)]
    wanted = [kind for kind in wanted if not (options.no_quiet and kind.quiet)]
    perfect = True
    with contextlib.ExitStack() as open_things:
        cluster = None
        if not WHY_NOT and any(kind.slurm for kind in wanted):
            place = Path(tempfile.mkdtemp(prefix="hpcaccept-chaos-", dir="/run"))
            cluster = open_things.enter_context(VirtualSlurm.up(place, strict=True))
        # One run of each kind in turn: what the hour does to the machine it does to all of them.
        for kind in wanted * options.repeats:
            if kind.why_not or (kind.slurm and cluster is None):
                continue
            outcome = one(kind, cluster)
            keep(options.into, [kind.name], asdict(outcome))
            perfect &= outcome.perfect or (kind.quiet and not (outcome.blamed or outcome.left or outcome.lost))
    if options.write_docs:
        write(kept(options.into))
    return 0 if perfect else 1


def one(kind: Kind, cluster: VirtualSlurm | None) -> Outcome:
    """One run of a kind in a folder of its own, told on standard output."""
    with tempfile.TemporaryDirectory(prefix="hpcaccept-chaos-") as name:
        began = time.monotonic()
        outcome = outcome_of(kind, Ground(Path(name), cluster))
        if cluster and kind.slurm:
            nodes_back(cluster)
    wrong = [
        f"{what}: {', '.join(found)}"
        for what, found in (("lost", outcome.lost), ("blamed", outcome.blamed), ("left", outcome.left))
        if found
    ]
    sys.stdout.write(
        f"{kind.name:<24} {'right' if outcome.right else 'WRONG'}  {'; '.join(wrong)}  {outcome.said[:160]}  ({time.monotonic() - began:.0f} s)\n"
    )
    sys.stdout.flush()
    return outcome


def write(results: list[tuple[list[str], Any]]) -> None:
    """The table, of all rounds that the file has."""
    head = (
        "fault",
        "what is done",
        "runs",
        "found and named",
        "measured and lost",
        "healthy nodes blamed",
        "left behind",
    )
    rows = [head, tuple("---" for _ in head)]
    for kind in KINDS:
        mine = [result for key, result in results if key == [kind.name]]
        if kind.why_not and not mine:
            rows.append((kind.name, kind.fault, f"not run: {kind.why_not}", "", "", "", ""))
            continue
        if not mine:
            rows.append((kind.name, kind.fault, "not run yet", "", "", "", ""))
            continue
        right = sum(result["right"] for result in mine)
        busy = sum("other programs" in result["said"] and not result["right"] for result in mine)
        found = f"{right} of {len(mine)}" + (f"; {busy} undecided: other programs ran" if busy else "")
        counts = (Counter(what for result in mine for what in result[name]) for name in ("lost", "blamed", "left"))
        rows.append((kind.name, kind.fault, str(len(mine)), found, *(str(sum(c.values())) for c in counts)))
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    before, _, rest = PAGE.read_text("utf-8").partition(_MARK)
    PAGE.write_text(f"{before}{_MARK}\n{table}\n{_MARK}{rest.partition(_MARK)[2]}", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
