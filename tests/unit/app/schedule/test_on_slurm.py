from __future__ import annotations

import contextlib
import datetime as dt
import re
from dataclasses import replace
from pathlib import Path

import pytest

from hpcaccept import launch
from hpcaccept.app.schedule import on_slurm
from hpcaccept.app.schedule.clock import Clock
from hpcaccept.app.schedule.job import Job, Seen
from hpcaccept.app.schedule.on_slurm import OnSlurm, comment_of, submission
from hpcaccept.app.schedule.records import Record
from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.model.schedule.entry import Added
from hpcaccept.model.schedule.progress import Progress
from hpcaccept.model.schedule.recipe import Recipe
from hpcaccept.model.schedule.standing import Standing
from hpcaccept.transport.process import Done

AT = dt.datetime(2026, 12, 1, 4, 23, tzinfo=dt.timezone.utc)
ADDED = Added(
    "20261130t125356-85f0c23b", AT.isoformat(), "slurm", "c" * 40, "Fix\tthe loss", "main", True, "d" * 64, 0, (), 0, 0, "", 1, 1
)  # fmt: skip
SLURM = Path(__file__).parents[3] / "data" / "slurm"


def job(before_s: float, attempt: int = 1) -> Job:
    clock = Clock(wall=lambda: AT.timestamp() - before_s)
    recipe = Recipe("true", slurm={"partition": "gpu", "exclusive": ""})
    return Job(Record(Path("/r/run %j")), recipe, Standing(ADDED, attempt=attempt), Progress(), clock, OnSlurm())


def test_the_job_begins_at_its_time_whatever_the_time_zone() -> None:
    words = submission(job(3599.5), "1")
    assert "--begin=now+3600seconds" in words
    assert "--job-name=hpcaccept-20261130t125356-85f0c23b-1" in words
    assert words[-3:] == ["--partition=gpu", "--exclusive", "--wrap=exec bash '/r/run %j/start.sh' 1 1"]


@pytest.mark.parametrize(("before_s", "attempt"), [(-5.0, 1), (100.0, 2)])
def test_what_is_due_or_resumed_begins_at_once(before_s: float, attempt: int) -> None:
    assert not [each for each in submission(job(before_s, attempt), "1") if each.startswith("--begin")]


def test_commit_and_changes_stand_in_the_comment() -> None:
    text = comment_of(ADDED)
    assert f"run={ADDED.run} commit={'c' * 40}-dirty changes={'d' * 12}: Fix the loss" in text
    assert len(comment_of(replace(ADDED, subject="x" * 900))) == 250


@pytest.mark.parametrize("option", ["begin", "comment", "job-name", "array", "open_mode"])
def test_options_that_the_record_depends_on_are_refused(option: str) -> None:
    with pytest.raises(UsageError, match="sets it itself"):
        OnSlurm().check(Recipe("true", slurm={option: "x"}))


def stands(folder: Path, case: str, listed: str, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """What a look says of a job that is listed like this, and of which Slurm says what was recorded."""
    said = dict(re.findall(r"^\$ (\w+) .*\n((?:[^$].*\n?)*)", (SLURM / f"{case}.txt").read_text(), re.M))

    def ask_slurm(words: list[str], **_: object) -> Done:
        return Done(0, listed if any(word.startswith("--name=") for word in words) else said[words[0]], "")

    monkeypatch.setattr(on_slurm, "ask_slurm", ask_slurm)
    monkeypatch.setattr(launch.load("slurm"), "ask_slurm", ask_slurm)
    standing = Standing(ADDED, "running", attempt=2, job="1", key="1")
    return OnSlurm().look(Job(Record(folder), Recipe("true"), standing, Progress(), Clock(), OnSlurm()))


def started(folder: Path, *codes: int | None) -> None:
    """One start after the other, each with the exit status that it has left."""
    for number, code in enumerate(codes):
        (folder / f"begun.1.{number}").write_text("1 boot 2\n")
        if code is not None:
            (folder / f"ended.1.{number}").write_text(f"{code}\n")


@pytest.mark.parametrize(
    ("codes", "expected"),
    [((143,), ("lost", None)), ((143, None), ("ended", None)), ((143, 0), ("ended", 0)), ((143, 7), ("ended", 7))],
)
def test_a_start_that_slurm_refused_does_not_end_with_the_status_of_the_start_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codes: tuple[int | None, ...], expected: tuple[str, int | None]
) -> None:
    started(tmp_path, *codes)
    seen = stands(tmp_path, "credential_revoked", "", monkeypatch)
    assert (seen.state, seen.exit_code) == expected
    assert seen.exit_code is not None or "FAILED, NonZeroExitCode" in seen.text


@pytest.mark.parametrize(("code", "expected"), [(0, ("ended", 0)), (143, ("pending", None)), (None, ("pending", None))])
def test_a_command_that_has_ended_well_is_not_waited_for_where_another_node_refuses_its_job_too_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int | None, expected: tuple[str, int | None]
) -> None:
    started(tmp_path, code)
    seen = stands(tmp_path, "launch_failed_held", "39|PENDING\n", monkeypatch)
    assert (seen.state, seen.exit_code) == expected


def test_a_job_is_not_started_again_in_the_second_in_which_slurm_has_ended_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def ask_slurm(words: list[str]) -> Done:
        asked.append(words)
        return Done(0, "", "")

    monkeypatch.setattr(on_slurm, "ask_slurm", ask_slurm)
    on_slurm._release("7", due=True)
    assert asked == [["scontrol", "update", "jobid=7", "StartTime=now+3"], ["scontrol", "release", "7"]]


@pytest.mark.parametrize(
    ("said", "cancelled"),
    [
        ("Requested operation is presently disabled for job 7", True),
        ("slurm_requeue error: Socket timed out on send/recv operation", False),
        ("slurm_requeue error: Unable to contact slurm controller (connect failure)", False),
    ],
)
def test_a_job_is_ended_for_a_pause_where_requeues_are_not_allowed_and_not_where_slurm_was_not_reached(
    monkeypatch: pytest.MonkeyPatch, said: str, cancelled: bool
) -> None:
    asked: list[str] = []

    def ask_slurm(words: list[str]) -> Done:
        asked.append(words[0])
        return Done(0, "", "") if words[0] == "scancel" else Done(1, "", f"{said}\n")

    monkeypatch.setattr(on_slurm, "ask_slurm", ask_slurm)
    with contextlib.nullcontext() if cancelled else pytest.raises(LaunchError):
        on_slurm._put_back("7", "RUNNING")
    assert ("scancel" in asked) is cancelled
