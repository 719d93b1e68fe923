"""The posterior against a sum over all sets of bad nodes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from hpcaccept.judge.isolation import Belief, believe, update
from hpcaccept.judge.isolation.levels import levels_of, log_likelihoods
from hpcaccept.model.isolation import GroupTest, IsolationSettings, Outcome

NAMES = tuple("abcdef")
#: (round, nodes, how it ended, silent nodes, value).
Told = tuple[int, str, str, str, float]

PASS_FAIL: list[list[Told]] = [
    [(1, "abcdef", "failed", "", math.nan)],
    [(1, "abc", "failed", "", math.nan), (1, "def", "failed", "", math.nan), (2, "ad", "failed", "", math.nan), (2, "be", "passed", "", math.nan)],
    [(1, "abc", "passed", "", math.nan), (1, "def", "failed", "", math.nan), (2, "da", "passed", "", math.nan), (3, "dfb", "failed", "", math.nan)],
    [(1, "abcd", "hung", "b", math.nan), (1, "ef", "crashed", "ef", math.nan), (2, "bf", "failed", "", math.nan)],
]  # fmt: skip
VALUES: list[list[Told]] = [
    [(1, "abc", "passed", "", 99.9), (1, "def", "passed", "", 80.2), (2, "ad", "passed", "", 79.8), (2, "be", "passed", "", 100.3)],
    [(1, "ab", "passed", "", 80.5), (1, "cd", "passed", "", 68.0), (1, "ef", "failed", "", math.nan), (2, "ac", "passed", "", 79.5)],
]  # fmt: skip


def outcomes(told: list[Told]) -> list[Outcome]:
    return [
        Outcome(GroupTest(f"r{number}{nodes}", number, tuple(nodes)), kind, tuple(silent), value)  # type: ignore[arg-type]
        for number, nodes, kind, silent, value in told
    ]


def after(told: list[Told], settings: IsolationSettings, odds: dict[str, float] | None = None) -> Belief:
    belief = believe(NAMES, settings, odds=odds)
    for number in sorted({one[0] for one in told}):
        belief = update(belief, outcomes([one for one in told if one[0] == number]))
    return belief


def summed(told: list[Told], settings: IsolationSettings, odds: dict[str, float]) -> np.ndarray:
    """P(bad) of each node, by every combination of levels, and every share of bad nodes."""
    belief = believe(NAMES, settings, odds=odds)
    levels = levels_of(settings)
    tests = [
        (one, log_likelihoods(one, 1 - one.value / settings.healthy_value, levels, settings)) for one in outcomes(told)
    ]
    bad, total = np.zeros(len(NAMES)), 0.0
    for state in itertools.product(range(levels.count + 1), repeat=len(NAMES)):
        seen = 0.0
        for one, likely in tests:
            codes = [
                level + levels.count * (name in one.silent and level > 0)
                for name, level in zip(NAMES, state, strict=True)
                if name in one.test.nodes
            ]
            seen += likely[max(codes)]
        prior = np.prod(
            [1 - belief.prior[at] if not level else belief.prior[at] / levels.count for at, level in enumerate(state)],
            axis=0,
        )
        weight = math.exp(seen) * float(np.exp(belief.log_share) @ prior)
        bad += weight * (np.array(state) > 0)
        total += weight
    return bad / total


@pytest.mark.parametrize("told", PASS_FAIL)
def test_pass_and_fail_give_the_posterior_of_all_combinations(told: list[Told]) -> None:
    settings = IsolationSettings(bad_share=0.1, fabric_share=1e-9)
    odds = {"c": 3.0, "e": 0.5}
    expected = summed(told, settings, odds)
    assert after(told, settings, odds).bad == pytest.approx(expected, rel=0.12, abs=0.004)


@pytest.mark.parametrize("told", VALUES)
def test_values_give_the_posterior_of_all_combinations(told: list[Told]) -> None:
    settings = IsolationSettings(bad_share=0.1, fabric_share=1e-9, values=True, smallest_loss=0.2, healthy_value=100.0)
    expected = summed(told, settings, {})
    assert after(told, settings).bad == pytest.approx(expected, rel=0.12, abs=0.004)


def test_tests_that_were_not_run_change_nothing() -> None:
    belief = believe(NAMES, IsolationSettings())
    one = Outcome(GroupTest("r1g1", 1, NAMES), "not_run")
    assert update(belief, [one]).bad == pytest.approx(belief.bad)


def test_who_went_silent_is_suspected_first() -> None:
    belief = after([(1, "abcdef", "hung", "d", math.nan)], IsolationSettings())
    assert int(belief.bad.argmax()) == NAMES.index("d")
    assert belief.bad[NAMES.index("d")] > 3 * belief.bad[NAMES.index("a")]


def test_a_repeat_offender_is_suspected_first() -> None:
    belief = after([(1, "abcdef", "failed", "", math.nan)], IsolationSettings(), {"b": 10.0})
    assert int(belief.bad.argmax()) == NAMES.index("b")
