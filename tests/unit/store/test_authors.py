"""No node speaks for another."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.builders import CATALOGUE, nodes, plan, record, step, suite

from hpcaccept.model.record import RankStarted, UnreadableLine
from hpcaccept.serial import dumps
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.gather import gather
from hpcaccept.store.journal import read

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from hpcaccept.model.evidence import Evidence
    from hpcaccept.model.plan import Step
    from hpcaccept.model.record import Record

Said = dict[str, tuple[int, str, "Record"]]


def started(rank: int, node: str) -> RankStarted:
    return RankStarted(rank, 4, node, 1, "3.11", "0.1.0", "Open MPI", "boot", 8.0, 1, False, 8)


def speed(node: str, rank: int, value: float = 100.0) -> Record:
    return record("speed", node, {"rate_flops": value}, rank=rank)


def run(place: Path, journals: Said) -> Evidence:
    """What is gathered of a step with these journals: file → rank and node of its first line, and its record."""
    return run_of(place, (step(), journals))


def run_of(place: Path, *steps: tuple[Step, Said]) -> Evidence:
    folder = RunFolder(place / "run")
    folder.create()
    folder.write_plan(plan(suite()))
    for the_step, journals in steps:
        folder.write_step(the_step)
        for name, (rank, node, what) in journals.items():
            lines = [("rank_started", started(rank, node)), ("record", what)]
            text = "".join(f'{{"kind":"{kind}","data":{dumps(thing)}}}\n' for kind, thing in lines)
            (folder.records(the_step.id) / name).write_text(text)
    return gather(folder, CATALOGUE)


def honest() -> Said:
    return {f"r{i:06d}.jsonl": (i, f"node{i}", speed(f"node{i}", i)) for i in range(4)}


def test_every_rank_on_its_node_is_believed(tmp_path: Path) -> None:
    found = run(tmp_path, honest())
    assert {r.node for r in found.records} == set(nodes(4))
    assert not found.unreadable


def test_a_journal_that_says_another_name_does_not_make_a_dead_node_live(tmp_path: Path) -> None:
    said = honest()
    del said["r000002.jsonl"]
    said["r000003.jsonl"] = (3, "node2", speed("node2", 3))
    found = run(tmp_path, said)
    assert {r.node for r in found.records} == {"node0", "node1"}
    assert {line.node for line in found.unreadable} == {"node3"}
    assert "says that it is rank 3 on 'node2'" in found.unreadable[0].text


def test_bad_values_under_anothers_name_are_the_writers_own_trouble(tmp_path: Path) -> None:
    said = honest()
    said["r000003.jsonl"] = (3, "node3", speed("node0", 3, 1.0))
    found = run(tmp_path, said)
    assert {(r.node, r.rank) for r in found.records} == {(f"node{i}", i) for i in range(3)}
    (line,) = found.unreadable
    assert (line.file, line.node) == ("r000003.jsonl", "node3")


@pytest.mark.parametrize("name", ["r000017.jsonl", "r-00001.jsonl", "ghost.jsonl", "r000001x.jsonl"])
def test_ghosts_are_no_nodes(tmp_path: Path, name: str) -> None:
    found = run(tmp_path, {**honest(), name: (17, "ghost", speed("ghost", 17, 1.0))})
    assert {r.node for r in found.records} == set(nodes(4))
    assert {line.file for line in found.unreadable} == {name}


@pytest.mark.parametrize("change", [{"rank": 2}, {"step": "07"}, {"revision": -1}, {"revision": 10**400}])
def test_a_line_that_does_not_fit_its_file_is_told(tmp_path: Path, change: dict[str, object]) -> None:
    said = honest()
    rank, node, what = said["r000001.jsonl"]
    said["r000001.jsonl"] = (rank, node, replace(what, **change))  # type: ignore[arg-type]
    found = run(tmp_path, said)
    assert "node1" not in {r.node for r in found.records}
    assert [line.node for line in found.unreadable] == ["node1"]


def test_an_order_of_the_launchers_own_counts_where_the_whole_step_agrees(tmp_path: Path) -> None:
    order = ["node2", "node0", "node3", "node1"]
    said = {f"r{i:06d}.jsonl": (i, node, speed(node, i)) for i, node in enumerate(order)}
    found = run(tmp_path, said)
    assert {(r.rank, r.node) for r in found.records} == set(enumerate(order))
    assert not found.unreadable


def told(step_id: str, order: Sequence[str], dead: Collection[int] = ()) -> Said:
    return {
        f"r{i:06d}.jsonl": (i, node, replace(speed(node, i), step=step_id))
        for i, node in enumerate(order)
        if i not in dead
    }


@pytest.mark.parametrize("dead_first", [False, True])
@pytest.mark.parametrize("per_node", [1, 2])
@pytest.mark.parametrize("dealt", [False, True])
def test_an_order_on_which_one_step_agreed_holds_where_a_rank_is_dead(
    tmp_path: Path, dead_first: bool, per_node: int, dealt: bool
) -> None:
    names = ["node2", "node0", "node3", "node1"]
    order = names * per_node if dealt else [node for node in names for _ in range(per_node)]
    whole, broken = ("01", "00") if dead_first else ("00", "01")
    both = [
        (step(id=whole, ranks_per_node=per_node), told(whole, order)),
        (step(id=broken, ranks_per_node=per_node), told(broken, order, dead={1})),
    ]
    found = run_of(tmp_path, *both)
    assert not found.unreadable
    assert {(s.rank, s.node) for s in found.rank_starts} == set(enumerate(order))
    assert len(found.rank_starts) == 2 * len(order) - 1


def test_an_order_holds_for_the_nodes_that_are_left(tmp_path: Path) -> None:
    order = ["node2", "node0", "node3", "node1"]
    rest = ["node2", "node3", "node1"]
    later = step(id="01", nodes=("node1", "node2", "node3"))
    found = run_of(tmp_path, (step(), told("00", order)), (later, told("01", rest, dead={0})))
    assert not found.unreadable
    assert [s.node for s in found.rank_starts] == [*order, "node3", "node1"]


def test_a_learned_order_lets_nobody_speak_for_another(tmp_path: Path) -> None:
    order = ["node2", "node0", "node3", "node1"]
    said = told("01", order, dead={0})
    said["r000003.jsonl"] = (3, "node2", replace(speed("node2", 3), step="01"))
    found = run_of(tmp_path, (step(), told("00", order)), (step(id="01"), said))
    assert {line.node for line in found.unreadable} == {"node1"}


def test_a_process_without_a_rank_of_its_launcher_says_which_it_is(tmp_path: Path) -> None:
    said = {f"pid{900 + i}.jsonl": (i, f"node{i}", speed(f"node{i}", i)) for i in range(4)}
    assert len(run(tmp_path, said).records) == 4


@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "circle"])
def test_what_is_no_file_is_told_at_once(tmp_path: Path, kind: str) -> None:
    file, elsewhere = tmp_path / "r000000.jsonl", tmp_path / "secret"
    elsewhere.write_text('{"kind":"rank_finished","data":{}}\n')
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to(elsewhere if kind == "link" else file)
    begin = time.monotonic()
    (line,) = list(read(file))
    assert time.monotonic() - begin < 30.0, "it waited for the other end of the pipe"
    assert isinstance(line, UnreadableLine)
    assert line.file == "r000000.jsonl"


@pytest.mark.parametrize(
    "data",
    ["1e400", "9" * 400, "[" * 100_000, '{"status": 1e400, "at": 0}', '{"status": 1, "at": 1e999}', "NaN", "null"],
)
def test_numbers_that_are_none_are_lines_that_cannot_be_read(tmp_path: Path, data: str) -> None:
    file = tmp_path / "r000000.jsonl"
    file.write_text(f'{{"kind":"rank_exited","data":{data}}}\n')
    assert all(isinstance(word, UnreadableLine) for word in read(file))
