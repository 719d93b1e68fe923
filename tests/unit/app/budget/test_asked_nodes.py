"""``--nodes all`` and ``--nodes idle``: on what Slurm really said (tests/data/slurm/nodes_now.txt)."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from support.slurm_now import SAID

from hpcaccept.app.budget.asked_nodes import AskedNodes, named_nodes
from hpcaccept.config.settings import Settings
from hpcaccept.errors import LaunchError, UsageError
from hpcaccept.launch import slurm
from hpcaccept.model.node import ClusterNow
from hpcaccept.parse.slurm.nodes import parse_nodes, parse_planned, parse_reservations

if TYPE_CHECKING:
    from collections.abc import Callable


NODES = tuple(parse_nodes(SAID["scontrol -o show node"]))
KEPT = (
    *parse_reservations(SAID["scontrol -o show reservation"]),
    *parse_planned(SAID["squeue -h -t PD -o '%i|%S|%Y'"]),
)
#: When they were recorded: a reservation of node2 and node3 begins two hours later.
NOW = 1795335692.0


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AskedNodes]:
    def ask(which: str, within_s: float = 900.0, nodes: object = NODES, **settings: object) -> AskedNodes:
        now = ClusterNow("gpu", nodes, KEPT)  # type: ignore[arg-type]
        monkeypatch.setattr(slurm, "cluster_now", lambda partition: now)
        return named_nodes(Settings(**{"gpus_per_node": 8, **settings}), which, within_s, "slurm")  # type: ignore[arg-type]

    monkeypatch.setattr("hpcaccept.app.budget.asked_nodes.time", SimpleNamespace(time=lambda: NOW))
    return ask


def test_all_are_those_that_could_run_a_job_after_others(named: Callable[..., AskedNodes]) -> None:
    found = named("all")
    assert (found.settings.nodelist, found.settings.nodes, found.settings.partition) == ("node[0-2]", 3, "gpu")
    assert list(found.left_out) == ["node3"]
    assert found.left_out["node3"].startswith("is drain")


def test_idle_are_those_that_nobody_uses_or_is_promised(named: Callable[..., AskedNodes]) -> None:
    found = named("idle")
    assert found.settings.nodelist == "node2"
    assert {node: why.partition(":")[0] for node, why in found.left_out.items()} == {
        "node0": "planned for a job that waits",
        "node1": "not idle",
        "node3": "not idle",
    }


def test_an_idle_node_that_is_reserved_before_the_budget_ends_is_left_out(named: Callable[..., AskedNodes]) -> None:
    with pytest.raises(LaunchError, match="--nodes idle: a job can have no node of gpu"):
        named("idle", within_s=3 * 3600.0)


def test_a_node_that_does_not_answer_is_left_out_whatever_its_state_begins_with(
    named: Callable[..., AskedNodes],
) -> None:
    silent = replace(NODES[2], flags=("IDLE", "MARK *"))
    assert "node2" in named("all", nodes=(*NODES[:2], silent)).left_out


def test_excluded_nodes_and_those_with_fewer_gpus_are_left_out_by_name(named: Callable[..., AskedNodes]) -> None:
    poor = replace(NODES[0], gpus=(("h100", 4),))
    found = named("all", nodes=(poor, *NODES[1:]), exclude="node1")
    assert found.settings.nodelist == "node2"
    assert found.settings.exclude == ""
    assert found.left_out["node0"] == "has 4 of 8 GPUs"
    assert found.left_out["node1"] == "is excluded"


def test_names_beside_a_word_are_refused(named: Callable[..., AskedNodes]) -> None:
    with pytest.raises(UsageError, match="--nodes all and --nodelist both name nodes"):
        named("all", nodelist="node1")


def test_where_nobody_knows_of_nodes_a_word_means_nothing() -> None:
    with pytest.raises(UsageError, match="the launcher 'local' knows of no nodes"):
        named_nodes(Settings(), "idle", 60.0, "local")
