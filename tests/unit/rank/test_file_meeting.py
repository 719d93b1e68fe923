"""Ranks that speak through the run folder: everybody has everybody's word, and who does not come is named."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from hpcaccept.errors import RunError
from hpcaccept.rank.file_meeting import FileMeeting

if TYPE_CHECKING:
    from pathlib import Path


def together(folder: Path, ranks: list[int], size: int, deadline_s: float = 20.0) -> list[Any]:
    def one(rank: int) -> Any:
        meeting = FileMeeting(folder, rank, size, deadline_s)
        try:
            return [meeting.allgather(["node", rank, None]), meeting.allgather(rank * 0.5)]
        except RunError as fault:
            return fault.message

    with ThreadPoolExecutor(len(ranks)) as pool:
        return list(pool.map(one, ranks))


def test_every_rank_has_the_word_of_every_rank_in_their_order_and_twice(tmp_path: Path) -> None:
    expected = [[["node", rank, None] for rank in range(5)], [0.0, 0.5, 1.0, 1.5, 2.0]]
    assert together(tmp_path, list(range(5)), 5) == [expected] * 5


def test_who_does_not_come_is_named_and_nobody_waits_for_ever(tmp_path: Path) -> None:
    first, second = together(tmp_path, [0, 1], 4, 0.3)
    assert "2 of 4 ranks did not come, the first is rank 2" in first
    assert "rank 0 did not say who is here" in second


@pytest.mark.parametrize("text", ["", "[1", '"x"', "[]"])
def test_a_word_that_is_no_answer_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "meeting-00.json").write_text(text)
    with pytest.raises(RunError):
        FileMeeting(tmp_path, 1, 2, 0.1).allgather(None)
