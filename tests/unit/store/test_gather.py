"""Journals → evidence: read again at any time, on whatever is there; nothing is dropped in silence."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.builders import AT, CATALOGUE, H100, judged_run_of, nodes, plan, rank_started, record, step, suite

from hpcaccept.judge import judge
from hpcaccept.launch.job.rank_logs import first_rank_started, rank_logs_of
from hpcaccept.model.event import Event
from hpcaccept.model.job import JobRef, JobStatus
from hpcaccept.model.record import ModuleImported, RankFinished, RankStopped, UnreadableLine
from hpcaccept.model.table import MeasuredSubject
from hpcaccept.model.verdict import Outcome
from hpcaccept.report.formats import render
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.gather import gather
from hpcaccept.store.journal import Journal
from hpcaccept.store.run_file import read_run, write_run

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.store.journal import JournalEntry


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run of ``speed`` on four nodes, one step launched, nothing said yet."""
    made = RunFolder(tmp_path / "run")
    made.create()
    made.write_plan(plan(suite("speed")))
    made.write_step(step(("speed",)))
    return made


def say(folder: RunFolder, rank: int, *words: JournalEntry, step_id: str = "00") -> None:
    journal = Journal(folder.records(step_id) / f"r{rank:06d}.jsonl")
    for word in words:
        journal.write(word)


def raw(folder: RunFolder, rank: int, *lines: str, step_id: str = "00") -> None:
    with (folder.records(step_id) / f"r{rank:06d}.jsonl").open("a", encoding="utf-8") as out:
        out.writelines(f"{line}\n" for line in lines)


def drive(folder: RunFolder, *events: Event) -> None:
    journal = Journal(folder.driver_log)
    for event in events:
        journal.write(event)


def values(evidence: Any, key: str) -> dict[str, list[float]]:
    table = evidence.samples
    if key not in table.keys:
        return {}
    found: dict[str, list[float]] = {}
    for row in np.flatnonzero(table.key == table.keys.index(key)):
        found.setdefault(table.subjects[table.subject[row]].node, []).append(float(table.value[row]))
    return found


def test_records_of_all_ranks_become_columns(folder: RunFolder) -> None:
    for rank, node in enumerate(nodes(4)):
        say(
            folder,
            rank,
            rank_started(rank, node),
            record("speed", node, {"rate_flops[fp32]": [1.0 + rank, 2.0]}),
            RankFinished(),
        )
    drive(folder, Event("started", AT, nodes=nodes(4)), Event("ended", AT))
    evidence = gather(folder, CATALOGUE)
    assert evidence.nodes == nodes(4)
    assert len(evidence.rank_starts) == len(evidence.records) == 4
    assert values(evidence, "speed.rate_flops[fp32]") == {
        "node0": [1.0, 2.0], "node1": [2.0, 2.0], "node2": [3.0, 2.0], "node3": [4.0, 2.0],
    }  # fmt: skip
    assert evidence.samples.repeat.tolist() == [0, 1] * 4
    assert {u.setting for u in evidence.samples.subjects} == {"8 threads, all at once"}
    assert {u.model for u in evidence.samples.subjects} == {H100}
    assert evidence.last_word is not None
    assert all(r.samples == () for r in evidence.records)


def test_a_number_stands_where_its_metric_says_device_node_or_world(folder: RunFolder) -> None:
    folder.write_plan(plan(suite("identity", "speed", "fabric")))
    say(
        folder, 0, rank_started(0, "node0"), record("identity", "node0", {"cores": 8}), record("speed", "node0", {"rate_flops": 1}),
        record("fabric", "node0", {"busbw_bytes": 1e9}),
    )  # fmt: skip
    table = gather(folder, CATALOGUE).samples
    where = {
        table.keys[k]: (table.subjects[u].node, table.subjects[u].device)
        for k, u in zip(table.key, table.subject, strict=True)
    }
    assert where == {
        "identity.cores": ("node0", ""),
        "speed.rate_flops": ("node0", "cuda:0"),
        "fabric.busbw_bytes": ("", ""),
    }


