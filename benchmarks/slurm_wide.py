"""What do 256 nodes of a real Slurm take: the gate on all of them, and a suite of a second from the command to the report?

256 slurmd on this machine's few cores: what costs each node processor time costs it here 256 times. Real nodes have cores of their own, so
that the figures say whether everything holds, and where the time goes; not how long it takes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._child import ROOT
from benchmarks._row import CannotRun, Row, Target
from benchmarks._slurm import slurm_environment, virtual_slurm
from benchmarks._submission import Running, Submission, epoch

#: Minutes of work: measured by name, and by ``make scale``.
BY_NAME = True
#: Nodes; other numbers for a try.
_NODES = int(os.environ.get("HPCACCEPT_BENCH_WIDE", "256"))
#: The shortest block that os_noise takes; ranks that outnumber the cores measure in turn, so that all of them take a second and more together.
_SUITE = """[checks.identity]
[checks.os_noise]
duration_s = 0.06
deadline_s = 120
[limits."os_noise.lost_share"]
upper = 1.0
unit = "share"
"""
_LONGEST_S = 3000.0


def measure(quick: bool) -> list[Row]:
    """One cluster, one gate on all nodes, one run on all nodes."""
    nodes = 16 if quick else _NODES
    begin = time.monotonic()
    with virtual_slurm(nodes) as slurm, tempfile.TemporaryDirectory() as name:
        up_s = time.monotonic() - begin
        env = slurm_environment(slurm)
        gate_s, verdicts = _gate(nodes, env, Path(name))
        # MPI's start takes each rank half a second of a core.
        words = ("--nodes", str(nodes), "--start-timeout", "1500")
        running = Running(Path(name), _SUITE, *words, env=env)
        done = running.finish(_LONGEST_S)
        (folder,) = (Path(name) / "runs").glob("*/report.json")
        report = json.loads(folder.read_text())
    what = f"{nodes} slurmd on one machine"
    return [
        Row(f"{what}: started, all idle", "s", (up_s,)),
        Row(f"{what}: node-check on all in one step", "s", (gate_s,)),
        Row(f"{what}: nodes without a verdict of node-check", "nodes", (float(nodes - verdicts),), target=Target("value", 0, 0)),
        Row(f"{what}: suite of a second: command → end of the report", "s", (done.wall_s,)),
        *_parts(what, done),
        Row(f"{what}: nodes that are not in the report", "nodes", (float(nodes - len(report["nodes"])),), target=Target("value", 0, 0)),
        Row(f"{what}: nodes that os_noise has not measured, {_why(report)}", "nodes", (float(nodes - _measured(report)),)),
    ]  # fmt: skip


def _gate(nodes: int, env: dict[str, str], place: Path) -> tuple[float, int]:
    """Seconds, and how many nodes gave a verdict in JSON."""
    state = place / "gate"
    state.mkdir()
    gate = f"exec {sys.executable} -m hpcaccept node-check --deadline 60 --state-dir {state}/$SLURMD_NODENAME"
    words = [
        "srun",
        f"-N{nodes}",
        f"-n{nodes}",
        "--ntasks-per-node=1",
        f"--output={place}/gate-%N.json",
        "sh",
        "-c",
        gate,
    ]
    begin = time.monotonic()
    subprocess.run(words, env=env, cwd=ROOT, capture_output=True, timeout=_LONGEST_S, check=False)
    took_s = time.monotonic() - begin
    texts = [file.read_text() for file in place.glob("gate-*.json")]
    return took_s, sum(_is_verdict(text) for text in texts)


def _is_verdict(text: str) -> bool:
    try:
        return "verdict" in json.loads(text)
    except ValueError:
        return False


def _parts(what: str, done: Submission) -> list[Row]:
    """Where the time went; without ranks (their MPI did not start) only as far as it came."""
    events = done.events
    parts = [("command → job accepted", done.submitted - done.begin)]
    if "started" in events:
        parts.append(("job accepted → driver's first word", events["started"] - done.submitted))
    ready = [epoch(record["started_at"]) for rank in done.ranks for record in rank.records[:1]]
    if ready and "step_started" in events:
        parts.append(("driver's first word → all ranks have started MPI", max(ready) - events["started"]))
        parts.append(("all ranks have started MPI → step ended", events["step_ended"] - max(ready)))
    if "ended" in events:
        parts.append(("driver's last word → first line of the report", done.first_line - events["ended"]))
    return [Row(f"{what}: of the whole: {name}", "s", (seconds,)) for name, seconds in parts]


def _measured(report: dict[str, object]) -> int:
    verdicts = report["verdicts"]
    if not isinstance(verdicts, list):
        raise CannotRun("report.json has no verdicts")
    return len({v["node"] for v in verdicts if v["check"] == "os_noise" and v["outcome"] == "PASS"} - {""})


def _why(report: dict[str, object]) -> str:
    """What kept them: the driver's words, where it has any."""
    events = report["events"]
    if not isinstance(events, list):
        return ""
    told = [event["detail"] for event in events if event["kind"] in ("death", "ended") and event["detail"]]
    return f"because: {told[0][:200]}" if told else "of all ranks"
