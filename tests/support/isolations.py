"""Answers of isolations for tests of their reports: what was tested and concluded, in one line each."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hpcaccept.model.isolation import Conclusion, Fault, GroupTest, Missable, OutcomeKind, Suspicion
from hpcaccept.model.isolation_order import EndedIsolation, EndedRound, EndedTest, IsolationOrder
from hpcaccept.report.isolation.answer import IsolationAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MISSABLE = Missable((), 0.01, 0.02, 0.75, math.nan, 4, 0.5)


def ended(ident: str, nodes: str, kind: OutcomeKind = "passed", **more: Any) -> EndedTest:
    """``ended("r1g2", "node1 node2", "failed")``."""
    number = int(ident[1:].partition("g")[0]) if ident.startswith("r") else 0
    return EndedTest(GroupTest(ident, number, tuple(nodes.split())), kind, wall_s=2.0, **more)


def suspicion(fault: Fault, posterior: float = 0.99, *, blamed: bool = True, **more: Any) -> Suspicion:
    return replace(Suspicion(fault, posterior, blamed, blamed), **more)


def concluded(
    *suspicions: Suspicion, nothing_wrong: float = 0.0, posterior: Mapping[str, float] | None = None, **more: Any
) -> Conclusion:
    found = Conclusion(
        nothing_wrong, suspicions, bool(suspicions), (), at_scale=False, missable=MISSABLE, posterior=posterior or {}
    )
    return replace(found, **more)


def answer(conclusion: Conclusion, tests: Sequence[EndedTest] = (), **more: Any) -> IsolationAnswer:
    """Over four nodes, ended because it was decided."""
    tests = tests or (ended("r1g1", "node0 node1"), ended("r1g2", "node2 node3"))
    rounds = tuple(EndedRound(number, 3.0, 0.5) for number in sorted({one.test.round for one in tests} - {0}))
    found = IsolationAnswer(
        run_id="20261130-120000-isolate-4n-abcd",
        order=IsolationOrder(check="allreduce"),
        nodes=("node0", "node1", "node2", "node3"),
        tests=tuple(tests),
        rounds=rounds,
        conclusion=conclusion,
        over_time=tuple(conclusion.posterior for _ in rounds),
        end=EndedIsolation("decided", "every node is decided"),
        where="/runs/it",
    )
    return replace(found, **more)
