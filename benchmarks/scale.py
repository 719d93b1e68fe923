"""What do 1,024 and 4,096 nodes × 8 GPUs cost the login node, from the plan to the certificate, and is every bad one named?"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks._child import ROOT, environment
from benchmarks._row import CannotRun, Row, Target
from benchmarks._scale_ranks import bad_nodes
from hpcaccept.launch.job.events import Events
from hpcaccept.store.folder import RunFolder

#: Minutes of work and gigabytes of disk: measured by name, and by ``make scale``.
BY_NAME = True
GPUS = 8
_JOB = "4711"
#: Up to so many nodes the real driver runs: it is no work of the login node, and reads everything five times where suspects are launched again.
_DRIVEN = int(os.environ.get("HPCACCEPT_BENCH_DRIVEN", "1024"))
#: How often what takes moments is done.
_CHEAP = 3
#: What Slurm's programs answer, of a cluster of so many nodes; ``srun`` leaves the journals that its ranks would have left.
_SLURM = {
    "sbatch": f"echo {_JOB}",
    "scontrol": 'if [ "$1" = ping ]; then echo "Slurmctld(primary) at login is UP"; elif [ "$2" = hostnames ]; then '
    'cat "$SAID/hostnames"; else cat "$SAID/$3"; fi',
    "sinfo": f'echo "gpu*|gpu:h100:{GPUS}"',
    "squeue": 'echo "4:00:00"',
    "scancel": "true",
    "srun": 'if [ "$1" = --mpi=list ]; then echo pmix; else exec "$PYTHON" -m benchmarks._scale_ranks "$@"; fi',
}
#: What ``scontrol -o show`` says (Slurm 22.05) of the partition and of a node.
_PARTITION = (
    "PartitionName=gpu AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=YES QoS=N/A DefaultTime=NONE DisableRootJobs=NO "
    "ExclusiveUser=NO GraceTime=0 Hidden=NO MaxNodes=UNLIMITED MaxTime=UNLIMITED MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED Nodes={nodes} "
    "PriorityJobFactor=1 PriorityTier=1 RootOnly=NO ReqResv=NO OverSubscribe=NO OverTimeLimit=NONE PreemptMode=OFF State=UP TotalCPUs={cpus} "
    "TotalNodes={count} SelectTypeParameters=NONE JobDefaults=(null) DefMemPerNode=UNLIMITED MaxMemPerNode=UNLIMITED\n"
)
_NODE = (
    "NodeName={node} Arch=x86_64 CoresPerSocket=48  CPUAlloc=0 CPUEfctv=96 CPUTot=96 CPULoad=0.31 AvailableFeatures=(null) ActiveFeatures=(null) "
    "Gres=gpu:h100:8 NodeAddr={node} NodeHostName={node} Port=6818 Version=22.05.8 OS=Linux 6.1.0 #1 SMP PREEMPT_DYNAMIC  RealMemory=2000000 "
    "AllocMem=0 FreeMem=1900000 Sockets=2 Boards=1 State=IDLE ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A Partitions=gpu  "
    "BootTime=1795307982 SlurmdStartTime=1795334096 LastBusyTime=1795335665 CfgTRES=cpu=96,mem=2000000M,billing=96 AllocTRES= CapWatts=n/a "
    "CurrentWatts=0 AveWatts=0 ExtSensorsJoules=n/s ExtSensorsWatts=0 ExtSensorsTemp=n/s\n"
)
#: Step → what it should cost at 4,096 nodes: seconds, bytes.
_MOST = {"submit": (2.0, None), "collect": (60.0, 2 * 2**30)}


@dataclass
class Cost:
    """Of one command at one size: wall seconds, seconds of processor time, and the largest memory of its process in bytes."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: list[float] = field(default_factory=list)


