"""The GPU or the node? The fleet judges, the neighbours on the node explain."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.builders import every, evidence, judged, nodes, of, plan, record, suite

from hpcaccept.judge.revise.node_level import neighbourhoods
from hpcaccept.model.verdict import CODE, Outcome

if TYPE_CHECKING:
    from hpcaccept.judge import Judgement

EIGHT = plan(suite("speed"), nodes=6, gpus_per_node=8, ranks_per_node=8)


def run(slow: dict[tuple[str, int], float]) -> Judgement:
    """Six nodes of eight GPUs; some are slow."""
    records = [
        record(
            "speed", node, {"rate_flops": slow.get((node, gpu), 100.0 + 0.01 * gpu), "wrong_elements": 0},
            device=f"cuda:{gpu}", rank=gpu,
        )
        for node in nodes(6)
        for gpu in range(8)
    ]  # fmt: skip
    return judged(evidence(records, EIGHT))


def test_a_slow_gpu_among_quick_neighbours_is_told_as_a_gpu() -> None:
    (fail,) = of(run({("node2", 5): 80.0}).verdicts, Outcome.FAIL)
    assert str(fail.subject) == "node2 cuda:5"
    assert "-20.0 % of its 7 neighbours on the node" in fail.reason


def test_a_node_of_which_all_gpus_are_slow_is_one_finding_about_the_node() -> None:
    judgement = run({("node2", gpu): 80.0 + gpu for gpu in range(8)})
    (fail,) = of(judgement.verdicts, Outcome.FAIL)
    assert (fail.subject.node, fail.subject.device) == ("node2", "")
    assert "all 8 on the node are slow" in fail.reason
    assert "the slowest of 8, GPU 0: " in fail.reason
    assert fail.value == 80.0
    # The columns still have each of them.
    assert len(of(every(judgement), Outcome.FAIL)) == judgement.counts()[Outcome.FAIL] == 8


def test_some_slow_gpus_of_a_node_are_told_by_their_number() -> None:
    fails = of(run({("node2", 1): 80.0, ("node2", 6): 80.0}).verdicts, Outcome.FAIL)
    assert {str(v.subject) for v in fails} == {"node2 cuda:1", "node2 cuda:6"}
    assert all("2 of 8 on the node are slow" in v.reason for v in fails)


@pytest.mark.parametrize("gpus", [1, 3])
def test_few_subjects_of_a_node_explain_nothing(gpus: int) -> None:
    records = [
        record("speed", node, {"rate_flops": 50.0 if node == "node1" else 100.0}, device=f"cuda:{gpu}", rank=gpu)
        for node in nodes(8)
        for gpu in range(gpus)
    ]
    judgement = judged(evidence(records, plan(suite("speed"), nodes=8, gpus_per_node=gpus, ranks_per_node=gpus)))
    fails = of(judgement.verdicts, Outcome.FAIL)
    assert len(fails) == gpus
    assert not any("on the node" in v.reason for v in fails)


def test_gpus_of_two_nodes_are_each_told_beside_their_own_neighbours() -> None:
    fails = of(run({("node2", 0): 80.0, ("node2", 1): 70.0, ("node3", 7): 60.0}).verdicts, Outcome.FAIL)
    told = {str(v.subject): v.reason for v in fails}
    assert set(told) == {"node2 cuda:0", "node2 cuda:1", "node3 cuda:7"}
    assert "of its 7 neighbours on the node" in told["node3 cuda:7"]
    assert "2 of 8 on the node are slow" in told["node2 cuda:0"]
    assert "2 of 8 on the node are slow" in told["node2 cuda:1"]


@pytest.mark.parametrize("question", ["baseline", "history", "limits"])
def test_only_who_is_blamed_by_its_peers_is_told_beside_its_neighbours(question: str) -> None:
    answer: Any = SimpleNamespace(question=question, outcome=np.full(8, CODE[Outcome.FAIL]))
    nobody: Any = None
    assert list(neighbourhoods(answer, nobody)) == []


def test_what_is_said_of_nodes_and_what_stands_in_columns_are_counted_together() -> None:
    records = [record("speed", node, {"rate_flops": 100.0, "wrong_elements": 0}) for node in nodes(3)]
    judgement = judged(evidence(records, plan(suite("speed"), nodes=4)))
    counts = judgement.counts()
    assert counts[Outcome.PASS] > 0
    assert counts[Outcome.ERROR] > 0, "node3 has not reported"
    assert counts.total() == len(every(judgement))
