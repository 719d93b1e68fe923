"""The output of a site's command becomes an outcome by its rule; what is not understood is none."""

from __future__ import annotations

import math

import pytest

from hpcaccept.launch.job.isolation.outcome_of_output import number_in, outcome_of_output
from hpcaccept.model.isolation import GroupTest
from hpcaccept.model.isolation_order import EndedTest, OutputRule

TEST = GroupTest("r1g1", 1, ("node1", "node2"))
BUSBW = OutputRule(r"Avg bus bandwidth\s*:\s*([0-9.]+)", at_least=300)
#: The last lines of nccl-tests.
NCCL = "# Out of bounds values : 0 OK\n# Avg bus bandwidth    : {}\n#\n"


def outcome(output: str, rule: OutputRule, code: int = 0, *, late: bool = False) -> EndedTest:
    return outcome_of_output(EndedTest(TEST, "not_run", code=code, wall_s=3.0), output, rule, late=late)


@pytest.mark.parametrize(
    ("output", "rule", "code", "kind", "how"),
    [
        ("", OutputRule(), 0, "passed", ""),
        ("it is bad\n", OutputRule(), 3, "failed", "exit status 3: 'it is bad'"),
        (NCCL.format(412.5), BUSBW, 0, "passed", ""),
        (NCCL.format(87.1), BUSBW, 0, "failed", "found 87.1, expected at least 300"),
        (NCCL.format(412.5), BUSBW, 1, "failed", "exit status 1"),
        (NCCL.format("nan"), BUSBW, 0, "not_run", "no number matches"),
        ("no such line", BUSBW, 0, "not_run", "no number matches"),
        ("t=9", OutputRule("t=([0-9]+)", at_most=5), 0, "failed", "found 9, expected at most 5"),
        ("", OutputRule(), -9, "crashed", "signal 9"),
        ("", OutputRule(), 137, "crashed", "signal 9"),
    ],
)
def test_what_came_of_a_command(output: str, rule: OutputRule, code: int, kind: str, how: str) -> None:
    found = outcome(output, rule, code)
    assert found.kind == kind
    assert how in found.how


def test_what_has_not_ended_in_time_hangs() -> None:
    assert outcome(NCCL.format(412.5), BUSBW, -15, late=True).kind == "hung"


def test_the_node_that_srun_saw_die_first_went_silent() -> None:
    words = "srun: error: node2: task 1: Killed\nsrun: error: node1: task 0: Terminated\n"
    assert outcome(words, OutputRule(), 137).silent == ("node2",)
    assert outcome(words.replace("node2", "node9"), OutputRule(), 137).silent == ()


def test_the_last_number_counts_and_a_value_without_limit_is_compared() -> None:
    found = outcome("rate 1\nrate 2e9\n", OutputRule("rate ([0-9e.]+)"))
    assert (found.kind, found.value) == ("passed", 2e9)
    assert found.outcome.value == 2e9
    assert math.isnan(EndedTest(TEST, "passed").outcome.value)


def test_text_that_is_no_number_is_not_taken_for_one() -> None:
    assert number_in("x=1.2.3 x=inf x=nan", r"x=(\S+)") is None
    assert number_in("x=1 x=", r"x=(\S*)") == 1.0
