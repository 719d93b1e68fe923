"""From what was typed to a plan: the nodes of a word are named, and what a plan was bought of is kept beside it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hpcaccept.app.budget.order import Asked, nodes_not_tested, plan_within
from hpcaccept.config.settings import Layered, Settings
from hpcaccept.launch import slurm
from hpcaccept.model.node import ClusterNow, NodeState, TakenOut

if TYPE_CHECKING:
    from pathlib import Path

NODES = (
    *(NodeState(f"n{number}", ("IDLE",), gpus=(("h100", 8),), partitions=("gpu",)) for number in range(3)),
    NodeState("n3", ("DOWN",), gpus=(("h100", 8),), partitions=("gpu",), out=TakenOut("fell off the rack")),
)


@pytest.fixture
def layered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layered:
    monkeypatch.setattr(slurm, "available", lambda: "")
    monkeypatch.setattr(slurm, "default_gpus", lambda partition: 8)
    monkeypatch.setattr(slurm, "default_mpi", lambda listed=None: "pmix")
    monkeypatch.setattr(slurm, "cluster_now", lambda partition: ClusterNow("gpu", NODES, ()))
    settings = Settings(launcher="slurm", suite="standard", runs_dir=str(tmp_path / "runs"))
    return Layered(settings, {})


def test_gpu_hours_are_counted_on_the_nodes_that_a_word_means(layered: Layered, tmp_path: Path) -> None:
    ordered = plan_within(layered, Asked(nodes="all", budget="4gpu-h"))
    request = ordered.plan.request
    assert (request.nodelist, request.nodes, request.gpus_per_node, request.partition) == ("n[0-2]", 3, 8, "gpu")
    # 4 h of 24 GPUs are ten minutes.
    assert request.time_s == 600.0
    assert ordered.settings.nodelist == "n[0-2]"
    assert "n3: is down (fell off the rack)" in ordered.said
    ordered.folder.create()
    ordered.keep(ordered.folder)
    kept = json.loads(ordered.folder.budget_file.read_text())
    assert (kept["budget"], kept["nodes"]) == ("4gpu-h", 3)
    assert kept["nodes_left_out"] == {"n3": "is down (fell off the rack)"}


def test_without_a_budget_nothing_is_reckoned_said_or_kept(layered: Layered) -> None:
    ordered = plan_within(layered, Asked())
    assert (ordered.said, ordered.kept, ordered.plan.left_out, ordered.plan.request.time_s) == ("", "", (), 0.0)
    ordered.folder.create()
    ordered.keep(ordered.folder)
    assert not ordered.folder.budget_file.exists()


def test_nodes_are_named_without_a_budget_too(layered: Layered) -> None:
    ordered = plan_within(layered, Asked(nodes="idle"))
    assert ordered.plan.request.nodelist == "n[0-2]"
    assert ordered.said.startswith("Nodes of the partition that are not tested:\n  n3: not idle")


def test_of_many_nodes_that_are_not_tested_some_are_named() -> None:
    said = nodes_not_tested({f"n{number}": "is \x1b[2Jdown" for number in range(30)})
    assert "\x1b" not in said
    assert said.endswith("  and 10 more")
