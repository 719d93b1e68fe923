from __future__ import annotations

import pytest

from hpcaccept.judge.cells import exit_code, verdict_of_attempts, verdict_of_tests
from hpcaccept.model.matrix.attempt import Attempt, CellOutcome, TestResult


def test_a_pass_needs_a_pass_of_every_test() -> None:
    outcome, reason, tests = verdict_of_tests(["a", "b"], [TestResult("a", "PASS"), TestResult("b", "PASS")], "")
    assert (outcome, reason) == ("PASS", "")
    assert [each.test for each in tests] == ["a", "b"]


def test_a_test_that_said_nothing_is_an_error_with_the_reason_of_the_job() -> None:
    outcome, reason, _ = verdict_of_tests(["a", "b"], [TestResult("a", "PASS")], "the job reached its time limit")
    assert (outcome, reason) == ("ERROR", "b: the job reached its time limit")


def test_a_failure_that_was_seen_counts_though_the_job_broke_later() -> None:
    outcome, _, _ = verdict_of_tests(["a", "b"], [TestResult("a", "FAIL", "no")], "it was ended from outside")
    assert outcome == "FAIL"


def test_all_tests_passed_and_the_job_broke() -> None:
    outcome, reason, _ = verdict_of_tests(["a"], [TestResult("a", "PASS")], "it was ended from outside")
    assert (outcome, reason) == ("ERROR", "it was ended from outside")


def test_results_that_nobody_ordered_and_second_ones_count_for_nothing() -> None:
    said = [TestResult("a", "FAIL", "no"), TestResult("a", "PASS"), TestResult("z", "FAIL", "no")]
    outcome, _, tests = verdict_of_tests(["a"], said, "")
    assert outcome == "FAIL"
    assert len(tests) == 1


def test_a_cell_without_tests_passes_nothing() -> None:
    assert verdict_of_tests([], [], "")[0] == "ERROR"


@pytest.mark.parametrize(
    ("outcomes", "verdict", "said"),
    [
        (["PASS"], "PASS", ""),
        (["FAIL"], "FAIL", "r1"),
        (["FAIL", "FAIL"], "FAIL", "r2 (in 2 of 2 attempts)"),
        (["FAIL", "PASS"], "WARN", "flaky: failed in 1 of 2 attempts: r1"),
        (["FAIL", "ERROR"], "FAIL", "r1"),
        (["ERROR"], "ERROR", "r1"),
        (["FAIL", "FAIL", "PASS"], "WARN", "flaky: failed in 2 of 3 attempts: r2"),
    ],
)
def test_what_attempts_say_together(outcomes: list[CellOutcome], verdict: str, said: str) -> None:
    tries = [Attempt("c", n, outcome, f"r{n}" if outcome != "PASS" else "") for n, outcome in enumerate(outcomes, 1)]
    assert verdict_of_attempts(tries) == (verdict, said)


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        (["PASS", "IMPOSSIBLE"], 0),
        (["IMPOSSIBLE"], 3),
        ([], 3),
        (["PASS", "NOT_RUN"], 3),
        (["PASS", "WARN"], 3),
        (["PASS", "ERROR"], 3),
        (["NOT_RUN", "FAIL", "ERROR"], 1),
    ],
)
def test_the_exit_code_of_a_matrix(outcomes: list[CellOutcome], code: int) -> None:
    assert exit_code(outcomes) == code
