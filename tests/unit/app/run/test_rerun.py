"""What is measured again of a run: the bad nodes, the checks that are open, and the partners that a finding needs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.finished_runs import gpu_run

from hpcaccept.app.run.conclude import collect, judge_run
from hpcaccept.app.run.rerun import rerun_of
from hpcaccept.errors import UsageError
from hpcaccept.model.evidence import Evidence

if TYPE_CHECKING:
    from pathlib import Path

    from hpcaccept.report.judged import Judged

SLOW = (7.9e14, 7.91e14, 5e14, 7.92e14)


def judged(place: Path, **run: object) -> Judged:
    return judge_run(collect(gpu_run(place, **run)), place / "baselines")  # type: ignore[arg-type]


def test_a_slow_node_is_measured_again_beside_as_many_partners_as_its_peers_rule_needs(tmp_path: Path) -> None:
    again = rerun_of(judged(tmp_path, rates=SLOW))
    assert (again.nodes, again.partners, again.only) == (("node2",), ("node0", "node1"), ("matmul",))
    assert again.options["nodelist"] == "node2,node0,node1"
    assert (again.options["nodes"], again.options["launcher"], again.options["gpus_per_node"]) == (3, "slurm", "1")


def test_nodes_of_a_scheduler_are_named_though_they_share_a_kernel_and_virtual_ones_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Evidence, "shared_host", True)
    found = judged(tmp_path, wrong="node1")
    assert rerun_of(found).options["nodelist"] == "node1"
    steps = tuple(replace(step, virtual=True) for step in found.evidence.steps)
    assert "nodelist" not in rerun_of(replace(found, evidence=replace(found.evidence, steps=steps))).options


def test_a_wrong_result_needs_no_partner(tmp_path: Path) -> None:
    again = rerun_of(judged(tmp_path, wrong="node1"))
    assert (again.nodes, again.partners, again.only) == (("node1",), (), ("matmul",))


def test_a_silent_node_is_measured_with_every_check_that_it_owes(tmp_path: Path) -> None:
    again = rerun_of(judged(tmp_path, silent=["node3"]))
    assert (again.nodes, again.only) == (("node3",), ("identity", "matmul", "memory_bandwidth"))


def test_of_a_run_in_which_all_passed_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Every node of run1 passed"):
        rerun_of(judged(tmp_path))
