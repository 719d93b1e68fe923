"""What the list of runs says of each, and which of them may be removed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from support.finished_runs import gpu_run

from hpcaccept.app.run.conclude import collect, judge_run, write_report
from hpcaccept.app.run.listing import lines_of, usual_duration_s
from hpcaccept.app.run.prune import removable, remove
from hpcaccept.launch import local
from hpcaccept.model.event import CANCELLED, Event
from hpcaccept.model.job import JobRef, JobStatus, State
from hpcaccept.store.folder import RunFolder, all_runs
from hpcaccept.store.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 30, 12, tzinfo=timezone.utc)
SLOW = (7.9e14, 7.91e14, 5e14, 7.92e14)


def judged(folder: RunFolder, place: Path) -> RunFolder:
    write_report(folder, judge_run(collect(folder), place / "baselines"))
    return folder


def without_an_end(folder: RunFolder, *last: Event) -> RunFolder:
    folder.driver_log.unlink()
    journal = Journal(folder.driver_log)
    for event in (Event("started", "2026-11-30T11:00:00+00:00", nodes=("node0",)), *last):
        journal.write(event)
    return folder


def test_a_judged_run_is_listed_with_its_verdict_and_the_nodes_that_failed(tmp_path: Path) -> None:
    (line,) = lines_of([judged(gpu_run(tmp_path, rates=SLOW), tmp_path)], NOW)
    assert (line.state, line.verdict, line.exit_code, line.bad_nodes) == ("ended", "NOT ACCEPTED", 1, "node2")
    assert (line.nodes, line.duration_s) == (4, 0.0)


@pytest.mark.parametrize(
    ("state", "shown"), [("pending", "queued"), ("stuck", "queued"), ("running", "running"), ("lost", "lost")]
)
def test_a_run_without_an_end_is_in_the_state_that_its_launcher_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: State, shown: str
) -> None:
    folder = without_an_end(gpu_run(tmp_path, launcher="local"))
    folder.write_job(JobRef("local", "1"))
    monkeypatch.setattr(local, "status", lambda job: JobStatus(state))
    (line,) = lines_of([folder], NOW)
    assert (line.state, line.verdict, line.duration_s) == (shown, "", 3600.0)


def test_a_report_made_while_the_job_runs_does_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = judged(gpu_run(tmp_path, launcher="local"), tmp_path)
    without_an_end(folder).write_job(JobRef("local", "1"))
    monkeypatch.setattr(local, "status", lambda job: JobStatus("running"))
    assert not lines_of([folder], NOW)[0].over


def test_a_cancelled_run_is_listed_as_cancelled(tmp_path: Path) -> None:
    folder = without_an_end(gpu_run(tmp_path), Event("ended", "2026-11-30T11:00:05+00:00", detail=CANCELLED))
    (line,) = lines_of([folder], NOW)
    assert (line.state, line.duration_s) == ("cancelled", 5.0)


def test_a_run_of_which_nothing_is_known_may_still_be_running(tmp_path: Path) -> None:
    folder = gpu_run(tmp_path)
    folder.driver_log.unlink()
    assert not lines_of([folder], NOW)[0].over


def test_a_damaged_plan_leaves_the_line_empty_and_the_run_in_place(tmp_path: Path) -> None:
    folder = gpu_run(tmp_path)
    folder.plan_file.write_text("{")
    (line,) = lines_of([folder], NOW)
    assert (line.run, line.state, line.suite) == ("run1", "unknown", "")
    assert removable([folder], NOW, keep=0, older_than_days=None, keep_bad=False) == []


def three(place: Path) -> list[RunFolder]:
    rates = {"a": SLOW, "b": SLOW[:2], "c": SLOW[:2]}
    return [
        judged(gpu_run(place, name, some, at=(NOW - timedelta(days=90 - 30 * age)).isoformat()), place)
        for age, (name, some) in enumerate(rates.items())
    ]


@pytest.mark.parametrize(
    ("keep", "days", "keep_bad", "gone"),
    [
        (1, None, False, ["a", "b"]),
        (0, None, False, ["a", "b", "c"]),
        (5, None, False, []),
        (None, 45.0, False, ["a", "b"]),
        (2, 45.0, False, ["a"]),
        (0, None, True, ["b", "c"]),
    ],
)
def test_both_rules_must_let_a_run_go(
    tmp_path: Path, keep: int | None, days: float | None, keep_bad: bool, gone: list[str]
) -> None:
    found = removable(three(tmp_path), NOW, keep=keep, older_than_days=days, keep_bad=keep_bad)
    assert [folder.run_id for folder, _ in found] == gone


def test_removing_a_run_follows_no_link_out_of_its_folder(tmp_path: Path) -> None:
    first, *others = three(tmp_path)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (first.path / "link").symlink_to(tmp_path / "precious")
    remove(first)
    assert [f.run_id for f in all_runs(tmp_path / "runs")] == [f.run_id for f in others]
    assert (tmp_path / "precious" / "file").exists()


def test_how_long_such_a_run_takes_is_known_from_earlier_ones_like_it(tmp_path: Path) -> None:
    took = {"a": 40, "b": 60, "c": 50}
    for name, seconds in took.items():
        end = (NOW - timedelta(hours=1) + timedelta(seconds=seconds)).isoformat()
        without_an_end(gpu_run(tmp_path, name), Event("ended", end))
    without_an_end(
        gpu_run(tmp_path, "cut"),
        Event("ended", "2026-11-30T11:00:01+00:00", detail="the time limit of the job is near"),
    )
    other = gpu_run(tmp_path, "larger", (7.9e14,) * 8)
    mine = gpu_run(tmp_path, "mine")
    assert usual_duration_s(mine, all_runs(tmp_path / "runs")) == 50.0
    assert usual_duration_s(other, all_runs(tmp_path / "runs")) is None
