"""Which verdict is the worst? The ranking that every report shares."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from support.builders import H100, any_code, evidence, judged, nodes, plan, record, suite

from hpcaccept.model.job import JobStatus, State
from hpcaccept.model.metric import Limit
from hpcaccept.model.suite import CheckSpec
from hpcaccept.model.verdict import Outcome, Subject, Verdict
from hpcaccept.report.model import ORDER, ranked, shortfall, summarise


def verdict(outcome: Outcome, node: str, value: float | None = None, limit: Limit | None = None) -> Verdict:
    code = any_code(outcome)
    return Verdict(Subject(node), "speed", outcome, "why", metric="rate_flops", value=value, limit=limit, code=code)


def at_least(bound: float) -> Limit:
    return Limit(bound, None, "FLOP/s", "suite")


def at_most(bound: float) -> Limit:
    return Limit(None, bound, "FLOP/s", "suite")


@pytest.mark.parametrize(
    ("value", "limit", "expected"),
    [
        (50.0, at_least(100.0), 0.5),
        (150.0, at_most(100.0), 0.5),
        (99.0, at_least(90.0), -0.1),
        (3.0, at_most(0.0), 3.0),
        (0.0, at_least(100.0), 1.0),
        (-2.0, at_least(-1.0), 1.0),
        (120.0, Limit(80.0, 100.0, "FLOP/s", "suite"), 0.2),
        (60.0, Limit(80.0, 100.0, "FLOP/s", "suite"), 0.25),
        (1.0, None, 0.0),
        (None, None, math.inf),
        (math.nan, at_least(1.0), math.inf),
        (1e308, at_most(1e-300), math.inf),
    ],
)
def test_a_shortfall_is_relative_to_the_limit(value: float | None, limit: Limit | None, expected: float) -> None:
    assert shortfall(verdict(Outcome.ERROR, "n", value, limit)) == pytest.approx(expected)


def test_hardware_comes_before_what_could_not_be_judged_and_a_pass_comes_last() -> None:
    assert [outcome.value for outcome in ORDER] == ["FAIL", "ERROR", "WARN", "NOT_RUN", "NO_BASELINE", "PASS"]


def test_the_worst_comes_first_and_names_decide_only_between_equals() -> None:
    made = [
        verdict(Outcome.WARN, "a", 95.0, at_least(90.0)),
        verdict(Outcome.WARN, "z", 91.0, at_least(90.0)),
        verdict(Outcome.FAIL, "b", 80.0, at_least(90.0)),
        verdict(Outcome.FAIL, "y", 10.0, at_least(90.0)),
        verdict(Outcome.FAIL, "c", 80.0, at_least(90.0)),
        verdict(Outcome.ERROR, "d", 1.0),
        verdict(Outcome.ERROR, "x"),
    ]
    assert [v.subject.node for v in ranked(made)] == ["y", "b", "c", "x", "d", "z", "a"]
    assert ranked(reversed(made)) == ranked(made)


def test_a_search_for_shapes_ends_with_lines_for_a_suite() -> None:
    line = 'checks."matmul:bf16" = { dtypes = ["bf16"], shape = [2048, 2048, 13312] }'
    the_plan = plan(suite(CheckSpec("speed", params={"search": True})), nodes=2)
    records = [
        record("speed", node, {}, facts={"suite[bf16]": line, "toml[bf16]": "…"}, device_model=H100)
        for node in nodes(2)
    ]
    found = evidence(records, the_plan)
    notes = [note for note in summarise(found, judged(found), []).notes if "shape" in note]
    assert notes == [f"Best shape found for {H100}, to keep it in a suite: {line}"]


@pytest.mark.parametrize("state", ["lost", "stuck", "failed", "timeout", "out_of_memory", "cancelled"])
def test_how_a_job_ended_is_a_sentence_and_no_word_of_ours(state: State) -> None:
    found = replace(evidence([], names=(), rank_starts=(), job=JobStatus(state, "what the scheduler says")), events=())
    note = next(note for note in summarise(found, judged(found), []).notes if "what the scheduler says" in note)
    assert "ended as" not in note
    assert note.removeprefix("The job ended early: ").startswith(("The job ", "the job "))
