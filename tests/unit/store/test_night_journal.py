"""What nights write down, and what the next one makes of it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcaccept.app.campaign.memory import recall
from hpcaccept.app.nightly.changes import compare
from hpcaccept.app.nightly.earlier_nights import missed_nights, stale_nodes
from hpcaccept.errors import RunError
from hpcaccept.model.nightly.night import (
    Began,
    Chosen,
    Concluded,
    Ended,
    LastTest,
    Line,
    Missed,
    NightEntry,
    Scheduled,
    Submitting,
    Withdrawn,
)
from hpcaccept.store.night_journal import append, read

if TYPE_CHECKING:
    from pathlib import Path

UTC = timezone.utc


def at(day: int, hour: int = 2, minute: int = 0) -> str:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC).isoformat()


def judged(night: str, day: int, run: str = "", reasons: dict[str, str] | None = None, **nodes: str) -> Concluded:
    return Concluded(night, run or f"run-{night}{day}", at(day), 0, nodes, reasons or {})


EVERYTHING: tuple[NightEntry, ...] = (
    Scheduled("02:00"),
    Began("n1", "login1", 7, "ops"),
    Chosen("n1", ("a", "b"), {"excluded": 2}),
    Submitting("n1", "r1", ("a", "b")),
    Withdrawn("n1", "r0", "did not begin"),
    Concluded("n1", "r1", at(1), 1, {"a": "PASS", "b": "FAIL"}, {"b": "slow ✗"}),
    Missed((at(2),)),
    Ended("n1", 1, "1 newly bad", "", ("c",), ("told nobody",), ("mail failed",)),
)


def test_every_word_comes_back_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    append(file, *EVERYTHING[:3], at=at(1))
    append(file, *EVERYTHING[3:], at=at(2))
    lines, unreadable = read(file)
    assert tuple(line.word for line in lines) == EVERYTHING
    assert [line.at for line in lines] == [at(1)] * 3 + [at(2)] * 5
    assert unreadable == 0


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    append(file, *EVERYTHING, at=at(1))
    file.write_bytes(file.read_bytes()[:-20])
    append(file, Began("n2"), at=at(2))
    lines, unreadable = read(file)
    assert unreadable == 1
    assert [line.word for line in lines] == [*EVERYTHING[:-1], Began("n2")]


@given(st.binary(max_size=200))
def test_whatever_stands_in_the_journal_it_can_be_read(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    file = tmp_path_factory.mktemp("j") / "journal.jsonl"
    file.write_bytes(noise)
    append(file, Began("n1"), at=at(1))
    assert read(file)[0][-1].word == Began("n1")


def test_no_journal_is_an_empty_one_and_an_unreadable_one_is_an_error(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == ([], 0)
    (tmp_path / "journal.jsonl").mkdir()
    with pytest.raises(RunError, match="Cannot read"):
        read(tmp_path / "journal.jsonl")
    with pytest.raises(RunError, match="Cannot write"):
        append(tmp_path / "journal.jsonl", Began("n1"), at=at(1))


def lines(*words: NightEntry) -> list[Line]:
    return [Line(at(1 + number), word) for number, word in enumerate(words)]


def test_a_night_that_was_cut_off_leaves_what_is_to_be_finished() -> None:
    memory = recall(
        lines(
            Began("n1"),
            Submitting("n1", "r1", ("a",)),
            Submitting("n1", "r2", ("b",)),
            Submitting("n1", "r3", ("c",)),
            judged("n1", 1, "r1", a="PASS"),
            Withdrawn("n1", "r3", "taken"),
        )
    )
    assert memory.open_nights == ("n1",)
    assert [run.run for run in memory.open_runs] == ["r2"]
    assert memory.runs == {"r1", "r2", "r3"}
    assert [run.run for run in memory.news] == ["r1"]  # judged, and nobody was told


def test_what_was_told_is_no_news() -> None:
    memory = recall(lines(Began("n1"), judged("n1", 1, a="FAIL"), Ended("n1", 1, ""), Began("n2")))
    assert memory.news == ()
    assert dict(memory.before)["a"].outcome == "FAIL"
    assert memory.open_nights == ("n2",)


def test_a_run_by_hand_is_known_and_no_news() -> None:
    memory = recall(lines(Ended("n1", 0, ""), judged("", 2, a="FAIL"), judged("n2", 3, b="PASS")))
    assert set(dict(memory.before)) == {"a"}
    assert [run.night for run in memory.news] == ["n2"]
    assert set(memory.tested) == {"a", "b"}


def test_an_older_run_that_is_read_later_hides_nothing() -> None:
    memory = recall(lines(judged("", 5, a="FAIL"), judged("", 3, a="PASS")))
    assert memory.tested["a"] == LastTest(at(5), "FAIL", "run-5", "", at(3))


def test_when_a_node_was_accepted_survives_a_failure() -> None:
    tested = recall(lines(judged("n1", 1, a="PASS"), judged("n2", 2, a="FAIL"))).tested
    assert (tested["a"].outcome, tested["a"].accepted_at) == ("FAIL", at(1))


BEFORE = {
    name: LastTest(at(1), outcome, "r0")
    for name, outcome in {
        "ok": "PASS",
        "ok2": "PASS",
        "bad": "FAIL",
        "bad2": "FAIL",
        "warn": "WARN",
        "err": "ERROR",
    }.items()
}


@pytest.mark.parametrize(
    ("node", "now", "kind"),
    [
        ("ok", "PASS", ""),
        ("ok", "WARN", "warned"),
        ("ok", "FAIL", "failed"),
        ("ok", "ERROR", "unjudged"),
        ("ok", "NOT_RUN", "unjudged"),
        ("bad", "PASS", "recovered"),
        ("bad", "WARN", "recovered"),
        ("bad", "FAIL", "still"),
        ("bad", "ERROR", "unjudged"),
        ("warn", "WARN", ""),
        ("warn", "PASS", ""),
        ("warn", "FAIL", "failed"),
        ("err", "PASS", "recovered"),
        ("err", "ERROR", "still"),
        ("err", "FAIL", "failed"),
        ("new", "PASS", ""),
        ("new", "WARN", "warned"),
        ("new", "FAIL", "failed"),
        ("new", "NOT_RUN", "unjudged"),
    ],
)
def test_what_a_verdict_means_depends_on_the_one_before(node: str, now: str, kind: str) -> None:
    changes = compare(BEFORE, [Concluded("n", "r", at(2), 0, {node: now}, {node: "why"})])
    found = {
        name: [change.node for change in getattr(changes, name)]
        for name in ("failed", "recovered", "warned", "unjudged", "still")
        if getattr(changes, name)
    }
    assert found == ({kind: [node]} if kind else {})
    assert changes.any is (kind not in ("", "still"))


def test_a_node_that_two_runs_speak_of_is_told_once() -> None:
    news = [judged("n", 2, "r1", ok="FAIL"), judged("n", 3, "r2", ok="PASS")]
    assert not compare(BEFORE, news).any


def test_a_hole_in_the_journal_is_a_missed_night() -> None:
    began = [Line(at(day, 2, 1), Began(f"n{day}")) for day in (20, 21, 23)]
    memory = recall([Line(at(19, 12), Scheduled("02:00")), *began])
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert missed_nights(memory, "", now, UTC) == [datetime(2026, 11, 22, 2, tzinfo=UTC)]
    # Nothing is due any more once it was uninstalled.
    off = recall([Line(at(19, 12), Scheduled("02:00")), *began, Line(at(23, 3), Scheduled(""))])
    assert missed_nights(off, "02:00", now + timedelta(days=3), UTC) == []


def test_without_a_schedule_no_night_is_missed() -> None:
    memory = recall([Line(at(1), Began("n1"))])
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert missed_nights(memory, "", now, UTC) == []
    assert len(missed_nights(memory, "02:00", now, UTC)) == 22  # a site that starts it otherwise says when


def test_nodes_that_wait_too_long_are_stale() -> None:
    tested = {"a": LastTest(at(1), "PASS", "r"), "b": LastTest(at(20), "PASS", "r")}
    first, now = datetime(2026, 11, 10, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC)
    assert stale_nodes(("a", "b", "c"), tested, first, now, 15) == ("a",)
    assert stale_nodes(("a", "b", "c"), tested, first, now, 10) == ("a", "c")