def test_evidence_may_be_gathered_before_anything_happened(folder: RunFolder) -> None:
    evidence = gather(folder, CATALOGUE)
    assert evidence.nodes == nodes(4)
    assert (evidence.records, evidence.events, len(evidence.samples)) == ((), (), 0)


def test_without_a_step_the_nodes_are_not_known(tmp_path: Path) -> None:
    made = RunFolder(tmp_path / "run")
    made.create()
    made.write_plan(plan())
    assert gather(made, CATALOGUE).nodes == ()


def test_the_driver_knows_the_nodes_better_than_its_first_step(folder: RunFolder) -> None:
    drive(folder, Event("started", AT, nodes=("n1", "n2", "n3", "n4")))
    assert gather(folder, CATALOGUE).nodes == ("n1", "n2", "n3", "n4")


def test_only_what_the_driver_started_with_are_the_nodes(folder: RunFolder) -> None:
    drive(folder, Event("not_entered", AT, nodes=("node3",)), Event("started", AT, nodes=("n1", "n2")))
    assert gather(folder, CATALOGUE).nodes == ("n1", "n2")


def test_gathering_twice_gives_the_same(folder: RunFolder) -> None:
    say(folder, 0, rank_started(0, "node0"), record("speed", "node0", {"rate_flops": 1.0}))
    one, other = gather(folder, CATALOGUE), gather(folder, CATALOGUE)
    assert one.records == other.records
    assert one.samples.value.tolist() == other.samples.value.tolist()


def test_how_the_job_ended_is_kept(folder: RunFolder) -> None:
    assert gather(folder, CATALOGUE, JobStatus("timeout", "TIMEOUT")).job == JobStatus("timeout", "TIMEOUT")


def test_a_check_that_was_run_again_counts_with_what_it_measured(folder: RunFolder) -> None:
    folder.write_step(step(("speed",), id="01"))
    say(folder, 0, rank_started(0, "node0"), record("speed", "node0", cause="cut short", by_peer=True))
    say(folder, 1, rank_started(1, "node1"), record("speed", "node1", {"rate_flops": 5.0}))
    say(folder, 0, record("speed", "node0", {"rate_flops": 7.0}, step="01"), step_id="01")
    say(folder, 1, record("speed", "node1", cause="killed", step="01"), step_id="01")
    evidence = gather(folder, CATALOGUE)
    assert {r.node: r.outcome for r in evidence.records} == {"node0": "measured", "node1": "measured"}
    assert values(evidence, "speed.rate_flops") == {"node0": [7.0], "node1": [5.0]}


def test_of_two_measured_records_the_later_one_speaks_for_the_check(folder: RunFolder) -> None:
    folder.write_step(step(("speed",), id="01"))
    say(folder, 0, record("speed", "node0", {"rate_flops": 1.0}, facts={"shape": "old"}))
    say(folder, 0, record("speed", "node0", {"rate_flops": 2.0}, facts={"shape": "new"}, step="01"), step_id="01")
    (one,) = gather(folder, CATALOGUE).records
    assert one.facts == {"shape": "new"}


def test_a_second_launch_adds_its_numbers_under_its_own_number(folder: RunFolder) -> None:
    folder.write_step(step(("speed",), id="01"))
    say(folder, 0, record("speed", "node0", {"rate_flops": 1.0}))
    say(folder, 0, record("speed", "node0", {"rate_flops": 7.0}, step="01"), step_id="01")
    table = gather(folder, CATALOGUE).samples
    assert list(zip(table.launch.tolist(), table.value.tolist(), strict=True)) == [(0, 1.0), (1, 7.0)]


def test_the_longest_import_of_any_rank_counts(folder: RunFolder) -> None:
    say(folder, 0, ModuleImported("torch", 2.0))
    say(folder, 1, ModuleImported("torch", 25.0))
    assert gather(folder, CATALOGUE).imports_s == {"torch": 25.0}


# --- what cannot be used is told --------------------------------------------------------------------------------------


