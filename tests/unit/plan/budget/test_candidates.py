"""What may be bought of the suites that there are, and what remains of a suite that was bought in part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.builders import plan

from hpcaccept.config.suites import SuiteText, built_in, read_suite
from hpcaccept.plan.budget.candidates import FIRST, candidates_of, within
from hpcaccept.plan.budget.choose import Candidate, Cost, Overhead, choose
from hpcaccept.plan.budget.costs import known_for
from hpcaccept.plan.resolve import resolve_suite

if TYPE_CHECKING:
    from hpcaccept.model.plan import Plan

JOB = Overhead(Cost(60.0, "known"), Cost(60.0, "known"), 20.0)


def the_plan(name: str, nodes: int = 64, gpus: int = 8, *more: SuiteText) -> Plan:
    the_suite = resolve_suite(read_suite(name), more)
    return plan(the_suite, nodes=nodes, gpus_per_node=gpus, ranks_per_node=max(1, gpus))


def candidates(the_plan_: Plan) -> dict[str, Candidate]:
    known = known_for(the_plan_, (), virtual=False, cores=8)
    return {one.check: one for one in candidates_of(the_plan_, known)}


@pytest.mark.parametrize("name", built_in())
def test_every_suite_can_be_bought_whole_and_is_then_itself(name: str) -> None:
    mine = the_plan(name)
    found = candidates(mine)
    choice = choose(tuple(found.values()), JOB, mine.suite.peers.retests, 1e9)
    assert within(mine.suite, choice) == mine.suite


def test_identity_health_and_the_kernels_log_come_first() -> None:
    assert {name for name, one in candidates(the_plan("standard")).items() if one.first} == set(FIRST)


def test_what_is_bought_in_part_keeps_the_order_the_limits_and_says_whose_the_changes_are() -> None:
    limits = SuiteText(
        Path("site.toml"),
        {
            "limits": {
                "matmul.rate_flops": {"lower": 1e12, "unit": "FLOP/s"},
                "burn.kept_share_gpu": {"lower": 0.5, "unit": "share"},
            }
        },
    )
    mine = the_plan("standard", 64, 8, limits)
    choice = choose(tuple(candidates(mine).values()), JOB, mine.suite.peers.retests, 1800.0)
    small = within(mine.suite, choice)
    names = [spec.name for spec in small.checks]
    assert names == [spec.name for spec in mine.suite.checks if spec.name in names]
    assert 3 < len(names) < len(mine.suite.checks)
    assert {key.partition(".")[0] for key in small.limits} <= set(names)
    assert small.peers.retests == choice.confirmations == 1
    assert small.peer_origins == {"retests": "budget"}
    changed = next(one for one in choice.bought if one.shortened)
    spec = next(spec for spec in small.checks if spec.name == changed.candidate.check)
    assert spec.params.items() >= changed.form.params.items()
    assert dict.fromkeys(changed.form.params, "budget").items() <= spec.origins.items()


def test_a_shorter_form_asks_for_fewer_variants() -> None:
    mine = the_plan("standard")
    matmul = candidates(mine)["matmul"]
    choice = choose((replace(matmul, forms=matmul.forms[:1]),), JOB, 0, 1e9)
    assert within(mine.suite, choice).checks[0].variants == ("bf16", "fp32")


def test_what_somebody_has_set_is_never_changed() -> None:
    mine = the_plan(
        "standard", 64, 8, SuiteText(Path("x.toml"), {"checks": {"burn": {"duration_s": 300, "deadline_s": 900}}})
    )
    assert len(candidates(the_plan("standard"))["burn"].forms) == 2
    assert len(candidates(mine)["burn"].forms) == 1


def test_a_shorter_burn_is_none_without_gpus() -> None:
    assert len(candidates(the_plan("cpu", gpus=0))["burn"].forms) == 1


def test_of_two_like_units_nobody_can_say_who_is_slow() -> None:
    assert candidates(the_plan("standard", 2))["dgemm"].sights == ()
    assert candidates(the_plan("standard", 2))["matmul"].sights, "sixteen GPUs are like units"
    assert candidates(the_plan("standard", 3))["dgemm"].sights


def test_units_that_are_known_to_differ_more_show_only_larger_slowdowns() -> None:
    mine = the_plan("standard")
    known = known_for(mine, (), virtual=False, cores=8)
    wide = {one.check: one for one in candidates_of(mine, known, {"matmul.rate_flops": (0.005, 0.02)})}
    (usual,), (shown,) = candidates(mine)["matmul"].sights, wide["matmul"].sights
    assert shown.metrics == 2
    assert shown.half[0] < usual.half[0] < shown.half[1]
    assert wide["burn"].sights == candidates(mine)["burn"].sights


def test_a_check_of_gpus_only_costs_nothing_without_them() -> None:
    assert candidates(the_plan("full", gpus=0))["dcgm_diag"].forms[-1].cost.seconds == 0.0
