"""What the nouns themselves refuse: the silent pass begins where a type allows it."""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import any_code, plan, step, suite

import hpcaccept.model
from hpcaccept.model.job import OVER, JobStatus
from hpcaccept.model.metric import Limit, Metric, at_least, at_most
from hpcaccept.model.suite import CheckSpec
from hpcaccept.model.verdict import Outcome, Subject, Verdict, exit_code, worst

numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)


def verdict(outcome: Outcome, *, required: bool = True) -> Verdict:
    value, limit = (0.0, at_most(0, "elements", "")) if outcome.is_judged else (None, None)
    if outcome is Outcome.FAIL:
        value = 1.0
    code = any_code(outcome)
    return Verdict(Subject("node0"), "speed", outcome, "why", value=value, limit=limit, required=required, code=code)


# --- limits -----------------------------------------------------------------------------------------------------------


def test_a_limit_is_a_closed_interval() -> None:
    limit = Limit(1.0, 2.0, "s", "suite")
    assert [limit.met_by(x) for x in (0.999, 1.0, 1.5, 2.0, 2.001)] == [False, True, True, True, False]


@pytest.mark.parametrize("limit", [at_least(1, "s", ""), at_most(1, "s", ""), Limit(0, 1, "s", "suite")])
def test_no_limit_is_met_by_what_is_no_number(limit: Limit) -> None:
    assert not limit.met_by(math.nan)


def test_a_limit_without_bounds_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="needs a lower or an upper bound"):
        Limit(None, None, "s", "suite")


def test_a_limit_whose_lower_bound_is_above_its_upper_one_cannot_be_built() -> None:
    with pytest.raises(ValueError, match=r"2\.0 is above the upper bound 1\.0"):
        Limit(2.0, 1.0, "s", "suite")


@pytest.mark.parametrize(
    ("lower", "upper"), [(math.nan, None), (None, math.nan), (-math.inf, None), (None, math.inf), (0.0, math.nan)]
)
def test_a_limit_that_is_no_number_or_infinite_cannot_be_built(lower: float | None, upper: float | None) -> None:
    with pytest.raises(ValueError, match="finite"):
        Limit(lower, upper, "s", "suite")


# --- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [Outcome.PASS, Outcome.WARN, Outcome.FAIL])
@pytest.mark.parametrize("missing", ["value", "limit"])
def test_nothing_is_judged_without_a_value_and_a_limit(outcome: Outcome, missing: str) -> None:
    both = {"value": 0.0, "limit": at_most(0, "elements", "")}
    with pytest.raises(ValueError, match="needs a measured value and a limit"):
        Verdict(Subject("node0"), "speed", outcome, "why", **{**both, missing: None}, code=any_code(outcome))  # type: ignore[arg-type]


@given(numbers, numbers, numbers)
def test_a_pass_with_a_value_outside_its_limit_cannot_be_built(value: float, one: float, other: float) -> None:
    limit = Limit(min(one, other), max(one, other), "s", "suite")
    if limit.met_by(value):
        built = Verdict(Subject(), "speed", Outcome.PASS, "", value=value, limit=limit)
        assert limit.lower is not None
        assert limit.upper is not None
        assert limit.lower <= value <= limit.upper
        assert built.outcome is Outcome.PASS
    else:
        with pytest.raises(ValueError, match="outside its limit"):
            Verdict(Subject(), "speed", Outcome.PASS, "", value=value, limit=limit)


def test_a_pass_of_what_is_no_number_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="outside its limit"):
        Verdict(Subject(), "speed", Outcome.PASS, "", value=math.nan, limit=at_least(0, "s", ""))


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.NOT_RUN, Outcome.NO_BASELINE])
def test_what_is_not_judged_needs_no_value(outcome: Outcome) -> None:
    assert Verdict(Subject("node0"), "speed", outcome, "why", code=any_code(outcome)).key == "speed"