def test_a_torn_line_is_evidence_and_costs_only_itself(folder: RunFolder) -> None:
    say(folder, 0, rank_started(0, "node0"), record("speed", "node0", {"rate_flops": 1.0}))
    raw(folder, 0, '{"kind":"record","data":{"check":"sp')
    evidence = gather(folder, CATALOGUE)
    assert [t.file for t in evidence.unreadable] == ["r000000.jsonl"]
    assert values(evidence, "speed.rate_flops") == {"node0": [1.0]}


def test_a_torn_line_of_the_driver_is_told_too(folder: RunFolder) -> None:
    drive(folder, Event("started", AT, nodes=nodes(4)))
    with folder.driver_log.open("a") as out:
        out.write('{"kind":"event","data":{"kind":"en')
    evidence = gather(folder, CATALOGUE)
    assert [t.file for t in evidence.unreadable] == ["driver.jsonl"]
    assert evidence.nodes == nodes(4)


def line(**more: object) -> str:
    """A record as JSON that no rank of ours would write."""
    data = {
        "check": "speed", "revision": 1, "step": "00", "rank": 0, "node": "node0", "device": "cuda:0",
        "outcome": "measured", "samples": [{"metric": "rate_flops", "value": 1.0}], **more,
    }  # fmt: skip
    return json.dumps({"kind": "record", "data": data})


