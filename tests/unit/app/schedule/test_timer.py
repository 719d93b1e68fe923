"""What the timer does, with a place that is told what to say and a clock that jumps."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from support.scheduled_tree import tree_with

from hpcaccept.app.schedule import add, records, timer
from hpcaccept.app.schedule.clock import Clock
from hpcaccept.app.schedule.job import Failed, Job, NotYet, Seen
from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.model.schedule.entry import Kept, Released, Started
from hpcaccept.model.schedule.recipe import MetricRule, Recipe, StopRules
from hpcaccept.store.one_writer import locked

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.model.schedule.standing import Standing

BEGIN = dt.datetime(2026, 12, 1, 4, 23, tzinfo=dt.timezone.utc)


@dataclass
class Stage:
    """A place, and the clocks of its machine."""

    now_s: float = BEGIN.timestamp() - 3600
    boot_s: float = 1000.0
    boot: str = "one"
    seen: Seen = field(default_factory=lambda: Seen("running"))
    start_says: NotYet | Failed | None = None
    keeps: Kept | None = field(default_factory=lambda: Kept(whole=True))
    fault: str = ""
    done: list[str] = field(default_factory=list)
    defers: bool = False

    def clock(self) -> Clock:
        return Clock(lambda: self.now_s, lambda: self.boot_s, lambda: self.boot, lambda _: None)

    def later(self, seconds: float) -> None:
        self.now_s += seconds
        self.boot_s += seconds

    def check(self, recipe: Recipe) -> None: ...

    def start(self, job: Job) -> Started | NotYet | Failed:
        self.done.append(f"start {job.standing.attempt}")
        if self.fault:
            raise LaunchError(self.fault)
        return self.start_says or Started(job.standing.attempt, "17", "n1", str(job.standing.attempt))

    def look(self, job: Job) -> Seen:
        return self.seen

    def end(self, job: Job) -> Seen | None:
        self.done.append("end")
        return Seen("ended", 143)

    def fetch(self, job: Job) -> None: ...

    def keep(self, job: Job) -> Kept | None:
        self.done.append("keep")
        return self.keeps

    def release(self, job: Job) -> Released | None:
        self.done.append("release")
        return Released()

    def cost(self, job: Job, seconds: float) -> float:
        return 0.0


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    found = Stage()
    monkeypatch.setattr(timer, "place_of", lambda _: found)
    return found


@pytest.fixture
def there(tmp_path: Path) -> records.Records:
    return records.Records(tree_with(tmp_path / "tree", {"a": "a"}) / ".hpcaccept" / "runs")


def scheduled(there: records.Records, recipe: Recipe | None = None) -> records.Record:
    request = add.Request(there.folder.parents[1], recipe or Recipe("true"), "here", BEGIN)
    return add.add(request, there, BEGIN - dt.timedelta(hours=1), lambda _: None)


def once(there: records.Records, stage: Stage) -> Standing:
    timer.run_once(there, lambda _: None, stage.clock())
    return there.one("").standing()


def started(there: records.Records, stage: Stage, recipe: Recipe | None = None) -> records.Record:
    record = scheduled(there, recipe)
    stage.later(3600)
    assert once(there, stage).state == "running"
    return record


def test_a_run_begins_at_its_time_and_not_before(there: records.Records, stage: Stage) -> None:
    scheduled(there)
    stage.later(3599)
    assert once(there, stage).state == "scheduled"
    stage.later(1)
    assert once(there, stage).state == "running"


def test_a_clock_that_goes_back_starts_nothing_twice(there: records.Records, stage: Stage) -> None:
    started(there, stage)
    stage.now_s -= 7200
    assert once(there, stage).state == "running"
    stage.now_s += 7200
    once(there, stage)
    assert stage.done == ["start 1"]


def test_a_run_whose_time_nobody_saw_within_its_grace_is_missed(there: records.Records, stage: Stage) -> None:
    scheduled(there, Recipe("true", latest_h=2))
    stage.later(3600 + 2 * 3600 + 1)
    found = once(there, stage)
    assert found.state == "missed"
    assert "latest_h" in found.why
    assert stage.done == []


def test_a_timer_that_was_asleep_starts_late_within_its_grace(there: records.Records, stage: Stage) -> None:
    scheduled(there)
    stage.later(5 * 3600)
    assert once(there, stage).state == "running"


def test_running_hours_do_not_jump_with_the_wall_clock(there: records.Records, stage: Stage) -> None:
    started(there, stage, Recipe("true", stop=StopRules(max_hours=1)))
    stage.now_s += 10 * 3600
    stage.boot_s += 60
    assert once(there, stage).state == "running"
    stage.boot_s += 3600
    found = once(there, stage)
    assert (found.state, found.why) == ("stopped", "max_hours 1: it has run for 1 h 1 min")


def test_running_hours_are_kept_across_a_boot(there: records.Records, stage: Stage) -> None:
    started(there, stage, Recipe("true", stop=StopRules(max_hours=1)))
    stage.later(1800)
    once(there, stage)
    stage.boot, stage.boot_s = "two", 5.0
    stage.now_s += 1700
    assert once(there, stage).state == "running"
    stage.later(200)
    assert once(there, stage).state == "stopped"


def test_results_are_kept_before_anything_is_released(there: records.Records, stage: Stage) -> None:
    started(there, stage, Recipe("true", stop=StopRules(deadline="2026-12-01T05:00Z")))
    stage.later(3600)
    assert once(there, stage).state == "stopped"
    assert stage.done == ["start 1", "end", "keep", "release"]


def test_results_that_never_come_do_not_keep_what_is_rented_for_ever(there: records.Records, stage: Stage) -> None:
    stage.keeps = None
    started(there, stage)
    stage.seen = Seen("ended", 0)
    assert once(there, stage).state == "halted"
    stage.later(timer.KEEP_S - 1)
    assert once(there, stage).state == "halted"
    stage.later(2)
    found = once(there, stage)
    assert found.state == "done"
    assert found.kept == Kept(whole=False, why="they did not come in time")


def test_a_metric_that_does_not_improve_stops_the_run_with_its_evidence(there: records.Records, stage: Stage) -> None:
    rule = MetricRule("val_loss", file="losses.csv", format="csv", step="epoch", patience=3)
    record = started(there, stage, Recipe("true", stop=StopRules(metric=rule)))
    losses = record.file(records.WORK) / "losses.csv"
    losses.write_text("epoch,val_loss\n1,0.5\n2,0.4\n3,0.41\n")
    assert once(there, stage).state == "running"
    with losses.open("a") as more:
        more.write("4,0.42\n5,0.4")
    assert once(there, stage).state == "running"
    with losses.open("a") as more:
        more.write("3\n")
    found = once(there, stage)
    assert found.state == "stopped"
    assert "best 0.4 at step 2" in found.why


def test_idle_gpus_stop_the_run(there: records.Records, stage: Stage) -> None:
    record = started(there, stage, Recipe("true", stop=StopRules(idle_gpu_minutes=1)))
    record.file(records.GPU_LOG).write_text("15 90\n30 2\n45 0\n60 1\n")
    assert once(there, stage).state == "running"
    with record.file(records.GPU_LOG).open("a") as more:
        more.write("75 0\n")
    assert "idle_gpu_minutes 1: no GPU was used" in once(there, stage).why


def test_a_lost_run_ends_with_its_reason(there: records.Records, stage: Stage) -> None:
    started(there, stage)
    stage.seen = Seen("lost", text="the machine is gone")
    found = once(there, stage)
    assert (found.state, found.why) == ("lost", "the machine is gone")


def test_a_lost_run_starts_again_where_that_was_asked_for_and_not_for_ever(
    there: records.Records, stage: Stage
) -> None:
    started(there, stage, Recipe("true", restart=True))
    stage.seen = Seen("lost", text="the machine is gone")
    found = once(there, stage)
    assert stage.done.count("start 2") == 1
    assert "release" in stage.done[: stage.done.index("start 2")]
    found = once(there, stage)
    assert (found.state, found.attempt) == ("lost", timer.MOST_ATTEMPTS)


def test_a_failed_command_says_its_status(there: records.Records, stage: Stage) -> None:
    started(there, stage)
    stage.seen = Seen("ended", 3)
    found = once(there, stage)
    assert (found.state, found.exit_code, found.why) == ("failed", 3, "the command ended with exit status 3")


def test_a_pause_before_the_time_is_over_waits_for_the_time_when_it_is_resumed(
    there: records.Records, stage: Stage
) -> None:
    record = scheduled(there)
    timer.carry_out(there, record, "pause", lambda _: None, stage.clock())
    assert record.standing().state == "paused"
    timer.carry_out(there, record, "resume", lambda _: None, stage.clock())
    assert record.standing().state == "scheduled"
    stage.later(3600)
    assert once(there, stage).state == "running"


def test_the_deadline_comes_for_a_paused_run_too(there: records.Records, stage: Stage) -> None:
    record = started(there, stage, Recipe("true", stop=StopRules(deadline="2026-12-01T05:00Z")))
    timer.carry_out(there, record, "pause", lambda _: None, stage.clock())
    assert record.standing().state == "paused"
    stage.later(3600)
    assert once(there, stage).state == "stopped"


def test_a_wish_is_written_down_while_another_timer_works(
    there: records.Records, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = started(there, stage)
    monkeypatch.setattr(timer, "locked", lambda file, purpose, _: locked(file, purpose, 0.0))
    said: list[str] = []
    with locked(there.lock, "the other timer"):
        timer.carry_out(there, record, "stop", said.append, stage.clock())
        with pytest.raises(timer.Busy):
            timer.run_once(there, said.append, stage.clock())
    assert record.standing().wish == "stop"
    assert "written down" in said[0]
    assert once(there, stage).state == "stopped"


def test_a_start_that_fails_is_tried_again_and_said(there: records.Records, stage: Stage) -> None:
    scheduled(there)
    stage.later(3600)
    stage.fault = "nobody answers"
    said: list[str] = []
    assert timer.run_once(there, said.append, stage.clock()) == 1
    record = there.one("")
    assert record.standing().state == "starting"
    assert record.progress().fault == "nobody answers"
    stage.fault = ""
    assert once(there, stage).state == "running"
    assert record.progress().fault == ""


def test_what_cannot_start_waits_with_its_reason_and_not_for_ever(there: records.Records, stage: Stage) -> None:
    scheduled(there, Recipe("true", latest_h=1))
    stage.later(3600)
    stage.start_says = NotYet("the cheapest offer costs 0.9 USD/h")
    assert once(there, stage).waiting == "the cheapest offer costs 0.9 USD/h"
    stage.later(3601)
    found = once(there, stage)
    assert found.state == "failed"
    assert "the cheapest offer costs 0.9 USD/h" in found.why


def test_only_what_has_ended_is_removed(there: records.Records, stage: Stage) -> None:
    record = started(there, stage)
    with pytest.raises(UsageError, match="has not ended"):
        timer.remove(there, record)
    timer.carry_out(there, record, "stop", lambda _: None, stage.clock())
    timer.remove(there, record)
    assert there.all() == []


def test_a_torn_last_line_costs_only_itself(there: records.Records, stage: Stage) -> None:
    record = started(there, stage)
    with record.file(records.JOURNAL).open("a") as journal:
        journal.write('{"at":"2026-12-01T04:23')
    assert record.standing().state == "running"
    stage.seen = Seen("ended", 0)
    assert once(there, stage).state == "done"


def test_half_a_record_is_swept_away(there: records.Records, stage: Stage) -> None:
    scheduled(there)
    half = there.begin("20261201t000000-00000000")
    assert half.folder.exists()
    once(there, stage)
    assert not half.folder.exists()
    assert len(there.all()) == 1
