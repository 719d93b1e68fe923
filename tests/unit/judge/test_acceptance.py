"""The sum of the verdicts: nothing that was not judged is part of an acceptance."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.builders import evidence, fleet, judged, judged_run_of, nodes, plan, record, suite

from hpcaccept.model.metric import Limit
from hpcaccept.model.suite import CheckSpec
from hpcaccept.model.verdict import Outcome, strict_exit_code

LIMIT = {"speed.rate_flops": Limit(50.0, None, "FLOP/s", "suite", "test.toml")}


@pytest.mark.parametrize("count", [1, 2])
def test_a_rate_that_nothing_judged_is_not_accepted(count: int) -> None:
    found = judged_run_of(fleet([100.0] * count))
    assert found.judgement.exit_code == 3
    assert set(found.summary.nodes.values()) == {Outcome.NO_BASELINE}
    assert found.summary.rows[0].outcome is Outcome.NO_BASELINE
    assert found.judgement.coverage.judged == 0
    # Told once per subject, and by the question whose remedy helps.
    assert {v.question for v in found.summary.bad} == {"baseline"}
    assert len(found.summary.bad) == count


def test_one_question_is_enough() -> None:
    found = judged(fleet([100.0], plan(suite(limits=LIMIT), nodes=1)))
    assert found.exit_code == 0
    assert found.coverage.judged == found.coverage.asked == 1


def test_one_gpu_of_a_node_does_not_stand_for_the_others() -> None:
    records = [
        record("speed", f"node{i}", {"rate_flops[fp32]": 100.0, **({"rate_flops[odd]": 5.0} if i == 1 else {})})
        for i in range(4)
    ]
    found = judged_run_of(evidence(records, plan(suite())))
    assert found.judgement.exit_code == 3
    assert found.summary.nodes == {f"node{i}": Outcome.NO_BASELINE if i == 1 else Outcome.PASS for i in range(4)}
    assert found.judgement.coverage.gaps == {"speed": ("node1",)}


def test_half_of_the_ranks_are_no_coverage() -> None:
    the_plan = plan(suite(), ranks_per_node=2, gpus_per_node=2)
    records = [record("speed", f"node{i}", {"rate_flops": 100.0}, rank=2 * i) for i in range(4)]
    found = judged(evidence(records, the_plan))
    assert found.exit_code == 3
    assert found.coverage.judged == 0


def test_a_required_check_of_which_nothing_was_judged_keeps_the_run_open() -> None:
    the_plan = plan(suite("identity", limits={}), nodes=1, gpus_per_node=0)
    found = judged_run_of(evidence([record("identity", "node0", {"cores": 8})], the_plan))
    assert found.judgement.exit_code == 3
    assert found.summary.rows[0].outcome is Outcome.NO_BASELINE
    optional = replace(the_plan, suite=suite(CheckSpec("identity", required=False), CheckSpec("speed"), limits=LIMIT))
    records = [record("identity", "node0", {"cores": 8}), record("speed", "node0", {"rate_flops": 100.0})]
    assert judged(evidence(records, optional)).exit_code == 0


def test_inventory_need_not_be_judged_where_something_else_of_its_check_is() -> None:
    records = [record("identity", "node0", {"cores": 8, "gpu_count": 1})]
    assert judged(evidence(records, plan(suite("identity"), nodes=1))).exit_code == 0


def test_a_check_without_a_number_that_could_be_judged_says_what_to_do() -> None:
    found = judged(evidence([record("fabric", "node0", {"busbw_bytes": 1.0})], plan(suite("fabric"), nodes=1)))
    (told,) = [v for v in found.said if v.subject.node == "node0"]
    assert (told.outcome, found.exit_code) == (Outcome.NO_BASELINE, 3)
    assert "required = false" in told.remedy


def test_a_node_that_was_asked_for_and_is_not_in_the_job_keeps_the_run_open() -> None:
    found = judged_run_of(replace(fleet([100.0] * 4, plan(suite(), nodes=5)), nodes=nodes(4)))
    assert found.judgement.exit_code == 3
    assert "4 of the 5 nodes" in found.summary.bad[0].reason
    assert found.judgement.coverage.gaps["speed"] == ("?",)


def test_coverage_is_never_rounded_up() -> None:
    cover = replace(judged(fleet([100.0] * 4)).coverage, asked=2048, judged=2046)
    assert cover.percent == 99
    assert replace(cover, judged=2048).percent == 100


# --- why a run is not accepted, for scripts ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ([(Outcome.PASS, True)], 0),
        ([(Outcome.PASS, True), (Outcome.FAIL, False), (Outcome.NO_BASELINE, True)], 1),
        ([(Outcome.PASS, True), (Outcome.WARN, True), (Outcome.NO_BASELINE, True)], 3),
        ([(Outcome.PASS, True), (Outcome.ERROR, True), (Outcome.NOT_RUN, True)], 3),
        ([(Outcome.PASS, True), (Outcome.NOT_RUN, True), (Outcome.NO_BASELINE, True)], 4),
        ([(Outcome.PASS, True), (Outcome.NO_BASELINE, True), (Outcome.ERROR, False)], 5),
        ([(Outcome.NO_BASELINE, False)], 3),
        ([], 3),
    ],
)
def test_the_reasons_of_a_run_that_is_not_judged_are_told_apart(said: list[tuple[Outcome, bool]], code: int) -> None:
    assert strict_exit_code(said) == code