STRANGE = {
    "another version": line(colour="blue"),
    "an unknown check": line(check="astrology"),
    "no check": line(check=""),
    "an undeclared metric": line(samples=[{"metric": "karma", "value": 1.0}]),
    "no metric": line(samples=[{"metric": "", "value": 1.0}]),
    "a NUL in a variant": line(samples=[{"metric": "rate_flops", "value": 1.0, "variant": "a\0b"}]),
    "an escape sequence in a variant": line(samples=[{"metric": "rate_flops", "value": 1.0, "variant": "\x1b[2J"}]),
    "a bracket in a variant": line(samples=[{"metric": "rate_flops", "value": 1.0, "variant": "a]b"}]),
    "a lone surrogate": line(cause="\ud800"),
    "a negative rate": line(samples=[{"metric": "rate_flops", "value": -1.0}]),
    "a negative count": line(samples=[{"metric": "wrong_elements", "value": -1.0}]),
    "NaN": line(samples=[{"metric": "rate_flops", "value": float("nan")}]),
    "infinity": line(samples=[{"metric": "rate_flops", "value": float("inf")}]),
    "1e999": line(samples=[{"metric": "rate_flops", "value": 1.0}]).replace("1.0", "1e999"),
    "a step that is not a number": line(step="x"),
    "a step in superscript": line(step="²"),
    "a step beyond all steps": line(step="9" * 20),
    "a repeat beyond all repeats": line(samples=[{"metric": "rate_flops", "value": 1.0, "repeat": 10**12}]),
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_a_strange_record_is_an_error_in_the_report_and_breaks_nothing(folder: RunFolder, strange: str) -> None:
    raw(folder, 0, strange)
    for rank, node in enumerate(nodes(4)[1:], 1):
        say(
            folder,
            rank,
            rank_started(rank, node),
            record("speed", node, {"rate_flops": 1.0, "wrong_elements": 0}),
            RankFinished(),
        )
    drive(folder, Event("started", AT, nodes=nodes(4)), Event("ended", AT))
    evidence = gather(folder, CATALOGUE)
    assert evidence.unreadable
    judgement = judge(evidence, CATALOGUE, {}, frozenset())
    assert any(v.outcome is Outcome.ERROR and v.check == "records" for v in judgement.verdicts)
    assert judgement.exit_code == 3
    write_run(folder.run_file, evidence, AT)
    assert read_run(folder.run_file).unreadable == evidence.unreadable
    assert "records" in render("json", judged_run_of(evidence))
    assert set(rank_logs_of(folder, step()).spoke.values()) >= {"node1", "node2", "node3"}


@pytest.mark.parametrize(("repeat", "known"), [(0, True), (2**31 - 1, True), (2**31, False), (-1, False)])
def test_a_repeat_is_a_number_that_fits_into_its_column(folder: RunFolder, repeat: int, known: bool) -> None:
    raw(folder, 0, line(samples=[{"metric": "rate_flops", "value": 1.0, "repeat": repeat}]))
    evidence = gather(folder, CATALOGUE)
    assert (evidence.samples.repeat.tolist() == [repeat]) is known
    assert bool(evidence.unreadable) is not known


def test_what_a_record_holds_beside_its_declared_numbers_is_told_by_rank_and_node_and_costs_only_itself(
    folder: RunFolder,
) -> None:
    samples = [
        {"metric": "rate_flops", "value": 1.0},
        {"metric": "karma", "value": 7.0, "variant": "x"},
        {"metric": "karma", "value": 7.0, "variant": "x"},
        {"metric": "wrong_elements", "value": -1.0},
    ]
    raw(folder, 2, line(rank=2, node="node2", samples=samples))
    raw(folder, 3, line(rank=3, node="node3", check="astrology"))
    evidence = gather(folder, CATALOGUE)
    odd = "2 samples of speed that are none: karma[x] = 7.0, wrong_elements[] = -1.0"
    assert set(evidence.unreadable) == {
        UnreadableLine("rank 2 of node2", odd, "node2"),
        UnreadableLine("rank 3 of node3", "a record of 'astrology', which was not asked for", "node3"),
    }
    assert values(evidence, "speed.rate_flops") == {"node2": [1.0]}
    assert [r.check for r in evidence.records] == ["speed"]


@pytest.mark.parametrize(
    ("seen", "submitted", "number"), [("7", "9", "7"), ("", "9", "9"), ("7", "", "7"), ("", "", "")]
)
def test_the_number_of_the_job_is_what_it_saw_itself_else_that_of_its_submission(
    folder: RunFolder, seen: str, submitted: str, number: str
) -> None:
    if submitted:
        folder.write_job(JobRef("slurm", submitted))
    drive(folder, Event("started", AT, nodes=nodes(4)), *[Event("ended", AT, job=seen)] * bool(seen))
    assert gather(folder, CATALOGUE).job_id == number


def test_of_thousands_of_odd_numbers_the_first_are_told(folder: RunFolder) -> None:
    raw(folder, 0, line(samples=[{"metric": "karma", "value": float(i)} for i in range(500)]))
    (told,) = gather(folder, CATALOGUE).unreadable
    assert told.text.startswith("500 samples of speed that are none: karma[] = 0.0, karma[] = 1.0, ")
    assert len(told.text) == 2000


def test_what_all_ranks_reach_together_keeps_how_many_they_were(folder: RunFolder) -> None:
    folder.write_plan(plan(suite("fabric")))
    folder.write_step(step(("fabric",), 2, 8, id="01"))
    say(folder, 0, rank_started(0, "node0", in_turn=True, threads=2), record("fabric", "node0", {"busbw_bytes": 1e9}))
    say(
        folder,
        0,
        record("fabric", "node0", {"busbw_bytes": 2e9, "wrong_elements": 0}, step="01", device_id="GPU-1"),
        step_id="01",
    )
    by_value = dict(zip(gather(folder, CATALOGUE).samples.value.tolist(), _subjects(folder), strict=True))
    assert by_value[1e9] == MeasuredSubject("", "", "", H100, "2 threads, in turn, 4 nodes × 1")
    assert by_value[2e9] == MeasuredSubject("", "", "", H100, "2 threads, in turn, 2 nodes × 8")
    assert by_value[0.0] == MeasuredSubject("node0", "cuda:0", "GPU-1", H100, "2 threads, in turn")


def _subjects(folder: RunFolder) -> list[MeasuredSubject]:
    table = gather(folder, CATALOGUE).samples
    return [table.subjects[number] for number in table.subject.tolist()]


def test_a_rank_that_never_said_hello_has_no_setting_and_no_scale(folder: RunFolder) -> None:
    folder.write_plan(plan(suite("fabric")))
    say(folder, 0, record("fabric", "node0", {"busbw_bytes": 1e9}))
    assert {subject.setting for subject in _subjects(folder)} == {""}


def test_of_records_that_measured_nothing_the_last_one_speaks(folder: RunFolder) -> None:
    folder.write_step(step(("speed",), id="01"))
    say(folder, 0, record("speed", "node0", cause="first"))
    say(folder, 0, record("speed", "node0", cause="second", step="01"), step_id="01")
    assert [r.cause for r in gather(folder, CATALOGUE).records] == ["second"]


def test_each_device_of_a_node_speaks_for_itself(folder: RunFolder) -> None:
    folder.write_step(step(("speed",), ranks_per_node=2))
    for rank in range(2):
        say(folder, rank, record("speed", "node0", {"rate_flops": 1.0 + rank}, rank=rank, device=f"cuda:{rank}"))
    evidence = gather(folder, CATALOGUE)
    assert sorted(r.device for r in evidence.records) == ["cuda:0", "cuda:1"]
    assert values(evidence, "speed.rate_flops") == {"node0": [1.0, 2.0]}


# --- what the driver hears --------------------------------------------------------------------------------------------


def test_the_driver_hears_who_spoke_finished_and_stopped(folder: RunFolder) -> None:
    say(folder, 0, rank_started(0, "node0"), record("speed", "node0", {"rate_flops": 1.0}), RankFinished())
    say(folder, 1, rank_started(1, "node1"), record("speed", "node1", cause="cut", cut_short=True, by_peer=True))
    say(folder, 2, RankStopped("deadline: MPI start", by_peer=True))
    raw(folder, 3, '{"kind":"hel')
    words = rank_logs_of(folder, step())
    assert words.spoke == {0: "node0", 1: "node1"}
    assert words.finished == {0}
    assert words.stopped == {2: ("deadline: MPI start", True)}
    assert [r.cut_short for r in words.records] == [False, True]


def test_a_step_that_nobody_spoke_in_has_no_words(folder: RunFolder) -> None:
    words = rank_logs_of(folder, step())
    assert (words.spoke, words.records, words.finished, words.stopped) == ({}, (), frozenset(), {})
    assert first_rank_started(folder, "00") is None


def test_mpi_has_started_when_anybody_says_hello(folder: RunFolder) -> None:
    say(folder, 3, rank_started(3, "node3", in_turn=True))
    found = first_rank_started(folder, "00")
    assert found is not None
    assert found.in_turn


def test_files_that_are_no_journals_of_ranks_do_no_harm(folder: RunFolder) -> None:
    (folder.records("00") / "pid77.jsonl").write_text('{"kind":"rank_finished","data":{}}\n')
    (folder.records("00") / "rubbish.jsonl").write_text("x\n")
    (folder.records("00") / ".r000000.jsonl.tmp").write_text("x\n")
    assert rank_logs_of(folder, step()).finished == frozenset()
    assert UnreadableLine("rubbish.jsonl", "x", line=1) in gather(folder, CATALOGUE).unreadable


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=300))
def test_whatever_stands_in_a_journal_there_is_evidence(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    made = RunFolder(tmp_path_factory.mktemp("any") / "run")
    made.create()
    made.write_plan(plan(suite("speed")))
    made.write_step(step(("speed",)))
    (made.records("00") / "r000000.jsonl").write_bytes(content)
    made.driver_log.write_bytes(content)
    evidence = gather(made, CATALOGUE)
    assert judge(evidence, CATALOGUE, {}, frozenset()).exit_code == 3


def test_whether_nodes_share_a_kernel_is_found_once(folder: RunFolder) -> None:
    """It is asked for each metric, and a run in which nodes meet in pairs has as many metrics as nodes."""
    looked = []

    class Starts(tuple[Any, ...]):
        __slots__ = ()

        def __iter__(self) -> Any:
            looked.append(1)
            return super().__iter__()

    for rank in range(4):
        say(folder, rank, rank_started(rank, f"node{rank}"))
    evidence = replace(gather(folder, CATALOGUE), rank_starts=Starts(gather(folder, CATALOGUE).rank_starts))
    assert evidence.shared_host == evidence.shared_host
    assert len(looked) == 1
