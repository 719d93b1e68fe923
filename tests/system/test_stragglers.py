"""A rank that holds the others up, over real MPI: it is named, though the steps of all ranks last equally long."""

from __future__ import annotations

import json
import os
import signal
import statistics
import time
from typing import TYPE_CHECKING, Any

import pytest
from faults.scenarios import broken
from support.submission import submit, suite_file, until

if TYPE_CHECKING:
    from pathlib import Path

LABEL = "ddp_train"
pytestmark = [pytest.mark.mpi, pytest.mark.alone]


def test_one_slow_rank_of_four_is_named_and_the_ranks_that_wait_for_it_are_not_blamed(tmp_path: Path) -> None:
    # Not by a CPU quota or pulses of SIGSTOP: they hit a rank while it waits as well, and its own part of a step, which begins when it
    # is let go, may seem to be as fast as ever.
    suite = f"[checks.{LABEL}]\n[peers]\nretests = 1\n"
    done = broken(tmp_path, suite, {"kind": "slow_layer", "ranks": [2], "busy_s": 0.01})
    assert done.code == 1, done.out + done.err
    (blamed,) = done.verdicts(outcome="FAIL")
    assert (blamed["node"], blamed["metric"]) == ("node2", "own_step_s"), done.out
    assert len(done.events("retest")) == 1, "nobody is blamed before it was slow in another launch"
    records = records_of(done.folder, step="00")
    # The trap: by the length of their steps the four cannot be told apart.
    steps = [value(record, "step_s", "p50") for record in records]
    assert max(steps) < 1.3 * min(steps)
    shares = [value(record, "straggler_share") for record in records]
    assert shares.index(max(shares)) == 2
    assert shares[2] > 1.5
    assert all(record["facts"]["slowest"].startswith("rank 2 on node2") for record in records)


def test_of_ranks_that_are_all_late_the_one_that_never_came_to_the_collective_is_named(tmp_path: Path) -> None:
    suite = '[checks.allreduce]\nbackends = ["device"]\nsizes_bytes = [1024]\ndeadline_s = 15\n[peers]\nretests = 0\n'
    done = broken(tmp_path, suite, {"kind": "never_enters", "ranks": [1], "call": 4}, nodes=2)
    assert done.code == 3, done.out + done.err
    death = done.events("death")[0]
    assert (death["nodes"], death["check"]) == (["node1"], "allreduce"), death
    assert death["detail"].endswith(
        "did not enter the collective that the others were in; 1 rank waited in collective 4 (gloo:all_reduce)"
    ), death
    (told,) = [v for v in done.verdicts(outcome="ERROR") if v["node"] == "node1"]
    assert (told["code"], told["reason"]) == ("rank-lost", death["detail"]), done.out


def test_a_rank_that_is_stopped_in_a_collective_is_named_and_the_others_tell_the_step_they_waited_in(
    tmp_path: Path,
) -> None:
    text = f"[checks.{LABEL}]\nblocks = 60\nblock_s = 1.0\ndeadline_s = 16\n"
    run = submit(tmp_path / "runs", suite_file(tmp_path, text), "--nodes", "4", "--launcher", "local")
    pid = run.pid(1, check=LABEL)
    folder = run.folder()
    journals = [folder / f"records/00/r{rank:06d}.jsonl" for rank in range(4)]
    until(lambda: all(imported(journal) for journal in journals), 120, run.state)
    time.sleep(6)  # gloo and the verified steps; the timed ones take a minute
    os.kill(pid, signal.SIGSTOP)
    done = run.finish(120)
    assert done.code == 3, done.out + done.err
    assert not done.verdicts(outcome="FAIL"), "nobody has measured anything to be blamed for"
    death = done.events("death")[0]
    assert death["check"] == LABEL
    assert death["nodes"] == ["node1"], death
    assert "3 ranks waited in collective" in death["detail"], death
    waiting = [record for record in records_of(done.folder, step="00") if record["rank"] != 1]
    assert len(waiting) == 3
    for record in waiting:
        assert record["cut_short"], record
        assert record["beat"].startswith("step "), record["beat"]


def imported(journal: Path) -> bool:
    """True when the rank has imported the last thing that the check needs."""
    return journal.exists() and any(
        line["kind"] == "module_imported" and line["data"]["module"] == "torch._dynamo" for line in lines_of(journal)
    )


def lines_of(journal: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal.read_text().splitlines() if line.endswith("}")]


def records_of(folder: Path, step: str) -> list[dict[str, Any]]:
    """Of the check, by rank."""
    found = [
        line["data"]
        for journal in sorted((folder / "records" / step).glob("*.jsonl"))
        for line in lines_of(journal)
        if line["kind"] == "record" and line["data"]["check"] == LABEL
    ]
    return sorted(found, key=lambda record: int(record["rank"]))


def value(record: dict[str, Any], metric: str, variant: str = "") -> float:
    """Median of the repeats."""
    return float(
        statistics.median(
            sample["value"]
            for sample in record["samples"]
            if sample["metric"] == metric and sample.get("variant", "") == variant
        )
    )
