"""Journals of ranks, as the driver reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.builders import nodes, rank_started, record, step

from hpcaccept.launch.job.failure import loss_of
from hpcaccept.launch.job.rank_logs import rank_logs_of
from hpcaccept.model.record import (
    CollectivesSeen,
    GroupProgress,
    NcclRas,
    RankExited,
    RankFinished,
    RankStopped,
)
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.model.plan import Step
    from hpcaccept.store.journal import JournalEntry


@pytest.mark.parametrize(
    ("cause", "interruption"),
    [
        ("stopped: this process did not run for 9 s", "stopped"),
        ("stopped: … for 9 s; then Connection closed", "stopped"),
        ("deadline: did not finish within 5 s (measuring)", "deadline"),
        ("RuntimeError: stopped: nothing", ""),
    ],
)
def test_a_record_of_older_code_says_in_its_cause_what_interrupted_the_rank(
    tmp_path: Path, cause: str, interruption: str
) -> None:
    folder = RunFolder(tmp_path)
    folder.records("00").mkdir(parents=True)
    journal = Journal(folder.records("00") / "r000000.jsonl")
    journal.write(record("allreduce", "node0", outcome="error", cause=cause, cut_short=True))
    (found,) = rank_logs_of(folder, step(["allreduce"])).records
    assert (found.interruption, found.cause) == (interruption, cause)


def test_samples_and_facts_are_read_for_those_who_ask_for_them(tmp_path: Path) -> None:
    """The driver of 32,768 ranks would hold ten million of them for nothing."""
    folder = RunFolder(tmp_path)
    said = record("speed", "node0", {"rate_flops[fp32]": 1e15}, facts={"driver": "580.95.05"})
    say(folder, "00", 0, rank_started(0, "node0"), said, RankFinished())
    (found,) = rank_logs_of(folder, step(["speed"])).records
    assert (found.outcome, found.samples, found.facts) == ("measured", (), {})
    (whole,) = rank_logs_of(folder, step(["speed"]), measured=True).records
    assert whole == said


def say(folder: RunFolder, step_id: str, rank: int, *words: JournalEntry) -> None:
    folder.records(step_id).mkdir(parents=True, exist_ok=True)
    journal = Journal(folder.records(step_id) / f"r{rank:06d}.jsonl")
    for word in words:
        journal.write(word)


def well(rank: int, node: str, step_id: str = "00") -> tuple[JournalEntry, ...]:
    return (
        rank_started(rank, node),
        record("identity", node, {"cores": 8.0}, rank=rank, step=step_id),
        RankFinished(),
    )


def test_what_a_rank_has_seen_of_a_hang_is_its_own(tmp_path: Path) -> None:
    folder, seen = RunFolder(tmp_path), CollectivesSeen((GroupProgress("0", True, 3, "nccl:all_reduce", True),))
    say(
        folder, "00", 1, rank_started(1, "node1", pid=77), RankStopped("deadline", by_peer=False), seen, NcclRas("DEAD")
    )
    words = rank_logs_of(folder, step(["identity"]))
    assert (words.pids, words.collectives, words.ras) == ({1: 77}, {1: seen}, "DEAD")


def test_a_node_that_writes_anothers_name_does_not_make_the_dead_one_speak(tmp_path: Path) -> None:
    folder, the_step = RunFolder(tmp_path), step(["identity"])
    for rank in (0, 1):
        say(folder, "00", rank, *well(rank, f"node{rank}"))
    say(folder, "00", 3, *well(3, "node2"))
    words = rank_logs_of(folder, the_step)
    assert words.spoke == {0: "node0", 1: "node1"}
    assert {r.node for r in words.records} == {"node0", "node1"}
    loss = loss_of(the_step, words, [], late=True)
    assert loss is not None
    assert "node2" in loss.nodes


def test_a_record_of_another_rank_step_or_revision_is_nobodys(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    say(folder, "00", 0, rank_started(0, "node0"), record("identity", "node1", {"cores": 1.0}, rank=1))
    say(folder, "00", 1, rank_started(1, "node1"), record("identity", "node1", {"cores": 1.0}, rank=1, step="07"))
    say(folder, "00", 2, record("identity", "node2", {"cores": 1.0}, rank=2, revision=-1))
    words = rank_logs_of(folder, step(["identity"]))
    assert words.spoke == {0: "node0", 1: "node1"}
    assert words.records == ()


def test_a_journal_of_a_rank_that_the_step_does_not_have_says_nothing(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    say(folder, "00", 17, *well(17, "ghost"), RankExited(-9, 1.0))
    words = rank_logs_of(folder, step(["identity"]))
    assert (words.spoke, words.records, words.finished, words.exits) == ({}, (), frozenset(), {})


def launched(folder: RunFolder, the_step: Step) -> Step:
    (folder.path / "steps").mkdir(exist_ok=True)
    folder.write_step(the_step)
    return the_step


def test_an_order_of_the_launchers_own_is_known_when_a_rank_is_dead(tmp_path: Path) -> None:
    folder, order = RunFolder(tmp_path), ["node2", "node0", "node3", "node1"]
    launched(folder, step(["identity"]))
    for rank, node in enumerate(order):
        say(folder, "00", rank, *well(rank, node))
    later = launched(folder, step(["identity"], id="01"))
    for rank, node in enumerate(order[:3]):
        say(folder, "01", rank, *well(rank, node, "01"))
    words = rank_logs_of(folder, later)
    assert words.spoke == dict(enumerate(order[:3]))
    loss = loss_of(later, words, [], late=True)
    assert loss is not None
    assert loss.nodes == ("node1",)
    assert set(nodes(4)) == set(order)
