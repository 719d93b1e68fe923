"""What a report says of a job that did not come to its end: Slurm's reason, the node that failed, the last lines of the job's output."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import AT, DATA, evidence, judged, judged_run_of, nodes, plan, record, suite, where

from hpcaccept.app.run import conclude, wait
from hpcaccept.app.run.job_end import last_lines, with_output
from hpcaccept.launch import slurm
from hpcaccept.launch._slurm import job_end as slurm_end
from hpcaccept.launch.job.events import Events
from hpcaccept.model.event import CANCELLED, Event
from hpcaccept.model.job import JobRef, JobStatus
from hpcaccept.model.verdict import Outcome
from hpcaccept.parse.slurm.job_end import parse_canceller, parse_failed_nodes, parse_gone_nodes, parse_nodes_of_job
from hpcaccept.parse.slurm.jobs import parse_scontrol_job, parse_state
from hpcaccept.report.phrases import conclusion
from hpcaccept.store.folder import RunFolder
from hpcaccept.transport.process import Done

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.record import Record

TRACEBACK = """\
Traceback (most recent call last):
  File "/opt/site/python3/runpy.py", line 198, in _run_module_as_main
ImportError: /opt/site/libpython.so: \x1b[31mundefined symbol\x1b[0m: PyThing\x07
"""


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.create()
    run.write_plan(plan(suite("identity")))
    return run


def test_of_an_output_the_last_lines_are_kept_harmless_and_bounded() -> None:
    text = (
        "".join(f"line {number}\n" for number in range(100)) + "\x1b]0;title\x07\x1b[1;31mred\x1b[0m\r\n\n" + "x" * 9000
    )
    found = last_lines(text)
    assert len(found) == 12
    assert found[-2] == "red"
    assert found[-1] == "x" * 300 + "…"
    assert all(character.isprintable() for line in found for character in line)


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (JobStatus("failed", "FAILED, NonZeroExitCode, exit code 1, signal 0"), "undefined symbol: PyThing"),
        (JobStatus("out_of_memory", "OUT_OF_MEMORY, OutOfMemory", "Ask for more."), "undefined symbol: PyThing"),
        (JobStatus("lost", "process 4711 is gone"), "undefined symbol: PyThing"),
    ],
)
@pytest.mark.parametrize("name", ["4711_0_log.out", "driver.log"])
def test_where_the_driver_had_no_last_word_every_report_shows_what_the_job_printed(
    folder: RunFolder, job: JobStatus, said: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder.logs / name).write_text(TRACEBACK)
    assert conclude.conclude(folder, folder.path, "table", job) == 3
    shown = capsys.readouterr().out
    report = json.loads(folder.report_file.read_text())
    page = folder.page_file.read_text()
    flat = " ".join(shown.split())
    assert job.detail in flat
    assert said in flat
    assert "\x1b[31m" not in page + json.dumps(report)
    assert any(said in note for note in report["notes"])
    assert said in page
    assert report["job_end"]["state"] == job.state
    assert said in report["job_end"]["last_lines"][-1]
    assert report["job_end"]["remedy"]


def test_a_last_word_of_the_driver_says_more_than_its_output(folder: RunFolder) -> None:
    (folder.logs / "4711_0_log.out").write_text(TRACEBACK)
    found = with_output(folder, JobStatus("node_fail", "NODE_FAIL, NodeDown"), last_word=True)
    assert found is not None
    assert found.last_lines == ()


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "nothing", "empty"])
def test_a_log_that_is_none_keeps_no_report_waiting(folder: RunFolder, kind: str) -> None:
    log = folder.logs / "4711_0_log.out"
    if kind == "pipe":
        os.mkfifo(log)
    elif kind == "folder":
        log.mkdir()
    elif kind == "link":
        (folder.path / "secret").write_text("secret\n")
        log.symlink_to(folder.path / "secret")
    elif kind == "empty":
        log.touch()
    job = JobStatus("failed", "FAILED")
    assert with_output(folder, job, last_word=False) == job


# --- a node that failed -----------------------------------------------------------------------------------------------


def test_srun_names_the_node_that_slurm_lost() -> None:
    assert parse_failed_nodes((DATA / "launchers" / "srun_node_failure.err").read_text()) == ("node2",)
    assert parse_failed_nodes("srun: error: Node failure on gpu[07-08]\n") == ("gpu07", "gpu08")
    assert parse_failed_nodes("rank 3 says: Node failure on node1\nsrun: error: Node failure on [[[\n") == ()


def test_sinfo_names_the_nodes_that_are_gone() -> None:
    text = "node0|idle\nnode0|idle\nnode1|allocated\nnode2|down*\nnode2|down*\nnode3|idle*\nnode4|drained\nnode5|rebooting\n"
    assert parse_gone_nodes(text) == ("node2", "node3", "node5")


def test_a_node_that_failed_is_asked_for_among_those_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = (DATA / "slurm" / "node_fail.txt").read_text()
    assert parse_nodes_of_job(shown) == "node[1-2]"
    asked = []

    def said(command: tuple[str, ...]) -> Done:
        asked.append(command)
        return Done(0, "node1|idle\nnode2|down*\n", "")

    monkeypatch.setattr(slurm_end, "ask_slurm", said)
    status = parse_scontrol_job(shown, "22")
    assert status is not None
    found = slurm_end.with_cause(status, "22", shown)
    assert (found.state, found.nodes) == ("node_fail", ("node2",))
    assert asked[-1][-1] == "node[1-2]"
    assert "sinfo -R" in found.remedy


def cut_short(*names: str) -> list[Record]:
    return [record("speed", node, None, cause="ended by SIGTERM", cut_short=True, by_peer=True) for node in names]


def failed_run(job: JobStatus | None, last: str = CANCELLED) -> Evidence:
    found = evidence(cut_short("node0", "node1", "node3"))
    return replace(found, job=job, events=(Event("ended", AT, detail=last),))


def test_a_node_that_failed_is_named_and_the_run_was_not_cancelled() -> None:
    found = failed_run(JobStatus("node_fail", "NODE_FAIL, NodeDown", "Ask Slurm.", nodes=("node2",)))
    judgement = judged(found)
    mine = [v for v in judgement.verdicts if v.subject.node == "node2"]
    assert {v.outcome for v in mine} == {Outcome.ERROR}
    assert any("the node failed while the job ran" in v.reason and "node2" in v.remedy for v in mine)
    others = [v for v in judgement.verdicts if v.subject.node == "node0"]
    assert all("cut short because node2 failed (NODE_FAIL, NodeDown)" in v.reason for v in others)
    assert not any("cancelled" in v.reason for v in judgement.verdicts)
    run = judged_run_of(found)
    assert "node2 failed" in " ".join(run.summary.notes)
    assert "node2 failed" in conclusion(run).sentence


def test_a_driver_that_was_told_to_end_leaves_the_cause_to_slurm(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    Events(folder).say("ended", detail=CANCELLED)
    answers = [JobStatus("running", "COMPLETING"), JobStatus("node_fail", "NODE_FAIL, NodeDown")]
    monkeypatch.setattr(slurm, "status", lambda _: answers.pop(0))
    found = wait.wait_for(folder, JobRef("slurm", "22"), lambda _: None)
    assert found == JobStatus("node_fail", "NODE_FAIL, NodeDown")


def test_a_job_that_was_put_back_into_the_queue_is_not_waited_for(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    Events(folder).say("ended", detail=CANCELLED)
    answers = [JobStatus("running", "COMPLETING"), JobStatus("pending", "PENDING, BeginTime")]
    monkeypatch.setattr(slurm, "status", lambda _: answers.pop(0))
    found = wait.wait_for(folder, JobRef("slurm", "22"), lambda _: None)
    assert found is not None
    assert found.sentence == "the job was cancelled (put back into the queue: PENDING, BeginTime)"


def test_any_other_last_word_is_believed_at_once(folder: RunFolder) -> None:
    Events(folder).say("ended", detail="the time limit of the job is near")
    assert wait.wait_for(folder, JobRef("slurm", "22"), lambda _: None) is None


# --- a run that was cancelled -----------------------------------------------------------------------------------------


def wrong(**more: Any) -> Evidence:
    """node0 computes wrongly, which fails without any comparison."""
    found = [
        record("speed", node, {"rate_flops[fp32]": 1e15, "wrong_elements[fp32]": 3.0 if node == "node0" else 0.0})
        for node in nodes(4)
    ]
    return replace(evidence(found), **more)


def slow(**more: Any) -> Evidence:
    """node0 is slower than its like by half, in both launches."""
    found = [
        record("speed", node, {"rate_flops[fp32]": (0.5 if node == "node0" else 1) * 1e15}, step=launch)
        for node in nodes(6)
        for launch in ("00", "01")
    ]
    return replace(evidence(found, plan(nodes=6)), **more)


CANCELLED_RUNS: list[dict[str, Any]] = [
    {"events": (Event("ended", AT, detail=CANCELLED),)},
    {
        "events": (Event("ended", AT, detail=CANCELLED),),
        "job": JobStatus("cancelled", "CANCELLED by root (user 0)"),
    },
    {"events": (Event("started", AT),), "job": JobStatus("cancelled", "PREEMPTED, Preempted")},
]


@pytest.mark.parametrize("more", CANCELLED_RUNS)
def test_a_cancelled_run_blames_nobody_for_being_slow_and_says_what_it_found(more: dict[str, Any]) -> None:
    assert where(judged(slow()).verdicts, Outcome.FAIL) == {"node0"}
    judgement = judged(slow(**more))
    assert not where(judgement.verdicts, Outcome.FAIL)
    doubts = [v for v in judgement.verdicts if v.outcome is Outcome.WARN and v.metric == "rate_flops"]
    assert {v.subject.node for v in doubts} == {"node0"}
    assert "not confirmed: the job was cancelled" in doubts[0].reason
    assert judgement.exit_code == 3


@pytest.mark.parametrize("more", CANCELLED_RUNS)
def test_what_was_shown_to_be_wrong_stays_wrong_however_the_run_ended(more: dict[str, Any]) -> None:
    for evidence_of in (wrong, short_of_gpus):
        before, after = judged(evidence_of()), judged(evidence_of(**more))
        assert where(before.verdicts, Outcome.FAIL) == where(after.verdicts, Outcome.FAIL) == {"node0"}
        assert after.exit_code == 1


def short_of_gpus(**more: Any) -> Evidence:
    """node0 has seven of the eight GPUs that were asked for."""
    found = [
        record("identity", node, {"gpu_count": 7.0 if node == "node0" else 8.0, "cores": 96.0}) for node in nodes(4)
    ]
    asked = plan(suite("identity"), gpus_per_node=8)
    return replace(evidence(found, asked), **more)


def test_what_slurm_ended_for_another_reason_keeps_its_findings() -> None:
    more = {"events": (Event("ended", AT, detail=CANCELLED),), "job": JobStatus("timeout", "TIMEOUT")}
    assert where(judged(wrong(**more)).verdicts, Outcome.FAIL) == {"node0"}


@pytest.mark.parametrize(
    ("state", "who"), [("CANCELLED by 0", 0), ("CANCELLED by 1000|0:0", 1000), ("CANCELLED", None), ("", None)]
)
def test_accounting_says_who_cancelled(state: str, who: int | None) -> None:
    assert parse_canceller(state) == who


def test_who_cancelled_is_told_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_end, "ask_slurm", lambda _: Done(0, "CANCELLED by 0\n", ""))
    found = slurm_end.with_cause(JobStatus("cancelled", "CANCELLED"), "7", "")
    assert found.sentence == "the job was cancelled (CANCELLED by root (user 0))"


@pytest.mark.parametrize(
    ("word", "state", "remedy"),
    [
        ("PREEMPTED", "cancelled", "higher rank"),
        ("TIMEOUT", "timeout", "--time"),
        ("OUT_OF_MEMORY", "out_of_memory", "mem=0"),
        ("NODE_FAIL", "node_fail", "sinfo -R"),
        ("CANCELLED+", "cancelled", "blames nobody for being slow"),
    ],
)
def test_how_slurm_ended_a_job_says_what_to_do(word: str, state: str, remedy: str) -> None:
    found = parse_state(word)
    assert found.state == state
    assert remedy in found.remedy
