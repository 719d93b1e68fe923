"""What the driver gets to hold values against: enough of the history and the baselines, readable by the owner alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.builders import baseline, plan, suite
from support.pasts import FP32, TRIAD, at, past_run

from hpcaccept.app.run.known import leave_known
from hpcaccept.config.settings import Settings
from hpcaccept.errors import StoreError
from hpcaccept.model.suite import PeerRule
from hpcaccept.store.baseline_file import find_baseline, write_baseline
from hpcaccept.store.folder import RunFolder
from hpcaccept.store.history_file import append, read_runs, read_whereabouts

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.model.plan import Plan

MATMUL = suite("identity", "matmul")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    append(tmp_path / "history", [past_run(night, {FP32: [1.0, 2.0], TRIAD: [3.0, 4.0]}) for night in range(3)])
    write_baseline(tmp_path / "baselines", baseline())
    return Settings(runs_dir=str(tmp_path), baselines_dir=str(tmp_path / "baselines"))


def left(the_plan: Plan, settings: Settings) -> RunFolder:
    folder = RunFolder(settings.history_folder.parent / "run")
    folder.create()
    leave_known(the_plan, folder, settings)
    return folder


def test_the_metrics_of_the_suite_and_the_sites_baselines_are_left_for_the_owner_alone(settings: Settings) -> None:
    folder = left(plan(MATMUL, nodes=2), settings)
    assert [kept.run.at for kept in read_runs(folder.known_history)] == [at(night) for night in range(3)]
    assert read_whereabouts(folder.known_history).subjects == ("GPU-a", "GPU-b")
    (segment,) = folder.known_history.glob("*.h5")
    (copy,) = folder.known_baselines.glob("*.h5")
    assert find_baseline((folder.known_baselines,), baseline().model) is not None
    assert {file.stat().st_mode & 0o777 for file in (segment, copy)} == {0o600}
    assert TRIAD.encode() not in segment.read_bytes()


def test_of_nodes_that_are_named_nothing_else_is_left(settings: Settings) -> None:
    folder = left(plan(MATMUL, nodes=1, nodelist="node[1-1]"), settings)
    assert read_whereabouts(folder.known_history).subjects == ("GPU-b",)


@pytest.mark.parametrize(
    "the_plan",
    [plan(suite("identity")), plan(suite("matmul", peers=PeerRule(retests=0)))],
    ids=["counts", "no retests"],
)
def test_where_nothing_can_be_measured_again_nothing_is_left(settings: Settings, the_plan: Plan) -> None:
    assert not (left(the_plan, settings).path / "known").exists()


def test_a_first_run_has_no_past_and_needs_none(tmp_path: Path) -> None:
    folder = left(plan(MATMUL), Settings(runs_dir=str(tmp_path), baselines_dir=str(tmp_path / "none")))
    assert not folder.known_history.exists()
    assert not folder.known_baselines.exists()


def test_a_damaged_history_is_told_before_anything_is_measured(settings: Settings) -> None:
    (settings.history_folder / "000001.h5").write_bytes(b"no HDF5")
    with pytest.raises(StoreError, match=r"000001\.h5"):
        left(plan(MATMUL), settings)
