"""What Slurm says when it refuses is told in its words; what a rank says is no refusal."""

from __future__ import annotations

import pytest
from support.builders import DATA

from hpcaccept.parse.slurm.refusals import explain_srun

LAUNCHERS = DATA / "launchers"


@pytest.mark.parametrize(
    ("recorded", "words", "remedy"),
    [
        ("srun_node_not_in_job", "Unable to create step for job 37: Requested node configuration is not available", "scontrol show node"),
        ("srun_more_nodes_than_allocated", "Only allocated 1 nodes asked for 3", "logs/"),
        ("srun_bad_mpi", "Invalid MPI type 'nosuch', --mpi=list for acceptable types", "--mpi TYPE"),
        ("srun_bad_partition", "Unable to allocate resources: Invalid partition name specified", "logs/"),
        ("srun_bad_gres", "Step requested GRES (gpu:a100) not found in the job / Unable to create step", "--gpus-per-node [TYPE:]N"),
        ("srun_too_many_tasks", "More processors requested than permitted", "--ranks-per-node N"),
        ("srun_never_granted", "Cancelled pending job step with signal 15", "another step"),
    ],
)  # fmt: skip
def test_a_refused_step_is_told_in_the_words_of_srun(recorded: str, words: str, remedy: str) -> None:
    found = explain_srun((LAUNCHERS / f"{recorded}.err").read_text())
    assert found
    cause, what_to_do = found
    assert cause.startswith("srun refused the step: ")
    assert words in cause
    assert remedy in what_to_do


@pytest.mark.parametrize(
    "recorded",
    [
        "srun_no_program",
        "srun_one_killed",
        "srun_node_failure",
        "srun_job_cancelled",
        "srun_two_exit_3",
        "mpiexec_no_program",
    ],
)
def test_a_step_that_was_there_was_not_refused(recorded: str) -> None:
    assert explain_srun((LAUNCHERS / f"{recorded}.err").read_text()) is None
