"""A device that somebody else is using is not blamed for its speed, and still for wrong results."""

from __future__ import annotations

from support.builders import evidence, judged, nodes, of, record, where

from hpcaccept.model.record import DISTURBED
from hpcaccept.model.verdict import Outcome

RATE, WRONG = "rate_flops[fp32]", "wrong_elements[fp32]"


def fleet(disturbed: str = "", wrong: float = 0.0) -> list:  # type: ignore[type-arg]
    """Eight nodes, the third at half of the others' rate."""
    found = []
    for number, node in enumerate(nodes(8)):
        slow = number == 2
        numbers = {RATE: 5e14 if slow else 1e15 + number * 1e11, WRONG: wrong if slow else 0.0}
        facts = {DISTURBED: disturbed} if slow and disturbed else {}
        found.append(record("speed", node, numbers, facts=facts))
    return found


def test_a_slow_device_that_nobody_else_uses_fails() -> None:
    assert where(judged(evidence(fleet())).verdicts, Outcome.FAIL) == {"node2"}


def test_a_slow_device_that_somebody_else_uses_is_an_error_that_says_who() -> None:
    found = judged(evidence(fleet("process 4711 (python) holds 60 GiB")))
    assert not of(found.verdicts, Outcome.FAIL)
    (error,) = of(found.verdicts, Outcome.ERROR)
    assert error.subject.node == "node2"
    assert "4711" in error.reason
    assert found.exit_code == 3


def test_wrong_results_of_a_disturbed_device_are_still_its_fault() -> None:
    found = judged(evidence(fleet("process 4711", wrong=3.0)))
    assert {v.metric for v in of(found.verdicts, Outcome.FAIL)} == {"wrong_elements"}
