from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
from support.scheduled_tree import tree_with

from hpcaccept.app.schedule import add, records, snapshot
from hpcaccept.app.schedule.recipe_file import parse_recipe
from hpcaccept.app.schedule.views import content_lines, link_of
from hpcaccept.errors import UsageError
from hpcaccept.model.schedule.entry import Sent
from hpcaccept.model.schedule.recipe import Recipe, Rental

if TYPE_CHECKING:
    from pathlib import Path

AT = dt.datetime(2026, 12, 1, tzinfo=dt.timezone.utc)


def test_an_upload_is_estimated_by_the_recipe_or_by_the_last_one_that_says_something(tmp_path: Path) -> None:
    there = records.Records(tree_with(tmp_path / "tree", {"a": "a" * 1000}) / ".hpcaccept" / "runs")
    assert link_of(Rental(), []) == (50.0, "not measured yet")
    record = add.add(add.Request(tmp_path / "tree", Recipe("true"), "here", AT), there, AT, lambda _: None)
    for size_bytes, seconds in ((25_000_000, 2.0), (900, 4.0)):
        record.write(Sent(1, size_bytes, seconds), AT)
    assert link_of(Rental(), there.all()) == (100.0, f"as {record.run} was sent on 2026-12-01")
    assert link_of(Rental(upload_mbit_s=8.0), there.all()) == (8.0, "rental.upload_mbit_s")
    contents = snapshot.contents_of(tmp_path / "tree", Recipe("true"))
    assert content_lines(contents, (0.001, "as said"))[0].endswith("in about 8.0 s at 0.001 Mbit/s (as said)")


@pytest.mark.parametrize("rate", ["0", "-1", "nan"])
def test_a_link_that_cannot_be_is_refused(rate: str) -> None:
    with pytest.raises(UsageError, match=r"rental\.upload_mbit_s"):
        parse_recipe(f"command = 'true'\n[rental]\nupload_mbit_s = {rate}\n", "run.toml")
