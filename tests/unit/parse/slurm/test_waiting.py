"""What squeue says of jobs that wait (recorded from Slurm 22.05)."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hpcaccept.model.node import WaitingJob
from hpcaccept.parse.slurm.nodes import WAITING, parse_planned, parse_waiting

SAID = (Path(__file__).parents[3] / "data/slurm/waiting_jobs.txt").read_text("utf-8")


def test_jobs_that_wait_are_read_with_what_they_need_and_why_they_wait() -> None:
    command, _, text = SAID.partition("\n")
    assert WAITING in command
    three, named, held, array = parse_waiting(text)
    assert three == WaitingJob(
        "19", ("gpu",), 3, "Resources", 1796062111.0, planned=frozenset(("node0", "node1", "node2"))
    )
    # A comment may hold what separates the others.
    assert (named.named, named.reason, named.comment) == (frozenset(("node1",)), "Priority", "a|b c")
    assert (held.reason, held.planned) == ("JobHeldUser", frozenset())
    assert (array.partitions, array.excluded, array.several) == (("small", "gpu"), frozenset(("node3",)), True)
    assert [one.several for one in (three, named, held)] == [False] * 3
    assert [one.name for one in parse_planned(text)] == ["job 19", "job 20", "job 21_[1-5%2]"]


@given(st.text())
def test_whatever_stands_there_is_read_or_left_out(text: str) -> None:
    assert all(one.nodes >= 0 for one in parse_waiting(text))
