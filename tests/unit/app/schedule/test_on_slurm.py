from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from hpcaccept.app.schedule.clock import Clock
from hpcaccept.app.schedule.job import Job
from hpcaccept.app.schedule.on_slurm import OnSlurm, comment_of, submission
from hpcaccept.app.schedule.records import Record
from hpcaccept.errors import UsageError
from hpcaccept.model.schedule.entry import Added
from hpcaccept.model.schedule.progress import Progress
from hpcaccept.model.schedule.recipe import Recipe
from hpcaccept.model.schedule.standing import Standing

AT = dt.datetime(2026, 12, 1, 4, 23, tzinfo=dt.timezone.utc)
ADDED = Added(
    "20261130t125356-85f0c23b", AT.isoformat(), "slurm", "c" * 40, "Fix\tthe loss", "main", True, "d" * 64, 0, (), 0, 0, "", 1, 1
)  # fmt: skip


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
