"""What a night makes of jobs that do not begin, and of reports that it reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hpcaccept.app.campaign import runs
from hpcaccept.app.campaign.runs import Open, Watched, look, told_by
from hpcaccept.errors import LaunchError
from hpcaccept.launch import slurm
from hpcaccept.model.job import JobRef, JobStatus
from hpcaccept.parse.slurm.jobs import parse_scontrol_job
from hpcaccept.store.folder import RunFolder

DATA = Path(__file__).parents[3] / "data" / "slurm" / "22.05"
REPORT: dict[str, Any] = {
    "created_at": "2026-11-22T02:00:00+00:00",
    "exit_code": 1,
    "nodes": {"a": "PASS", "b": "FAIL", "c": "ERROR"},
    "coverage": {"nodes_silent": ["d"]},
    "verdicts": [
        {"outcome": "WARN", "node": "b", "device": "", "check": "x", "metric": "", "variant": "", "reason": "odd"},
        {"outcome": "FAIL", "node": "b", "device": "gpu3", "check": "matmul", "metric": "rate", "variant": "bf16",
         "reason": "slow"},
        {"outcome": "FAIL", "node": "b", "device": "", "check": "y", "metric": "", "variant": "", "reason": "later"},
        {"outcome": "ERROR", "node": "c", "device": "", "check": "y", "metric": "", "variant": "", "reason": "died"},
    ],
}  # fmt: skip


def folder_with(tmp_path: Path, report: object) -> RunFolder:
    folder = RunFolder(tmp_path / "run1")
    folder.path.mkdir()
    folder.report_file.write_text(report if isinstance(report, str) else json.dumps(report))
    return folder


def test_a_report_tells_of_every_node_that_was_asked_and_why_it_is_bad(tmp_path: Path) -> None:
    told = told_by(folder_with(tmp_path, REPORT), "n1")
    assert told.nodes == {"a": "PASS", "b": "FAIL", "c": "ERROR", "d": "NOT_RUN"}
    assert told.reasons == {"b": "gpu3 matmul.rate[bf16]: slow", "c": "y: died"}
    assert (told.run, told.exit_code, told.at) == ("run1", 1, "2026-11-22T02:00:00+00:00")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"nodes": 3}', '{"nodes": {}, "coverage": {"nodes_silent": 3}}'])
def test_a_report_of_another_form_is_an_error_with_its_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(LaunchError, match=r"run1/report\.json cannot be read"):
        told_by(folder_with(tmp_path, text), "n1")


class Queue:
    """Stands for Slurm: states of jobs in turn, the last for ever; a job that is taken back is gone unless it runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **states: list[str]) -> None:
        self.states, self.taken = states, list[str]()
        monkeypatch.setattr(slurm, "status", self.status)
        monkeypatch.setattr(slurm, "withdraw", self.withdraw)
        monkeypatch.setattr(runs, "events_of", lambda _: [])

    def status(self, job: JobRef) -> JobStatus:
        left = self.states[job.id]
        return JobStatus(left.pop(0) if len(left) > 1 else left[0], "PENDING, Resources")  # type: ignore[arg-type]

    def withdraw(self, job: JobRef) -> bool:
        self.taken.append(job.id)
        return self.status(job).state != "running"


def watched(tmp_path: Path, job: str, until: float = 60.0) -> Watched:
    return Watched(Open(RunFolder(tmp_path / f"run-{job}"), JobRef("slurm", job)), until, until)


def looks(one: Watched, times: int = 3) -> list[str]:
    """What each look finds, a minute after the one before, up to the last that matters."""
    found: list[str] = []
    for number in range(times):
        found.append(look(one, number * 60.0).state)
        if found[-1] in ("over", "taken back"):
            break
    return found


def test_what_slurm_preempted_is_told_from_what_was_cancelled() -> None:
    def ended(case: str) -> str:
        said = (DATA / f"{case}.txt").read_text("utf-8").partition("$ scontrol")[2]
        status = parse_scontrol_job(said, "1")
        assert status is not None
        return runs.why_ended(status.detail)

    assert (ended("preempted"), ended("cancelled_running")) == ("preempted", "other")


def test_jobs_that_begin_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue(monkeypatch, a=["pending", "pending", "running"], b=["running"], c=["ended"])
    assert looks(watched(tmp_path, "a", 1e9)) == ["waits", "waits", "runs"]
    assert looks(watched(tmp_path, "b"), 2) == ["runs", "runs"]
    assert looks(watched(tmp_path, "c")) == ["over"]
    assert queue.taken == []


def test_a_job_that_does_not_begin_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue(monkeypatch, a=["pending"])
    found = look(watched(tmp_path, "a", 0), 0.0)
    assert (found.state, found.why) == ("taken back", "did not begin within 0 s: PENDING, Resources.")
    assert queue.taken == ["a"]


def test_a_job_that_can_never_begin_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue(monkeypatch, a=["pending", "stuck"])
    assert looks(watched(tmp_path, "a", 1e9)) == ["waits", "taken back"]
    assert queue.taken == ["a"]


def test_a_job_that_begins_while_it_is_taken_back_is_seen_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(monkeypatch, a=["pending", "running"])
    assert looks(watched(tmp_path, "a", 0), 2) == ["runs", "runs"]
    assert queue.taken == ["a"]


def test_a_job_that_has_begun_is_asked_for_seldom_and_one_that_is_ended_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Queue(monkeypatch, a=["running", "cancelled"])
    one = watched(tmp_path, "a")
    assert [look(one, now).state for now in (0.0, 2.0, 9.0)] == ["runs"] * 3
    one.ending = True
    assert look(one, 9.5).state == "over"
