"""Limits that need no comparison: built in, of the request, of the suite."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import CATALOGUE, every, evidence, judged, nodes, of, plan, record, suite, where

from hpcaccept.judge.questions.limits import request_limits
from hpcaccept.model.metric import Limit, at_least, at_most, describe
from hpcaccept.model.plan import Request
from hpcaccept.model.suite import CheckSpec
from hpcaccept.model.verdict import Outcome

EIGHT = plan(suite("identity"), gpus_per_node=8, ranks_per_node=1)


def counted(gpus: list[int | None]) -> list:  # type: ignore[type-arg]
    """An identity record per node; None: the node did not count."""
    return [
        record("identity", f"node{number}", {"cores": 64, **({} if count is None else {"gpu_count": count})})
        for number, count in enumerate(gpus)
    ]


# --- the request ------------------------------------------------------------------------------------------------------


def test_a_request_for_no_gpus_demands_none() -> None:
    assert request_limits(Request(nodes=4)) == {}


def test_seven_of_eight_gpus_is_a_fail_that_names_the_node() -> None:
    found = judged(evidence(counted([8, 8, 7, 8]), EIGHT))
    assert where(found.verdicts, Outcome.FAIL) == {"node2"}
    (fail,) = of(found.verdicts, Outcome.FAIL)
    assert "7 GPUs" in fail.reason
    assert "exactly 8 GPUs" in fail.reason
    assert "hpcaccept submit --nodelist node2" in fail.remedy, "what to type, not what the metric is"
    assert found.exit_code == 1


@pytest.mark.parametrize("count", [0, 1, 9, 16])
def test_any_other_number_of_gpus_is_a_fail(count: int) -> None:
    assert where(judged(evidence(counted([8, 8, 8, count]), EIGHT)).verdicts, Outcome.FAIL) == {"node3"}


def test_when_nobody_counted_the_gpus_that_were_asked_for_it_is_an_error() -> None:
    found = judged(evidence(counted([None] * 4), EIGHT))
    assert any("demands exactly 8 GPUs" in v.reason for v in of(found.verdicts, Outcome.ERROR))
    assert found.exit_code == 3


def test_a_single_node_that_did_not_count_its_gpus_is_an_error_that_names_it() -> None:
    found = judged(evidence(counted([8, None, 8, 8]), EIGHT))
    assert "node1" in where(found.verdicts, Outcome.ERROR)
    assert found.exit_code == 3


def test_a_label_does_not_free_from_what_the_request_demands() -> None:
    catalogue = {**CATALOGUE, "identity:again": CATALOGUE["identity"]}
    the_plan = plan(suite("identity:again"), gpus_per_node=8, ranks_per_node=1)
    records = [record("identity:again", node, {"cores": 64, "gpu_count": 7}) for node in nodes(4)]
    from hpcaccept.judge import judge

    found = judge(evidence(records, the_plan, catalogue=catalogue), catalogue, {}, frozenset())
    assert where(found.verdicts, Outcome.FAIL) == set(nodes(4))


# --- built-in limits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wrong", "outcome"), [(0, Outcome.PASS), (1, Outcome.FAIL), (1e9, Outcome.FAIL)])
def test_one_wrong_element_is_a_fail(wrong: float, outcome: Outcome) -> None:
    found = judged(
        evidence([record("speed", "node0", {"rate_flops": 1.0, "wrong_elements[fp32]": wrong})], plan(nodes=1))
    )
    (verdict,) = [v for v in every(found) if v.metric == "wrong_elements"]
    assert verdict.outcome is outcome
    assert (verdict.variant, verdict.value, verdict.unit) == ("fp32", wrong, "elements")
    assert verdict.limit is not None
    assert verdict.limit.origin == "built-in"


def test_a_fault_in_any_launch_or_repeat_is_a_fault() -> None:
    records = [
        record("speed", "node0", {"rate_flops": 1.0, "wrong_elements": [0, 2, 0]}),
        record("speed", "node0", {"rate_flops": 1.0, "wrong_elements": 0}, step="01"),
    ]
    assert where(judged(evidence(records, plan(nodes=1))).verdicts, Outcome.FAIL) == {"node0"}


def test_a_fail_in_a_check_that_is_not_required_is_still_a_fail() -> None:
    the_plan = plan(suite(CheckSpec("speed", required=False)), nodes=1)
    found = judged(evidence([record("speed", "node0", {"rate_flops": 1.0, "wrong_elements": 1})], the_plan))
    assert found.exit_code == 1


# --- limits of the suite ----------------------------------------------------------------------------------------------


def verdicts_of(rate: float, limits: dict[str, Limit], **numbers: float) -> list:  # type: ignore[type-arg]
    the_plan = plan(suite("speed", limits=limits), nodes=1)
    values = {"rate_flops[fp32]": rate, "wrong_elements": 0.0, **numbers}
    found = judged(evidence([record("speed", "node0", values)], the_plan))
    return [v for v in every(found) if v.limit and v.limit.origin == "suite"]


@pytest.mark.parametrize(("rate", "outcome"), [(99.9, Outcome.FAIL), (100.0, Outcome.PASS), (1e9, Outcome.PASS)])
def test_a_limit_of_the_suite_is_met_or_missed(rate: float, outcome: Outcome) -> None:
    limit = Limit(100.0, None, "FLOP/s", "suite", "contract")
    (verdict,) = verdicts_of(rate, {"speed.rate_flops[fp32]": limit})
    assert verdict.outcome is outcome
    assert verdict.limit == limit


def test_a_limit_without_a_variant_speaks_for_all_variants() -> None:
    limit = Limit(100.0, None, "FLOP/s", "suite")
    found = verdicts_of(50.0, {"speed.rate_flops": limit}, **{"rate_flops[fp64]": 200.0})
    assert {v.variant: v.outcome for v in found} == {"fp32": Outcome.FAIL, "fp64": Outcome.PASS}


def test_a_limit_with_the_variant_comes_before_the_one_without() -> None:
    limits = {
        "speed.rate_flops": Limit(100.0, None, "FLOP/s", "suite"),
        "speed.rate_flops[fp32]": Limit(10.0, None, "FLOP/s", "suite"),
    }
    found = verdicts_of(50.0, limits, **{"rate_flops[fp64]": 200.0})
    assert {v.variant: v.outcome for v in found} == {"fp32": Outcome.PASS, "fp64": Outcome.PASS}


def test_a_limit_of_the_suite_replaces_the_built_in_one() -> None:
    the_plan = plan(suite("speed", limits={"speed.wrong_elements": Limit(None, 5.0, "elements", "suite")}), nodes=1)
    found = judged(evidence([record("speed", "node0", {"rate_flops": 1.0, "wrong_elements": 3})], the_plan))
    (verdict,) = [v for v in every(found) if v.metric == "wrong_elements"]
    assert verdict.outcome is Outcome.PASS
    assert verdict.limit is not None
    assert verdict.limit.origin == "suite"


def test_a_limit_of_the_suite_does_not_replace_what_the_request_demands() -> None:
    limits = {"identity.gpu_count": Limit(1.0, None, "GPUs", "suite")}
    the_plan = plan(suite("identity", limits=limits), gpus_per_node=8, ranks_per_node=1, nodes=1)
    assert judged(evidence(counted([7]), the_plan)).exit_code == 1


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("spede.rate_flops", "the limit spede.rate_flops of test.toml matches nothing that was measured"),
        ("speed.rate_flops[fp8]", "the limit speed.rate_flops[fp8] of test.toml matches nothing that was measured"),
    ],
)
def test_a_limit_that_matches_nothing_is_an_error_and_no_acceptance(key: str, reason: str) -> None:
    the_plan = plan(suite("speed", limits={key: Limit(1.0, None, "FLOP/s", "suite")}))
    records = [record("speed", n, {"rate_flops": 100.0, "wrong_elements": 0}) for n in nodes(4)]
    found = judged(evidence(records, the_plan))
    (error,) = of(found.verdicts, Outcome.ERROR)
    assert (error.reason, error.required) == (reason, True)
    assert found.exit_code == 3


def test_a_limit_of_a_check_that_nobody_measured_is_no_second_error() -> None:
    the_plan = plan(suite("speed", "identity", limits={"speed.rate_flops": Limit(1.0, None, "FLOP/s", "suite")}))
    records = [record("identity", n, {"cores": 8, "gpu_count": 1}) for n in nodes(4)]
    records += [record("speed", n, None, cause="no torch") for n in nodes(4)]
    found = judged(evidence(records, the_plan))
    assert {v.reason for v in of(found.verdicts, Outcome.ERROR)} == {"no torch"}


def test_a_failure_quotes_its_own_device_and_a_node_quotes_all_of_its_devices() -> None:
    ranks = [
        record(
            "speed", "node0", {"rate_flops": 1.0, "wrong_elements[ecc]": float(gpu == 0)}, device=f"cuda:{gpu}", rank=gpu,
            facts={"found[ecc]": f"XID 4{gpu}", "wrong_elements": f"block {gpu}", "empty[ecc]": ""},
        )
        for gpu in range(2)
    ]  # fmt: skip
    (fail,) = of(judged(evidence(ranks, plan(nodes=1, ranks_per_node=2))).verdicts, Outcome.FAIL)
    assert "XID 40; block 0" in fail.reason
    assert "XID 41" not in fail.reason
    counted_here = [
        record(
            "identity", "node0", {"cores": 8, "gpu_count": 7}, device=f"cuda:{gpu}", rank=gpu, facts={"gpu_count": text}
        )
        for gpu, text in enumerate(["0-6", "0-6", "1-7"])
    ]
    the_plan = plan(suite("identity"), nodes=1, gpus_per_node=8, ranks_per_node=3)
    (fail,) = of(judged(evidence(counted_here, the_plan)).verdicts, Outcome.FAIL)
    assert "0-6; 1-7" in fail.reason


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (at_most(0, "elements", ""), "at most 0 elements"),
        (at_least(1e12, "FLOP/s", ""), "at least 1 TFLOP/s"),
        (Limit(8, 8, "GPUs", "request"), "exactly 8 GPUs"),
        (Limit(0.0, 0.05, "share", "suite"), "between 0 % and 5 %"),
        (Limit(None, -1.0, "s", "suite"), "at most -1 s"),
    ],
)
def test_a_limit_is_described_in_words(limit: Limit, text: str) -> None:
    assert describe(limit) == text


@given(st.floats(-1e30, 1e30), st.floats(-1e30, 1e30))
def test_any_limit_can_be_described(one: float, other: float) -> None:
    assert describe(Limit(min(one, other), max(one, other), "B/s", "suite"))


def test_a_failure_quotes_what_the_check_found_beside_the_number() -> None:
    facts = {"found[fp32]": "XID 48 on GPU-3", "found[fp16]": "something else", "kernel": "6.1"}
    wrong = record("speed", "node0", {"wrong_elements[fp32]": 3.0}, facts=facts)
    (fail,) = of(judged(evidence([wrong])).verdicts, Outcome.FAIL)
    assert fail.reason.endswith("; XID 48 on GPU-3")
    assert "something else" not in fail.reason


def test_a_failure_of_all_nodes_together_quotes_their_first_rank_alone() -> None:
    limits = {"fabric.busbw_bytes": Limit(2.0, None, "B/s", "suite")}
    records = [
        record("fabric", "node0", {"busbw_bytes[world]": 1.0}, facts={"busbw_bytes": "the smallest slow group is node[2-3]"}),
        record("fabric", "node1", {"wrong_elements": 0.0}, rank=1, facts={"busbw_bytes": "nobody asked this rank"}),
    ]  # fmt: skip
    the_plan = plan(suite("fabric", limits=limits), nodes=2, gpus_per_node=0, ranks_per_node=1)
    (fail,) = of(judged(evidence(records, the_plan)).verdicts, Outcome.FAIL)
    assert (fail.subject.node, fail.reason.endswith("; the smallest slow group is node[2-3]")) == ("", True), (
        fail.reason
    )
