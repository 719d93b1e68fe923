"""Which of the checks fit a budget.

What is bought first follows from the candidates alone, and the budget only says where to stop: so that more budget never sees less.
The checks that every verdict rests on come first. Then, again and again, the check that adds most per second: a field that nothing
has looked at yet counts whole, one that something looks at already a quarter. Then longer forms of what there is, the cheapest step
first; at last another confirmation of suspects.

Where peers are compared, time is kept back for it: whoever is slow is launched again before anybody is blamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hpcaccept.errors import HpcacceptError
from hpcaccept.judge.statistics.sensitivity import Sight

if TYPE_CHECKING:
    from collections.abc import Sequence


#: What a further look at a field adds, held against the first one.
_AGAIN = 0.25
#: What a check adds that the suite can do without, held against one that it requires.
_OPTIONAL = 0.5
#: No check is free: what lasts no time is bought for a hundredth of a second.
_LEAST_S = 0.01


@dataclass(frozen=True)
class Cost:
    """What something takes.

    Attributes:
        seconds: that are planned for it.
        source: where they come from, in words.
    """

    seconds: float
    source: str


@dataclass(frozen=True)
class Form:
    """One way to run a check.

    Attributes:
        params: that it changes; empty: the suite's own.
        cost: of one launch.
        unseen: what this form does not see and the suite's own would; empty: nothing.
    """

    params: Mapping[str, Any]
    cost: Cost
    unseen: str = ""


@dataclass(frozen=True)
class Candidate:
    """A check of the suite that may be bought.

    Attributes:
        check: its name, with a label where it has one.
        forms: the cheapest first, the suite's own last.
        first: True for a check that every verdict rests on.
        fields: what it looks at; who looks at the same adds less.
        timed: True where its suspects are launched again before anybody is blamed.
        apart: True where it has a step of its own.
        required: False where the suite can do without.
        sights: losses that it would find, for each kind of metric; empty: it compares nobody.
        together: True where it has rates of all ranks together, which have no peers.
        verified: True where it has limits of its own: what is wrong is found whatever its size.
        about: what it is, a sentence.
    """

    check: str
    forms: tuple[Form, ...]
    first: bool = False
    fields: tuple[str, ...] = ()
    timed: bool = False
    apart: bool = False
    required: bool = True
    sights: tuple[Sight, ...] = ()
    together: bool = False
    verified: bool = False
    about: str = ""


@dataclass(frozen=True)
class Overhead:
    """What a job takes beside its checks.

    Attributes:
        start: from the job's start to its first check.
        again: the same for each further step.
        end_s: seconds before the limit of the job at which it is ended.
    """

    start: Cost
    again: Cost
    end_s: float


@dataclass(frozen=True)
class Rung:
    """One purchase.

    Attributes:
        total_s: the whole job with it and with all before it.
        check: that is bought, or bought in a longer form; empty: one more confirmation.
        form: number of its form.
        confirmations: launches that suspects may get after the first.
    """

    total_s: float
    check: str
    form: int
    confirmations: int


@dataclass(frozen=True)
class Bought:
    """A check in the form that the budget pays for."""

    candidate: Candidate
    form: Form

    @property
    def shortened(self) -> bool:
        """True where the suite's own form is longer."""
        return self.form is not self.candidate.forms[-1]


@dataclass(frozen=True)
class Choice:
    """What a budget buys.

    Attributes:
        budget_s: that was given.
        total_s: that is planned, with all confirmations.
        overhead: of the job.
        confirmations: launches that suspects may get after the first.
        wanted: as many as the suite asks for.
        bought: in the order of the suite.
        dropped: likewise.
        rungs: all purchases, in their order; those with a ``total_s`` within the budget are made.
    """

    budget_s: float
    total_s: float
    overhead: Overhead
    confirmations: int
    wanted: int
    bought: tuple[Bought, ...]
    dropped: tuple[Candidate, ...]
    rungs: tuple[Rung, ...]

    @property
    def confirming_s(self) -> float:
        """Seconds that are kept back for launching suspects again."""
        return _confirming_s([(one.candidate, one.form) for one in self.bought], self.overhead, self.confirmations)

    @property
    def measuring_s(self) -> float:
        """Seconds of the checks themselves."""
        return sum(one.form.cost.seconds for one in self.bought)

    @property
    def next(self) -> tuple[Rung, ...]:
        """What more budget would buy, in order."""
        return tuple(rung for rung in self.rungs if rung.total_s > self.budget_s)


class BudgetTooSmall(HpcacceptError):
    """Not even the checks that every verdict rests on fit.

    Attributes:
        needed_s: what they take.
    """

    def __init__(self, needed_s: float) -> None:
        super().__init__(f"the checks that every verdict rests on need {needed_s:.0f} s")
        self.needed_s = needed_s


