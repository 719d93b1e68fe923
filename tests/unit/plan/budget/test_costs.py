"""A check costs what it did in the latest runs of the same shape; else what it declares, or its time limit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.builders import plan, suite

from hpcaccept.model.plan import Image, Plan
from hpcaccept.model.run_time import CheckTime, StepTime
from hpcaccept.model.suite import CheckSpec
from hpcaccept.plan.budget.costs import Known, cost_of, known_for, overhead_of, why_not_measured

MATMUL = CheckSpec("matmul", deadline_s=600.0)
PAIRS = CheckSpec("pairs", deadline_s=300.0)


def step(nodes: int, *checks: CheckTime, **more: object) -> StepTime:
    values = {"ranks_per_node": 8, "gpus": "8", "virtual": False, "image": "", "first": True, "start_s": 40.0, **more}
    return StepTime(nodes=nodes, checks=checks, **values)  # type: ignore[arg-type]


def the_plan(**request: object) -> Plan:
    return plan(suite(MATMUL, PAIRS), **{"nodes": 64, "gpus_per_node": 8, "ranks_per_node": 8, **request})


def known(*steps: StepTime, the_plan_: Plan | None = None) -> Known:
    return known_for(the_plan_ or the_plan(), steps, virtual=False, cores=8)


def test_the_longest_of_the_latest_five_and_a_fifth_more() -> None:
    times = (900.0, 40.0, 50.0, 45.0, 44.0, 43.0)
    steps = [step(64, CheckTime("matmul", {}, seconds)) for seconds in times]
    cost = cost_of(MATMUL, {}, 1.0, known(*steps))
    assert cost.seconds == pytest.approx(60.0)
    assert cost.source == "5 runs on 64 nodes"


def test_a_run_of_another_shape_tells_nothing() -> None:
    mine = CheckTime("matmul", {}, 40.0)
    for other in ({"gpus": "4"}, {"ranks_per_node": 4}, {"virtual": True}, {"image": "a.sqsh"}):
        assert cost_of(MATMUL, {}, 1.0, known(step(64, mine, **other))).source == "its time limit"


def test_other_parameters_are_another_check() -> None:
    longer = CheckTime("matmul", {"blocks": 50}, 400.0)
    assert cost_of(MATMUL, {}, 1.0, known(step(64, longer))).source == "its time limit"
    asked = replace(MATMUL, params={"blocks": 50})
    assert cost_of(asked, {}, 1.0, known(step(64, longer))).seconds == 480.0


def test_devices_measure_at_the_same_time_whatever_their_number() -> None:
    assert cost_of(MATMUL, {}, 1.0, known(step(1, CheckTime("matmul", {}, 40.0)))).seconds == 48.0


def test_what_all_do_together_may_last_in_proportion_and_never_longer_than_its_limit() -> None:
    cost = cost_of(PAIRS, {}, 1.0, known(step(32, CheckTime("pairs", {}, 20.0))))
    assert (cost.seconds, cost.source) == (48.0, "1 run on 32 nodes, in proportion")
    assert cost_of(PAIRS, {}, 1.0, known(step(2, CheckTime("pairs", {}, 20.0)))).seconds == 300.0
    assert cost_of(PAIRS, {}, 1.0, known(step(128, CheckTime("pairs", {}, 20.0)))).seconds == 24.0


def test_of_several_sizes_the_nearest_that_is_not_smaller_counts() -> None:
    steps = [step(nodes, CheckTime("pairs", {}, seconds)) for nodes, seconds in ((63, 10.0), (256, 90.0), (128, 50.0))]
    assert cost_of(PAIRS, {}, 1.0, known(*steps)).seconds == 60.0


def test_a_shorter_form_costs_what_it_did_or_its_share() -> None:
    full, short = CheckTime("pairs", {}, 100.0), CheckTime("pairs", {"rounds": 4}, 20.0)
    assert cost_of(PAIRS, {"rounds": 4}, 0.25, known(step(64, full))).seconds == 30.0
    assert cost_of(PAIRS, {"rounds": 4}, 0.25, known(step(64, full), step(64, short))).seconds == 24.0
    assert cost_of(PAIRS, {"rounds": 4}, 0.25, known()).seconds == 75.0


def test_a_list_of_a_file_and_a_tuple_are_the_same_parameter() -> None:
    spec = replace(MATMUL, params={"dtypes": ("bf16",)})
    assert cost_of(spec, {}, 1.0, known(step(64, CheckTime("matmul", {"dtypes": ["bf16"]}, 10.0)))).seconds == 12.0


def test_what_only_reads_declares_its_time_while_nothing_of_it_is_changed() -> None:
    assert cost_of(CheckSpec("identity"), {}, 1.0, known()).source == "declared by the check"
    longer = CheckSpec("os_noise", {"duration_s": 60.0}, 120.0)
    assert (cost_of(longer, {}, 1.0, known()).seconds) == 120.0


def test_ranks_that_outnumber_the_cores_take_turns() -> None:
    four = the_plan(nodes=4, gpus_per_node=0, ranks_per_node=1)
    alone, turns = (known_for(four, (), virtual=True, cores=cores) for cores in (4, 2))
    assert cost_of(MATMUL, {}, 1.0, turns).seconds == 4 * cost_of(MATMUL, {}, 1.0, alone).seconds
    assert cost_of(PAIRS, {}, 1.0, turns).seconds == cost_of(PAIRS, {}, 1.0, alone).seconds


def test_what_the_latest_run_could_not_measure_is_known() -> None:
    missing = step(64, CheckTime("matmul", {}, 0.1, "torch cannot be imported"))
    there = step(64, CheckTime("matmul", {}, 40.0))
    assert why_not_measured(MATMUL, known(there, missing)) == "torch cannot be imported"
    assert why_not_measured(MATMUL, known(missing, there)) == ""
    assert cost_of(MATMUL, {}, 1.0, known(missing)).source == "its time limit"


def test_the_start_is_that_of_earlier_jobs_else_a_minute_or_the_start_timeout_of_an_image() -> None:
    mine = the_plan()
    learned = overhead_of(mine, known(step(64, start_s=40.0), step(64, start_s=10.0, first=False)), 20.0)
    assert (learned.start.seconds, learned.again.seconds) == (48.0, 12.0)
    assert overhead_of(mine, known(step(64, start_s=40.0)), 20.0).again.seconds == 48.0
    unknown = overhead_of(mine, known(), 20.0)
    assert (unknown.start.seconds, unknown.again.seconds) == (60.0, 60.0)
    inside = replace(mine, image=Image("pyxis", "a.sqsh"))
    assert overhead_of(inside, known(the_plan_=inside), 20.0).start.seconds == inside.start_deadline_s
