"""A stand-in for Slurm in which campaigns go fast: nodes, jobs and a queue in one file, so that it outlives whoever is killed.

It is stricter than Slurm: a job on a node that is not idle, two jobs of one run, or a job that is ended for nobody, are written down as violations. Time is
the number of looks at the cluster. What a job would have measured is not: the judge of a run is a stand-in too.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcaccept.app.campaign import rounds, runs
from hpcaccept.errors import LaunchError
from hpcaccept.launch import slurm
from hpcaccept.model.event import CANCELLED, Event
from hpcaccept.model.job import JobRef, JobStatus
from hpcaccept.model.nightly.night import Concluded, Withdrawn
from hpcaccept.model.node import ClusterNow, NodeState, WaitingJob
from hpcaccept.plan.node_names import nodes_named
from hpcaccept.serial import dumps

if TYPE_CHECKING:
    from hpcaccept.model.plan import Plan
    from hpcaccept.store.folder import RunFolder

#: Further looks at the cluster for which a job runs.
LASTS = 2


class StandInSlurm:
    """Nodes of a partition ``gpu``, and who holds them."""

    def __init__(self, folder: Path, nodes: int = 3) -> None:
        self.file = folder / "slurm.json"
        if not self.file.exists():
            self.keep(
                {
                    "looks": 0,
                    "nodes": [f"node{n}" for n in range(nodes)],
                    "jobs": {},
                    "busy": [],
                    "waiting": [],
                    "bad": {},
                    "violations": [],
                }
            )

    def known(self) -> dict[str, Any]:
        """All that it knows."""
        found: dict[str, Any] = json.loads(self.file.read_text())
        return found

    def keep(self, known: dict[str, Any]) -> None:
        """Replace it."""
        beside = self.file.with_suffix(".new")
        beside.write_text(json.dumps(known))
        beside.replace(self.file)

    def change(self, **changes: Any) -> None:
        """Something of it."""
        self.keep({**self.known(), **changes})

    def runs_of(self, node: str) -> list[str]:
        """States of the jobs that a node has had."""
        return [job["state"] for job in self.known()["jobs"].values() if node in job["nodes"]]

    def install(self, monkeypatch: Any) -> None:
        """Put it in the place of Slurm, and of the judge."""
        for name in ("submit", "status", "cancel", "withdraw", "find_job", "cluster_now"):
            monkeypatch.setattr(slurm, name, getattr(self, name))
        monkeypatch.setattr(slurm, "available", lambda: "")
        monkeypatch.setattr(slurm, "default_gpus", lambda _: 0)
        monkeypatch.setattr(slurm, "default_mpi", lambda listed=None: "pmix")
        monkeypatch.setattr(runs, "must_fit", lambda *_: None)
        monkeypatch.setattr(runs, "judged", self.judged)
        monkeypatch.setattr(rounds, "LOOK_S", 0.0)
        monkeypatch.setattr(rounds, "ROOM_S", 0.0)
        monkeypatch.setattr(runs, "WAITS_ASK_S", 0.0)
        monkeypatch.setattr(runs, "RUNS_ASK_S", 0.0)

    # --- what is asked of Slurm ---------------------------------------------------------------------------------------

    def submit(self, plan: Plan, folder: RunFolder) -> JobRef:
        """A job that begins at once, as its nodes are idle."""
        known = self.known()
        nodes = sorted(nodes_named(plan.request.nodelist, "nodelist"))
        if "refused" in known:
            raise LaunchError(known["refused"])
        if any(job["run"] == folder.run_id for job in known["jobs"].values()):
            known["violations"].append(f"{folder.run_id} twice")
        if set(nodes) & self._held(known):
            known["violations"].append(f"{nodes} are not idle")
        number = str(len(known["jobs"]) + 1)
        known["jobs"][number] = {
            "run": folder.run_id, "folder": str(folder.path), "nodes": nodes, "state": "running", "since": known["looks"],
            "word": plan.request.slurm["comment"],
        }  # fmt: skip
        self.keep(known)
        return JobRef("slurm", number)

    def status(self, job: JobRef) -> JobStatus:
        """As it is now."""
        state = self.known()["jobs"][job.id]["state"]
        return JobStatus(state, "CANCELLED by 0" if state == "cancelled" else state.upper())

    def cancel(self, job: JobRef) -> None:
        """End it, which is right where somebody waits."""
        known = self.known()
        found = known["jobs"][job.id]
        if found["state"] == "running":
            found["state"] = "cancelled"
            _last_word(found, CANCELLED)
            if not known["waiting"] and not known.get("stopping"):
                known["violations"].append(f"{found['run']} was ended for nobody")
            self.keep(known)

    def withdraw(self, job: JobRef) -> bool:
        """Nothing waits here."""
        return bool(self.known()["jobs"][job.id]["state"] != "running")

    def find_job(self, word: str) -> JobRef | None:
        """By its comment."""
        return next(
            (JobRef("slurm", n) for n, job in self.known()["jobs"].items() if word in job["word"].split()), None
        )

    def cluster_now(self, partition: str) -> ClusterNow:
        """One look; time goes on."""
        known = self.known()
        known["looks"] += 1
        for job in known["jobs"].values():
            if job["state"] == "running" and known["looks"] - job["since"] > LASTS and not known.get("endless"):
                job["state"] = "ended"
                _last_word(job)
        held = self._held(known)
        if known.get("arrives") and sum(job["state"] == "running" for job in known["jobs"].values()) >= 2:
            known["waiting"].append(known.pop("arrives"))
        # Who waits has its nodes as soon as they are free, and is gone at the next look.
        known["waiting"] = [one for one in known["waiting"] if len(set(known["nodes"]) - held) < one["nodes"]]
        self.keep(known)
        nodes = [
            NodeState(name, ("ALLOCATED",) if name in held else ("IDLE",), partitions=("gpu",))
            for name in known["nodes"]
        ]
        waiting = [WaitingJob(one["id"], ("gpu",), one["nodes"], "Resources", math.inf) for one in known["waiting"]]
        return ClusterNow("gpu", tuple(nodes), (), tuple(waiting))

    def _held(self, known: dict[str, Any]) -> set[str]:
        ours = {node for job in known["jobs"].values() if job["state"] == "running" for node in job["nodes"]}
        return ours | set(known["busy"])

    def judged(self, folder: RunFolder, night: str, judging: object, status: JobStatus | None) -> Concluded | Withdrawn:
        """In the place of the judge: all well but the nodes that are bad; a job that was ended has measured nothing."""
        if status is not None:
            return Withdrawn(night, folder.run_id, f"ended from outside before anything was judged: {status.detail}")
        plan = folder.read_plan()
        bad = self.known()["bad"]
        nodes = {name: bad.get(name, "PASS") for name in sorted(nodes_named(plan.request.nodelist, "nodelist"))}
        reasons = {name: "slow" for name, outcome in nodes.items() if outcome != "PASS"}
        return Concluded(night, folder.run_id, plan.created_at, int("FAIL" in nodes.values()), nodes, reasons, 0.01)


def _last_word(job: dict[str, Any], detail: str = "") -> None:
    """What the driver of a job says last."""
    event = Event("ended", "2026-11-30T12:00:00+00:00", detail=detail)
    Path(job["folder"], "driver.jsonl").write_text(f'{{"kind":"event","data":{dumps(event)}}}\n')
