"""Finds whose fault it is: outcomes of group tests in, a posterior and the next round out. Pure, numpy only.

    belief = believe(nodes, settings, topology)
    while not isinstance(planned := next_round(belief, budget, rng), Stop):
        belief = update(belief, [run(test) for test in planned])
    answer = conclude(belief)

The model is described on docs/explanation/isolation.md.
"""

from __future__ import annotations

from hpcaccept.judge.isolation.belief import Belief
from hpcaccept.judge.isolation.conclude import conclude
from hpcaccept.judge.isolation.learn import believe, update
from hpcaccept.judge.isolation.next_round import next_round

__all__ = ["Belief", "believe", "conclude", "next_round", "update"]
