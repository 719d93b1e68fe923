"""Which steps a step takes."""

from __future__ import annotations

from hpcaccept.launch.job.queue import apart
from hpcaccept.model.plan import Step
from hpcaccept.model.suite import CheckSpec


def names(*checks: str, gpus: int = 8) -> list[list[str]]:
    step = Step("00", ("a", "b"), max(1, gpus), gpus, tuple(CheckSpec(name) for name in checks), 60.0)
    return [[spec.name for spec in each.checks] for each in apart(step)]


def test_what_brings_an_mpi_of_its_own_has_a_step_of_its_own_after_the_others() -> None:
    own = "nccl_tests_world"
    assert names("identity", own, "matmul") == [["identity", "matmul"], [own]]
    assert names(f"{own}:alltoall", own) == [[f"{own}:alltoall"], [own]]
    assert names("identity", "matmul") == [["identity", "matmul"]]


def test_without_gpus_there_is_nothing_to_start() -> None:
    assert names("identity", "nccl_tests_world", gpus=0) == [["identity", "nccl_tests_world"]]
