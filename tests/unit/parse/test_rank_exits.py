from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import DATA

from hpcaccept.parse.rank_exits import Death, parse_aborting, parse_deaths

LAUNCHERS = DATA / "launchers"


def deaths(name: str) -> list[Death]:
    return parse_deaths((LAUNCHERS / f"{name}.err").read_text("utf-8"))


@pytest.mark.parametrize(
    ("recorded", "first", "how"),
    [
        ("srun_one_killed", (2,), "Killed"),
        ("srun_two_exit_3", (2, 3), "Exited with exit code 3"),
        ("srun_segfault", (1,), "Segmentation fault (core dumped)"),
        ("srun_mpi5_one_killed", (2,), "Killed"),
        ("srun_no_program", (0, 1, 2, 3), "Exited with exit code 2"),
        ("srun_ranks_with_gap", (0, 1, 3), "Exited with exit code 9"),
        ("mpiexec_one_killed", (2,), "signal 9 (Killed)"),
        ("mpiexec_exit_3", (1,), "exit code 3"),
        ("mpiexec_mpi_exit_76", (1,), "exit code 76"),
        ("mpiexec_mpi_killed", (1,), "signal 9 (Killed)"),
        ("mpiexec5_one_killed", (2,), "signal 9 (Killed)"),
        ("mpiexec5_exit_3", (1,), "exit code 3"),
        ("mpiexec5_mpi_exit_76", (1,), "exit code 76"),
        ("mpiexec5_mpi_killed", (1,), "signal 9 (Killed)"),
        ("mpiexec5_two_segfaults", (2,), "signal 11 (Segmentation fault)"),
    ],
)
def test_the_first_deaths_are_those_of_the_ranks_that_died(recorded: str, first: tuple[int, ...], how: str) -> None:
    found = deaths(recorded)
    assert tuple(d.rank for d in found if d.how == how) == first
    assert found[0].rank == first[0]


def test_srun_names_the_node_of_each_rank() -> None:
    assert deaths("srun_one_killed") == [
        Death(2, "node2", "Killed"),
        Death(0, "node0", "Terminated"),
        Death(1, "node1", "Terminated"),
        Death(3, "node3", "Terminated"),
    ]


def test_every_rank_of_a_group_is_told() -> None:
    assert [(d.rank, d.how) for d in deaths("srun_two_exit_3")][:4] == [
        (2, "Exited with exit code 3"),
        (3, "Exited with exit code 3"),
        (6, "Terminated"),
        (7, "Terminated"),
    ]


def test_a_node_failure_tells_of_ranks_that_were_ended() -> None:
    assert {d.how for d in deaths("srun_node_failure")} == {"Terminated"}


def test_open_mpi_says_which_ranks_it_is_about_to_abort() -> None:
    said = (LAUNCHERS / "srun_mpi5_one_killed.err").read_text("utf-8")
    assert parse_aborting(said) == {("node1", 14221), ("node3", 14212)}
    assert parse_aborting((LAUNCHERS / "srun_mpi5_peers_abort.err").read_text("utf-8")) == frozenset()


@pytest.mark.parametrize(
    "recorded",
    [
        "srun_no_pyxis",
        "srun_bad_partition",
        "srun_bad_mpi",
        "srun_no_conf",
        "srun_more_nodes_than_allocated",
        "srun_node_not_in_job",
        "mpiexec_no_program",
        "mpiexec5_no_program",
        "mpiexec_two_segfaults",
        "mpiexec_mpi_abort",
    ],
)
def test_what_tells_of_no_rank_is_not_guessed_at(recorded: str) -> None:
    assert deaths(recorded) == []


@pytest.mark.parametrize("file", sorted(LAUNCHERS.glob("*.err")), ids=lambda file: file.stem)
def test_a_line_cut_off_anywhere_is_no_other_rank(file: object) -> None:
    text = (LAUNCHERS / str(file)).read_text("utf-8")
    whole = {(d.rank, d.node) for d in parse_deaths(text)}
    for cut in range(len(text)):
        found = {(d.rank, d.node) for d in parse_deaths(text[:cut])}
        assert found <= whole


def test_deaths_are_told_in_the_order_of_the_text() -> None:
    text = (
        "srun: error: node1: task 1: Exited with exit code 76\n"
        "mpiexec noticed that process rank 5 with PID 0 on node vm exited on signal 9 (Killed).\n"
        "srun: error: node0: task 0: Terminated\n"
    )
    assert [d.rank for d in parse_deaths(text)] == [1, 5, 0]


def test_the_words_of_a_program_that_looks_like_srun_in_the_middle_of_a_line_are_not_srun() -> None:
    assert parse_deaths("rank says: srun: error: node0: task 0: Killed\n") == []


def test_a_range_that_no_cluster_has_costs_no_memory() -> None:
    # Ranks write to the same stream; what they print is data.
    text = "srun: error: node0: tasks 0-99999999999: Killed\nsrun: error: node1: task 1: Killed\n"
    assert [d.rank for d in parse_deaths(text)][-1] == 1


@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    assert isinstance(parse_deaths(text), list)


@given(st.text(alphabet="srun: eo0123456789-,tak\n"))
def test_no_text_that_looks_like_srun_is_too_strange(text: str) -> None:
    assert isinstance(parse_deaths(f"srun: error: node0: tasks {text}: Killed\n"), list)