def choose(candidates: Sequence[Candidate], overhead: Overhead, confirmations: int, budget_s: float) -> Choice:
    """What a budget buys; never more than it pays for.

    Args:
        candidates: in the order of the suite.
        overhead: of the job.
        confirmations: as many as the suite asks for.
        budget_s: seconds from the start of the job to its end.

    Raises:
        BudgetTooSmall: it does not pay for what comes first.
    """
    rungs = ladder(candidates, overhead, confirmations)
    musts = sum(_must(candidate) for candidate in candidates)
    needed_s = rungs[max(musts, 1) - 1].total_s if rungs else total_s({}, {}, overhead, 0)
    if needed_s > budget_s:
        raise BudgetTooSmall(needed_s)
    made = [rung for rung in rungs if rung.total_s <= budget_s]
    # Totals grow from rung to rung, so that those within the budget are the first ones.
    forms = {rung.check: rung.form for rung in made if rung.check}
    return Choice(
        budget_s=budget_s,
        total_s=made[-1].total_s if made else needed_s,
        overhead=overhead,
        confirmations=made[-1].confirmations if made else 0,
        wanted=confirmations,
        bought=tuple(Bought(one, one.forms[forms[one.check]]) for one in candidates if one.check in forms),
        dropped=tuple(one for one in candidates if one.check not in forms),
        rungs=rungs,
    )


def ladder(candidates: Sequence[Candidate], overhead: Overhead, confirmations: int) -> tuple[Rung, ...]:
    """All purchases in the order in which they are made, whatever the budget is; totals never fall."""
    by_name = {candidate.check: candidate for candidate in candidates}
    least = min(confirmations, 1)
    forms: dict[str, int] = {}
    rungs: list[Rung] = []

    def buy(check: str, form: int, times: int) -> None:
        if check:
            forms[check] = form
        rungs.append(Rung(total_s(by_name, forms, overhead, times), check, form, times))

    for candidate in candidates:
        if _must(candidate):
            buy(candidate.check, 0, least)
    for candidate in _by_gain([one for one in candidates if not _must(one)], overhead, least, _seen(candidates)):
        buy(candidate.check, 0, least)
    for check, form in _longer(candidates):
        buy(check, form, least)
    for times in range(least + 1, confirmations + 1):
        if any(candidate.timed for candidate in candidates):
            buy("", 0, times)
    return tuple(rungs)


def total_s(
    candidates: Mapping[str, Candidate], forms: Mapping[str, int], overhead: Overhead, confirmations: int
) -> float:
    """Seconds of the whole job: its start, its checks, what is kept back for confirmations, its end.

    Args:
        candidates: name of a check → candidate.
        forms: name of each check that is bought → number of its form.
        overhead: of the job.
        confirmations: launches that suspects may get after the first.
    """
    mine = [(candidates[check], candidates[check].forms[form]) for check, form in forms.items()]
    steps_s = overhead.again.seconds * sum(candidate.apart for candidate, _ in mine)
    measuring_s = sum(form.cost.seconds for _, form in mine)
    confirming_s = _confirming_s(mine, overhead, confirmations)
    return overhead.start.seconds + steps_s + measuring_s + confirming_s + overhead.end_s


def _confirming_s(mine: Sequence[tuple[Candidate, Form]], overhead: Overhead, confirmations: int) -> float:
    """Every check that compares may have a suspect."""
    timed = [form.cost.seconds for candidate, form in mine if candidate.timed]
    return confirmations * (overhead.again.seconds + sum(timed)) if timed else 0.0


def _must(candidate: Candidate) -> bool:
    return candidate.first


def _seen(candidates: Sequence[Candidate]) -> set[str]:
    """Fields that what comes first looks at."""
    return {field for candidate in candidates if _must(candidate) for field in candidate.fields}


def _by_gain(left: list[Candidate], overhead: Overhead, confirmations: int, seen: set[str]) -> list[Candidate]:
    """The candidates by what each adds per second to those before it; of equals the first of the suite."""
    order = []
    while left:
        best = max(left, key=lambda one: _gain(one, seen) / _price_s(one, overhead, confirmations))
        left = [one for one in left if one is not best]
        seen.update(best.fields)
        order.append(best)
    return order


def _gain(candidate: Candidate, seen: set[str]) -> float:
    new = len(set(candidate.fields) - seen)
    gain = new + _AGAIN * (len(candidate.fields) - new)
    return gain if candidate.required else _OPTIONAL * gain


def _price_s(candidate: Candidate, overhead: Overhead, confirmations: int) -> float:
    """Seconds of its cheapest form, in each launch that it may get."""
    launches = 1 + (confirmations if candidate.timed else 0)
    own_step_s = overhead.again.seconds if candidate.apart else 0.0
    return max(_LEAST_S, candidate.forms[0].cost.seconds * launches + own_step_s)


def _longer(candidates: Sequence[Candidate]) -> list[tuple[str, int]]:
    """Every longer form, the cheapest step first; the forms of one check in their order."""
    steps = []
    for candidate in candidates:
        costs = [form.cost.seconds for form in candidate.forms]
        dearest = 0.0
        for number in range(1, len(costs)):
            # A step is never taken before the one on which it stands.
            dearest = max(dearest, costs[number] - costs[number - 1])
            steps.append((dearest, candidate.check, number))
    return [(check, number) for _, check, number in sorted(steps, key=lambda step: step[0])]


def with_forms_in_order(candidate: Candidate) -> Candidate:
    """The candidate without forms that save nothing: each costs more than the one before it."""
    kept: list[Form] = []
    for form in reversed(candidate.forms):
        if not kept or form.cost.seconds < kept[0].cost.seconds:
            kept.insert(0, form)
    return replace(candidate, forms=tuple(kept))
