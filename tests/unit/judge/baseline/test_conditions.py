"""Under what conditions a run measured, beside what each device says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.builders import H100, baseline, evidence, judged, nodes, of, plan, rank_started, record

from hpcaccept.judge.baseline.conditions import conditions_of
from hpcaccept.model.verdict import Outcome

if TYPE_CHECKING:
    from hpcaccept.model.evidence import Evidence


def run(transport: str = "", *, gpus: int = 0, mpi: str = "Open MPI v4.1.4") -> Evidence:
    facts = {"transport": transport} if transport else {}
    the_plan = plan(nodes=2, gpus_per_node=gpus)
    starts = tuple(rank_started(rank, node, mpi=mpi) for rank, node in enumerate(nodes(2)))
    return evidence(
        [record("speed", node, {"rate_flops": 1.0}, facts=facts) for node in nodes(2)], the_plan, rank_starts=starts
    )


def test_a_cpu_run_says_who_gave_its_ranks_their_cores() -> None:
    assert conditions_of(run()) == {"gpus_per_node": "0", "launcher": "slurm"}
    assert conditions_of(run(gpus=8)) == {"gpus_per_node": "8"}


@pytest.mark.parametrize(
    ("said", "mpi", "kept"),
    [
        ("gloo", "Open MPI v4.1.4", "gloo"),
        ("mpi", "Open MPI v4.1.4", "mpi (Open MPI v4.1)"),
        ("mpi", "MPICH Version: 5.0.2", "mpi (MPICH Version: 5.0)"),
        ("mpi", "Intel(R) MPI Library 2021.18 for Linux", "mpi (Intel(R) MPI Library 2021.18)"),
        ("mpi", "", "mpi"),
        ("P2P ×24, NET/IB/GDRDMA ×4; network IB", "", "P2P, NET/IB/GDRDMA; network IB"),
    ],
)  # fmt: skip
def test_what_carried_a_check_is_told_without_counts(said: str, mpi: str, kept: str) -> None:
    assert conditions_of(run(said, mpi=mpi))["transport[speed]"] == kept


def test_a_check_that_measured_nothing_says_nothing() -> None:
    lost = evidence([record("speed", "node0", None, facts={"transport": "gloo"})], plan(nodes=1, gpus_per_node=0))
    assert "transport[speed]" not in conditions_of(lost)


def test_a_baseline_of_another_launcher_judges_nothing_and_says_so() -> None:
    one = baseline()
    learned = replace(one, provenance=replace(one.provenance, facts={"launcher": "local"}))
    verdicts = judged(run(), {H100: learned}).verdicts
    (said,) = {v.reason for v in of(verdicts, Outcome.NO_BASELINE) if v.question == "baseline"}
    assert "measured with the launcher local, this run with slurm" in said


def test_who_measured_nothing_does_not_speak_for_the_ranks_that_did() -> None:
    lost = record("speed", "node0", None, facts={"transport": "gloo"}, outcome="error", cut_short=True, by_peer=True)
    good = record("speed", "node1", {"rate_flops": 1.0}, facts={"transport": "tcp"})
    assert conditions_of(evidence([lost, good], plan(nodes=2)))["transport[speed]"] == "tcp"
