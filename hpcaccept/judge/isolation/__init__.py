"""Whose fault is it? Outcomes of group tests in, a posterior and the next round out: pure, numpy only.

    belief = believe(nodes, settings, topology)
    while not isinstance(planned := next_round(belief, budget, rng), Stop):
        belief = update(belief, [run(test) for test in planned])
    answer = conclude(belief)

The model is described on docs/explanation/isolation.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from hpcaccept.judge.isolation.belief import Belief

if TYPE_CHECKING:
    import numpy as np

    from hpcaccept.model.isolation import (
        Budget,
        Conclusion,
        GroupTest,
        IsolationSettings,
        Outcome,
        Stop,
        Topology,
    )

__all__ = ["Belief", "believe", "conclude", "next_round", "update"]


def believe(
    nodes: Sequence[str], settings: IsolationSettings, topology: Topology | None = None,
    odds: Mapping[str, float] | None = None,
) -> Belief:  # fmt: skip
    """What is believed before any test.

    Args:
        nodes: names, each once.
        settings: of the isolation.
        topology: where it is known: without one no leaf is ever blamed.
        odds: node → how many times as probable as the others it is to be bad (history: repeat offenders, age); 1 where absent.
    """
    raise NotImplementedError


def update(belief: Belief, outcomes: Iterable[Outcome]) -> Belief:
    """What is believed after further tests; those of ``not_run`` change nothing."""
    raise NotImplementedError


def next_round(belief: Belief, budget: Budget, rng: np.random.Generator) -> tuple[GroupTest, ...] | Stop:
    """Disjoint groups to be tested side by side, or why there are none.

    The same belief, budget and state of ``rng`` give the same groups.
    """
    raise NotImplementedError


def conclude(belief: Belief) -> Conclusion:
    """The answer so far."""
    raise NotImplementedError
