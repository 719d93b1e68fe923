"""A budget is never exceeded, more of it never sees less, and what every verdict rests on comes first."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcaccept.plan.budget.choose import (
    BudgetTooSmall,
    Candidate,
    Choice,
    Cost,
    Form,
    Overhead,
    choose,
    ladder,
    with_forms_in_order,
)

FIELDS = ("products", "memory", "links", "links of all together", "storage")
JOB = Overhead(Cost(60.0, "known"), Cost(30.0, "known"), 20.0)


def candidate(check: str, *seconds: float, **more: object) -> Candidate:
    """A check whose forms cost so much."""
    forms = tuple(Form({"part": number}, Cost(s, "known"), "the rest") for number, s in enumerate(seconds[:-1]))
    return Candidate(check, (*forms, Form({}, Cost(seconds[-1], "known"))), **more)  # type: ignore[arg-type]


@st.composite
def suites(draw: st.DrawFn) -> tuple[Candidate, ...]:
    """The candidates of some suite; the first one is what every verdict rests on."""
    many = draw(st.integers(1, 8))
    found = []
    for number in range(many):
        costs = draw(st.lists(st.floats(0.0, 900.0), min_size=1, max_size=3))
        fields = tuple(draw(st.lists(st.sampled_from(FIELDS), unique=True, max_size=3)))
        flags = [draw(st.booleans()) for _ in range(3)]
        one = candidate(
            f"check{number}",
            *costs,
            first=number == 0,
            fields=fields,
            timed=flags[0],
            apart=flags[1],
            required=flags[2],
        )
        found.append(with_forms_in_order(one))
    return tuple(found)


def bought(candidates: tuple[Candidate, ...], confirmations: int, budget_s: float) -> Choice | None:
    try:
        return choose(candidates, JOB, confirmations, budget_s)
    except BudgetTooSmall:
        return None


def paid(choice: Choice) -> float:
    """What the choice costs, added up by hand."""
    total = JOB.start.seconds + JOB.end_s
    timed = [one.form.cost.seconds for one in choice.bought if one.candidate.timed]
    for one in choice.bought:
        total += one.form.cost.seconds + (JOB.again.seconds if one.candidate.apart else 0.0)
    return total + (choice.confirmations * (JOB.again.seconds + sum(timed)) if timed else 0.0)


@given(suites(), st.integers(0, 2), st.floats(60.0, 20_000.0))
def test_a_budget_is_never_exceeded(candidates: tuple[Candidate, ...], confirmations: int, budget_s: float) -> None:
    choice = bought(candidates, confirmations, budget_s)
    if choice is not None:
        assert paid(choice) == pytest.approx(choice.total_s)
        assert choice.total_s <= budget_s
        assert candidates[0].check in {one.candidate.check for one in choice.bought}
        assert {one.candidate.check for one in choice.bought} | {one.check for one in choice.dropped} == {
            one.check for one in candidates
        }


@given(suites(), st.integers(0, 2), st.floats(60.0, 10_000.0), st.floats(0.0, 10_000.0))
def test_more_budget_never_sees_less(
    candidates: tuple[Candidate, ...], confirmations: int, budget_s: float, more_s: float
) -> None:
    small, large = (bought(candidates, confirmations, b) for b in (budget_s, budget_s + more_s))
    if small is None:
        return
    assert large is not None
    mine = {one.candidate.check: one for one in large.bought}
    for one in small.bought:
        assert one.candidate.check in mine, "more budget has dropped a check"
        assert mine[one.candidate.check].form.cost.seconds >= one.form.cost.seconds, "more budget has shortened a check"
    assert large.confirmations >= small.confirmations
    assert large.total_s >= small.total_s


@given(suites(), st.integers(0, 2))
def test_what_is_refused_says_what_fits(candidates: tuple[Candidate, ...], confirmations: int) -> None:
    with pytest.raises(BudgetTooSmall) as refused:
        choose(candidates, JOB, confirmations, 1.0)
    needed_s = refused.value.needed_s
    assert choose(candidates, JOB, confirmations, needed_s).bought
    assert bought(candidates, confirmations, needed_s - 1e-6) is None


@given(suites(), st.integers(0, 2))
def test_enough_buys_everything_in_its_own_form(candidates: tuple[Candidate, ...], confirmations: int) -> None:
    choice = choose(candidates, JOB, confirmations, 1e9)
    assert not choice.dropped
    assert not any(one.shortened for one in choice.bought)
    if any(one.timed for one in candidates):
        assert choice.confirmations == confirmations
    assert not choice.next


def test_what_looks_at_something_new_is_bought_before_what_looks_again() -> None:
    again = candidate("again", 10.0, fields=("memory",))
    new = candidate("new", 30.0, fields=("links",))
    first = candidate("first", 1.0, first=True, fields=("memory",))
    assert [rung.check for rung in ladder((first, again, new), JOB, 0)] == ["first", "new", "again"]


def test_what_is_required_is_bought_before_what_is_not() -> None:
    optional = candidate("optional", 10.0, fields=("memory",), required=False)
    needed = candidate("needed", 15.0, fields=("links",))
    assert [rung.check for rung in ladder((optional, needed), JOB, 0)] == ["needed", "optional"]


def test_a_check_is_bought_in_its_shortest_form_before_any_is_bought_longer() -> None:
    burn = candidate("burn", 60.0, 180.0, fields=("products",))
    links = candidate("links", 100.0, fields=("links",))
    assert [(rung.check, rung.form) for rung in ladder((burn, links), JOB, 0)] == [
        ("burn", 0),
        ("links", 0),
        ("burn", 1),
    ]


def test_time_to_launch_suspects_again_is_kept_back() -> None:
    slow = candidate("speed", 100.0, timed=True, fields=("products",))
    choice = choose((slow,), JOB, 2, 310.0)
    # start 60, check 100, once again 30 + 100, end 20: a second time would be 130 more.
    assert (choice.total_s, choice.confirmations, choice.confirming_s) == (310.0, 1, 130.0)
    assert choose((slow,), JOB, 2, 440.0).confirmations == 2
    with pytest.raises(BudgetTooSmall):
        choose((slow,), JOB, 2, 309.0)


def test_nothing_is_kept_back_where_nobody_is_compared() -> None:
    choice = choose((candidate("identity", 5.0, first=True),), JOB, 2, 100.0)
    assert (choice.total_s, choice.confirming_s) == (85.0, 0.0)


def test_a_form_that_saves_nothing_is_none() -> None:
    one = candidate("burn", 200.0, 60.0, 180.0)
    assert [form.cost.seconds for form in with_forms_in_order(one).forms] == [60.0, 180.0]
    same = replace(one, forms=(Form({"a": 1}, Cost(5.0, "known")), Form({}, Cost(5.0, "known"))))
    assert with_forms_in_order(same).forms == (Form({}, Cost(5.0, "known")),)