def measure(quick: bool) -> list[Row]:
    """Each command as a user types it; between ``submit`` and ``collect`` the real driver runs on the first node."""
    small, large = (64, 256) if quick else (1024, 4096)
    costs = {nodes: _Run(nodes) for nodes in (small, large)}
    for run in costs.values():
        run.measure()
    return [*_rows(costs[small], costs[large], judged=not quick), *_account(costs[large])]


class _Run:
    """One run of so many nodes."""

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes
        self.names = [f"gpu{number:05d}" for number in range(nodes)]
        self.costs: dict[str, Cost] = {}
        self.report: dict[str, object] = {}
        self.certified: set[str] = set()
        self.refused: dict[str, str] = {}
        self.samples = 0

    def measure(self) -> None:
        """Everything once, in a folder of its own; what costs little three times."""
        with tempfile.TemporaryDirectory(prefix="hpcaccept-scale-") as name:
            place = Path(name)
            self._env = _environment(place, self.names)
            runs = ("--runs-dir", str(place / "runs"))
            past = ("--baselines-dir", str(place / "baselines"), "--history", str(place / "history"))
            ask = ("--nodes", str(self.nodes), "-g", str(GPUS), "--suite", "standard", *runs, *past[:2])
            for _ in range(_CHEAP):
                self._command("plan (submit --dry-run)", "submit", "--dry-run", *ask)
            for _ in range(_CHEAP):
                shutil.rmtree(place / "runs", ignore_errors=True)
                self._command("submit", "submit", "--no-wait", *ask)
            (folder,) = (place / "runs").iterdir()
            if self.nodes <= _DRIVEN:
                driver = [sys.executable, "-m", "hpcaccept.launch.job.driver", str(folder)]
                self._timed("driver, on the first node", driver)
            else:
                self._lay_down(RunFolder(folder))
            run = (folder.name, *runs)
            self._command("collect", "collect", *run)
            self._command("judge and report", "report", *run, *past)
            self.report = json.loads((folder / "report.json").read_text())
            self._command("history", "history", "add", *run, *past)
            key = place / "key"
            self._command("", "certificate", "keygen", "--key", str(key))
            self._command(
                "certificate",
                "certificate",
                "create",
                folder.name,
                *runs,
                *past,
                "--key",
                str(key),
                "--output",
                str(place / "certificate.json"),
            )
            said = json.loads((place / "certificate.json").read_text())["certificate"]
            self.certified = {node["node"] for node in said["nodes"]}
            self.refused = {node["node"]: "; ".join(node["reasons"]) for node in said["not_certified"]}

    def _lay_down(self, folder: RunFolder) -> None:
        """What the driver and its steps would have left, but for suspects that are launched again."""
        events = Events(folder)
        events.say("started", nodes=self.names, job=_JOB)
        first = folder.read_plan().first_step(tuple(self.names), virtual=False)
        lost = self.names[-1]
        for step in (first, replace(first, id="01", nodes=first.nodes[:-1])):
            folder.write_step(step)
            events.say("step_started", step=step.id, nodes=step.nodes)
            words = [sys.executable, "-m", "benchmarks._scale_ranks", str(folder.path), step.id]
            subprocess.run(words, env=self._env, cwd=ROOT, capture_output=True, check=False)
            events.say("step_ended", step=step.id)
            if step is first:
                rank = len(step.nodes) * GPUS - GPUS
                events.say(
                    "death",
                    step=step.id,
                    nodes=(lost,),
                    ranks=(rank,),
                    detail=f"rank {rank} on {lost} was lost before the first check: the launcher reports 'Killed'",
                )
        events.say("ended")

    def _command(self, step: str, *words: str) -> None:
        self._timed(step, [sys.executable, "-m", "hpcaccept", *words])

    def _timed(self, step: str, command: list[str]) -> None:
        begin = time.perf_counter()
        with tempfile.TemporaryFile() as said:
            child = subprocess.Popen(
                command, env=self._env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.perf_counter() - begin
            if child.returncode not in (0, 1, 3):
                said.seek(max(0, said.tell() - 2000))
                raise CannotRun(
                    f"{command[2:5]}: exit status {child.returncode}: {said.read().decode('utf-8', 'replace')}"
                )
        if step:
            cost = self.costs.setdefault(step, Cost())
            cost.seconds.append(seconds)
            cost.cpu.append(used.ru_utime + used.ru_stime)
            cost.peak.append(float(used.ru_maxrss) * 1024)


def _environment(place: Path, names: list[str]) -> dict[str, str]:
    folder = place / "bin"
    folder.mkdir()
    for name, script in _SLURM.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    all_nodes = f"gpu[00000-{len(names) - 1:05d}]"
    said = {
        "hostnames": "".join(f"{name}\n" for name in names),
        "partition": _PARTITION.format(nodes=all_nodes, count=len(names), cpus=96 * len(names)),
        "node": "".join(_NODE.format(node=name) for name in names),
        "reservation": "No reservations in the system\n",
    }
    for what, text in said.items():
        (place / what).write_text(text)
    return environment(
        PATH=f"{folder}{os.pathsep}{os.environ['PATH']}",
        SAID=str(place),
        PYTHON=sys.executable,
        PYTHONPATH=str(ROOT),
        SLURM_JOB_ID=_JOB,
        SLURM_JOB_NODELIST=all_nodes,
    )


def exponent(small: _Run, large: _Run, step: str) -> float:
    """b, where the processor time of a step grows as nodes^b, from the least of each: other work on the machine changes it little."""
    ratio = min(large.costs[step].cpu) / min(small.costs[step].cpu)
    return math.log(ratio) / math.log(large.nodes / small.nodes)


def _rows(small: _Run, large: _Run, *, judged: bool) -> list[Row]:
    rows = []
    for step, cost in (small.costs | large.costs).items():
        seconds, peak = _MOST.get(step, (None, None)) if judged else (None, None)
        nodes = (large if step in large.costs else small).nodes
        what = f"{nodes:,} nodes × {GPUS} GPUs, suite standard: {step}"
        rows.append(Row(what, "s", tuple(cost.seconds), target=Target("value", upper=seconds) if seconds else None))
        rows.append(Row(f"{what}: processor time", "s", tuple(cost.cpu)))
        rows.append(
            Row(f"{what}: peak memory", "B", tuple(cost.peak), target=Target("value", upper=peak) if peak else None)
        )
        if step not in large.costs:
            continue
        growth = exponent(small, large, step)
        on_login = "driver" not in step
        rows.append(
            Row(
                f"{step}: growth exponent, {small.nodes:,} to {large.nodes:,} nodes", "", (growth,),
                target=Target("value", upper=1.05) if on_login else None,
            )
        )  # fmt: skip
    return rows


def _account(run: _Run) -> list[Row]:
    bad = bad_nodes(run.names)
    nodes = run.report["nodes"]
    assert isinstance(nodes, dict)
    named = {node for node, outcome in nodes.items() if outcome != "PASS"}
    unnamed = set(run.names) - set(nodes)
    uncounted = set(run.names) - run.certified - run.refused.keys()
    what = f"{run.nodes:,} nodes × {GPUS} GPUs"
    return [
        Row(f"{what}: nodes that the report does not name", "nodes", (float(len(unnamed)),), target=Target("value", 0, 0)),
        Row(f"{what}: of {len(bad)} bad nodes not named", "nodes", (float(len(bad.keys() - named)),), target=Target("value", 0, 0)),
        Row(f"{what}: healthy nodes that are not PASS", "nodes", (float(len(named - bad.keys())),), target=Target("value", 0, 0)),
        Row(f"{what}: nodes neither certified nor refused", "nodes", (float(len(uncounted)),), target=Target("value", 0, 0)),
        Row(f"{what}: bad nodes that are certified", "nodes", (float(len(run.certified & bad.keys())),), target=Target("value", 0, 0)),
    ]  # fmt: skip
