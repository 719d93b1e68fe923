"""Journals of ranks, as the driver reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.builders import record

from hpcaccept.launch.job.rank_logs import rank_logs_of
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path


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
    (found,) = rank_logs_of(folder, "00").records
    assert (found.interruption, found.cause) == (interruption, cause)
