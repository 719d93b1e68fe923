"""The verdict on a cell: whether an image works on a machine, from what its tests said, and for a cell that was tried more than once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.model.matrix.attempt import TestResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.matrix.attempt import Attempt, CellOutcome

#: Which of several test results speaks for the cell: the first that is there.
_WORST: tuple[CellOutcome, ...] = ("FAIL", "ERROR", "NOT_RUN")


def verdict_of_tests(
    ordered: Sequence[str], said: Sequence[TestResult], broken: str
) -> tuple[CellOutcome, str, tuple[TestResult, ...]]:
    """Outcome, reason and every ordered test's result. PASS needs a PASS of each test, and a job that ended well.

    Args:
        ordered: names of the tests.
        said: results that came; the first of each name counts.
        broken: why the job did not come to its end; empty: it did.
    """
    by_name = {each.test: each for each in reversed(said)}
    why = broken or "the cell's job has said nothing of it"
    tests = tuple(by_name.get(name, TestResult(name, "ERROR", why)) for name in ordered)
    for outcome in _WORST:
        bad = [each for each in tests if each.outcome == outcome]
        if bad:
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            return outcome, f"{bad[0].test}: {bad[0].reason}{more}", tests
    if broken or not tests:
        return "ERROR", broken or "the cell has no test", tests
    return "PASS", "", tests


def verdict_of_attempts(attempts: Sequence[Attempt]) -> tuple[CellOutcome, str]:
    """What is said of a cell after all its attempts: one that failed and then passed is flaky, which is WARN; else the last one speaks."""
    judged = [each for each in attempts if each.outcome in ("PASS", "FAIL")]
    if not judged:
        last = attempts[-1]
        return last.outcome, last.reason
    failed = [each for each in judged if each.outcome == "FAIL"]
    if not failed:
        return judged[-1].outcome, ""
    if len(failed) == len(judged):
        again = f" (in {len(failed)} of {len(failed)} attempts)" if len(failed) > 1 else ""
        return "FAIL", f"{failed[-1].reason}{again}"
    return "WARN", f"flaky: failed in {len(failed)} of {len(judged)} attempts: {failed[-1].reason}"


def exit_code(outcomes: Sequence[CellOutcome]) -> int:
    """0: every cell that can be passed; 1: one failed; 3: one was not run, erred or is flaky."""
    if "FAIL" in outcomes:
        return 1
    return 0 if all(each in ("PASS", "IMPOSSIBLE") for each in outcomes) and "PASS" in outcomes else 3
