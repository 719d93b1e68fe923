"""How far ranks came, from traces of real hangs under gloo."""

from __future__ import annotations

import pytest
from support.builders import DATA

from hpcaccept.errors import NotUnderstood
from hpcaccept.model.record import GroupProgress
from hpcaccept.parse.flight_recorder import progress_of

TRACES = DATA / "flight_recorder"
#: When the groups of ``reopened_*`` were opened again.
REOPENED_NS = 1796063997483000000


@pytest.mark.parametrize(
    ("rank", "entered", "operation", "waits"),
    [(0, 5, "gloo:broadcast", True), (1, 4, "gloo:barrier", False), (2, 6, "gloo:all_reduce", True)],
)
def test_the_last_collective_of_each_rank_and_whether_it_is_over(
    rank: int, entered: int, operation: str, waits: bool
) -> None:
    (found,) = progress_of((TRACES / f"hang_r{rank}.json").read_bytes())
    assert found == GroupProgress("0", everyone=True, entered=entered, operation=operation, waits=waits)


def test_what_a_group_of_the_same_name_did_before_does_not_count() -> None:
    ahead, behind = (
        progress_of((TRACES / f"reopened_r{rank}.json").read_text("utf-8"), REOPENED_NS) for rank in (0, 1)
    )
    everyone = GroupProgress("0", everyone=True, entered=1, operation="gloo:all_reduce", waits=False)
    assert ahead == (everyone, GroupProgress("1", False, 2, "gloo:all_reduce", waits=True))
    assert behind == (everyone, GroupProgress("1", False, 1, "gloo:all_reduce", waits=False))


def test_a_trace_without_entries_tells_of_nothing() -> None:
    assert progress_of('{"version": "2.10", "pg_config": {}}') == ()


@pytest.mark.parametrize("trace", ["", "[]", '{"entries": 3}', '{"entries": [{}]}', b"\x80\x04pickle", "[" * 100_000])
def test_another_form_is_not_understood(trace: str | bytes) -> None:
    with pytest.raises(NotUnderstood, match="flight recorder"):
        progress_of(trace)
