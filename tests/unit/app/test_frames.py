"""Samples as a pandas table: every one of them, under the names that the report has for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.builders import AT, fleet, plan

from hpcaccept.app.frames import frame_of
from hpcaccept.errors import StoreError, UsageError
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.run_file import write_run

if TYPE_CHECKING:
    from pathlib import Path


def run(folder: Path, rates: list[float]) -> Path:
    found = fleet(rates)
    folder.mkdir()
    write_run(RunFolder(folder).run_file, found, AT)
    return folder


def test_every_sample_of_several_runs_is_a_row_with_its_names(tmp_path: Path) -> None:
    frame = frame_of(run(tmp_path / "a", [100.0, 90.0]), run(tmp_path / "b", [80.0, 70.0, 60.0]))
    rates = frame[frame.metric == "rate_flops"]
    assert sorted(rates.value) == [60.0, 70.0, 80.0, 90.0, 100.0]
    assert set(rates.node) == {"node0", "node1", "node2"}
    assert set(frame.run) == {plan().run_id}
    assert {str(kind) for kind in frame.dtypes} == {"category", "int32", "float64"}
    assert rates.groupby("node", observed=True).value.max()["node2"] == 60.0


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No run"):
        frame_of()
    with pytest.raises(StoreError, match="nothing here"):
        frame_of(tmp_path / "nothing here")