@pytest.mark.parametrize(
    ("outcomes", "speaks"),
    [
        ([], Outcome.NOT_RUN),
        ([Outcome.PASS], Outcome.PASS),
        ([Outcome.PASS, Outcome.NO_BASELINE], Outcome.NO_BASELINE),
        ([Outcome.NO_BASELINE, Outcome.NOT_RUN], Outcome.NOT_RUN),
        ([Outcome.NOT_RUN, Outcome.WARN], Outcome.WARN),
        ([Outcome.WARN, Outcome.ERROR], Outcome.ERROR),
        ([Outcome.ERROR, Outcome.FAIL, Outcome.PASS], Outcome.FAIL),
    ],
)
def test_the_worst_verdict_speaks_for_all(outcomes: list[Outcome], speaks: Outcome) -> None:
    assert worst(outcomes) is speaks


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([], 3),
        ([verdict(Outcome.PASS)], 0),
        ([verdict(Outcome.PASS), verdict(Outcome.WARN)], 3),
        ([verdict(Outcome.PASS), verdict(Outcome.FAIL)], 1),
        ([verdict(Outcome.FAIL), verdict(Outcome.ERROR)], 1),
        ([verdict(Outcome.FAIL, required=False), verdict(Outcome.PASS)], 1),
        ([verdict(Outcome.PASS), verdict(Outcome.ERROR)], 3),
        ([verdict(Outcome.PASS), verdict(Outcome.NOT_RUN)], 3),
        ([verdict(Outcome.PASS), verdict(Outcome.NO_BASELINE)], 3),
        ([verdict(Outcome.PASS), verdict(Outcome.ERROR, required=False)], 0),
        ([verdict(Outcome.PASS), verdict(Outcome.NOT_RUN, required=False)], 0),
        ([verdict(Outcome.PASS), verdict(Outcome.NO_BASELINE, required=False)], 0),
        ([verdict(Outcome.WARN), verdict(Outcome.ERROR)], 3),
        # Nothing was judged at all: that is never "all is well".
        ([verdict(Outcome.NO_BASELINE, required=False)], 3),
        ([verdict(Outcome.NOT_RUN, required=False), verdict(Outcome.ERROR, required=False)], 3),
    ],
)
def test_the_exit_code_of_a_run(verdicts: list[Verdict], code: int) -> None:
    assert exit_code((v.outcome, v.required) for v in verdicts) == code


@given(st.lists(st.tuples(st.sampled_from(Outcome), st.booleans())))
def test_exit_0_needs_a_pass_no_fail_no_warning_and_nothing_required_left_open(
    drawn: list[tuple[Outcome, bool]],
) -> None:
    verdicts = [verdict(outcome, required=required) for outcome, required in drawn]
    good = (
        any(v.outcome is Outcome.PASS for v in verdicts)
        and all(v.outcome not in (Outcome.FAIL, Outcome.WARN) for v in verdicts)
        and all(v.outcome.is_judged or not v.required for v in verdicts)
    )
    assert (exit_code((v.outcome, v.required) for v in verdicts) == 0) == good


@pytest.mark.parametrize(
    ("subject", "text"),
    [(Subject(), "all nodes"), (Subject("node1"), "node1"), (Subject("node1", "cuda:3"), "node1 cuda:3")],
)
def test_a_subject_names_itself(subject: Subject, text: str) -> None:
    assert str(subject) == text


# --- metrics ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "is_rate"),
    [
        (Metric("rate", "FLOP/s", "higher", ""), True),
        (Metric("time", "s", "lower", ""), True),
        (Metric("wrong", "elements", "lower", "", limit=at_most(0, "elements", "")), False),
        (Metric("spread", "share", "exact", ""), False),
    ],
)
def test_a_rate_is_what_has_a_better_side_and_no_limit_of_its_own(metric: Metric, is_rate: bool) -> None:
    assert metric.is_rate is is_rate


# --- jobs, plans, steps -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["pending", "running", "stuck"])
def test_a_job_that_may_still_measure_is_not_over(state: str) -> None:
    assert not JobStatus(state).over  # type: ignore[arg-type]


@pytest.mark.parametrize("state", sorted(OVER))
def test_a_job_that_can_bring_nothing_more_is_over(state: str) -> None:
    assert JobStatus(state).over  # type: ignore[arg-type]


def test_the_first_step_holds_every_check_and_every_node() -> None:
    the_plan = plan(suite("identity", CheckSpec("matmul", {"size": 64}, 30.0)), ranks_per_node=8, gpus_per_node=8)
    first = the_plan.first_step(("a", "b"))
    assert first.checks == the_plan.suite.checks
    assert first.nodes == ("a", "b")
    assert first.ranks == 16
    assert (first.id, first.virtual, first.start_deadline_s) == ("00", False, 300.0)


@pytest.mark.parametrize(("gpus", "device"), [(0, "cpu"), (8, "cuda")])
def test_the_device_follows_from_the_request_and_not_from_what_is_visible(gpus: int, device: str) -> None:
    assert plan(gpus_per_node=gpus).request.device == device
    assert step(gpus_per_node=gpus).device == device


@pytest.mark.parametrize("module", [m.name for m in pkgutil.iter_modules(hpcaccept.model.__path__)])
def test_the_nouns_are_frozen(module: str) -> None:
    found = importlib.import_module(f"hpcaccept.model.{module}")
    for thing in vars(found).values():
        if isinstance(thing, type) and dataclasses.is_dataclass(thing) and thing.__module__ == found.__name__:
            assert thing.__dataclass_params__.frozen, thing  # type: ignore[attr-defined]
