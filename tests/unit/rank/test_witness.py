"""What a rank says of a hang after its last words: of its own recorder, under real gloo; of NCCL's RAS only where NCCL is in use."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch
import torch.distributed as dist

from hpcaccept.measure.ranks import flight_recorder
from hpcaccept.measure.ranks.process_group import process_group
from hpcaccept.model.record import CollectivesSeen, GroupProgress, NcclRas, RankStopped
from hpcaccept.rank import witness
from hpcaccept.store.journal import Journal, read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def groups() -> tuple[GroupProgress, ...]:
    (said,) = witness.testimony(0, 1, "deadline")
    assert isinstance(said, CollectivesSeen)
    return said.groups


def test_a_rank_tells_how_far_it_has_come_in_the_groups_that_are_open() -> None:
    if not hasattr(torch._C._distributed_c10d, "_dump_fr_trace_json"):
        pytest.skip("this torch does not record gloo")
    for calls in (3, 1):  # what the first groups did is still in the ring when the second ones are open
        with process_group("cpu", 0, 1, lambda x: x, lambda x: [x], shared_kernel=True, timeout_s=60):
            assert groups() == ()
            for _ in range(calls):
                dist.all_reduce(torch.ones(2))
            (found,) = groups()
            assert (found.everyone, found.entered, found.operation) == (True, calls, "gloo:all_reduce")
    assert list(witness.testimony(0, 1, "deadline")) == []


def test_a_torch_that_records_nothing_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight_recorder, "_MODULE", "a torch of before")
    with flight_recorder.recorded("gloo"):
        assert list(witness.testimony(0, 1, "deadline")) == []


@pytest.mark.parametrize(
    ("rank", "interruption", "asked"),
    [(0, "deadline", True), (3, "deadline", True), (1, "deadline", False), (0, "terminated", False)],
)
def test_ras_is_asked_by_the_first_and_the_last_rank_whose_deadline_has_passed(
    monkeypatch: pytest.MonkeyPatch, rank: int, interruption: str, asked: bool
) -> None:
    monkeypatch.setattr(flight_recorder, "trace", lambda: (b"of a torch of tomorrow", 0))
    monkeypatch.setattr(witness, "ras_status", lambda *_: "DEAD")
    with flight_recorder.recorded("nccl"):
        said = list(witness.testimony(rank, 4, interruption))  # type: ignore[arg-type]
    assert said == ([NcclRas("DEAD")] if asked else [])


def test_a_recorder_that_never_comes_back_and_keeps_the_interpreter_does_not_keep_the_rank() -> None:
    code = """
import ctypes
from hpcaccept.measure.ranks import flight_recorder
from hpcaccept.rank import witness
witness._RECORDER_S, witness._END_S = 0.05, 0.1
flight_recorder.trace = lambda: ctypes.PyDLL(None).sleep(600)  # with the lock of the interpreter
list(witness.testimony(0, 1, "deadline"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "witness.py" in done.stderr


def test_what_a_rank_has_seen_stands_behind_its_last_words_which_nothing_can_cost(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "r000000.jsonl")
    last, seen = RankStopped("deadline", by_peer=False), CollectivesSeen((GroupProgress("0", True, 3, "nccl:x", True),))

    def slowly() -> Iterator[CollectivesSeen | NcclRas]:
        assert list(read(journal.file)) == [last], "the last words are on the disk before anything else is asked"
        yield seen
        yield NcclRas("DEAD\n")

    journal.write_last(last, slowly())
    assert list(read(journal.file)) == [last, seen, NcclRas("DEAD\n")]
