"""Round after round until it is decided whose fault it is, or the budget is spent: what the driver of a job does for an isolation.

The groups of a round are disjoint and run side by side. A group that hangs or dies costs that group alone, and tells something. Every test
stands in the journal as soon as it has ended.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hpcaccept import launch
from hpcaccept.bounded import end_of
from hpcaccept.launch.job.isolation.groups import Group, group_of
from hpcaccept.launch.job.isolation.known_so_far import KnownSoFar, by_round
from hpcaccept.launch.job.isolation.outcome_of_output import outcome_of_output
from hpcaccept.launch.job.isolation.patience import Patience
from hpcaccept.launch.job.isolation.read_step import read_step
from hpcaccept.model.isolation import Budget, Stop
from hpcaccept.model.isolation_order import EndedIsolation, EndedRound, EndedTest, IsolationOrder, PlannedRound
from hpcaccept.model.plan import Plan
from hpcaccept.store import isolation_journal
from hpcaccept.store.folder import RunFolder
from hpcaccept.transport.side_by_side import run_side_by_side

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from hpcaccept.model.isolation import GroupTest
    from hpcaccept.model.plan import Step
    from hpcaccept.transport.side_by_side import Ended

#: Bytes of a launcher's output that are looked through.
_MOST_OF_A_LOG = 256 * 1024
#: So many rounds may change nothing of what is believed: a fault that comes and goes needs some repetitions, and nothing needs more.
#: Where a node is found already, fewer.
_UNCHANGED, _UNCHANGED_NAMED = 6, 3
#: Tests that have ended are written down together, at least so often.
_WRITE_S = 0.25
#: Beyond its own deadlines, what a group may take for imports on cold nodes; and for MPI to start where no image has to be pulled.
_MARGIN_S, _START_S = 60.0, 60.0


@dataclass
class _Isolation:
    """What is open while the rounds go on."""

    plan: Plan
    folder: RunFolder
    order: IsolationOrder
    known: KnownSoFar
    place: dict[str, int]
    should_stop: Callable[[], bool]
    patience: Patience
    launched: int = 0
    metric: str = ""
    rounds_s: list[float] = field(default_factory=list)
    pairs: set[frozenset[str]] = field(default_factory=set)


def isolate(
    plan: Plan, folder: RunFolder, order: IsolationOrder, nodes: Sequence[str], *,
    should_stop: Callable[[], bool], time_s: float,
) -> EndedIsolation:  # fmt: skip
    """All rounds. Its last entry is in the journal, and is given back.

    Args:
        plan: of the job.
        folder: of the isolation.
        order: what is to be found out.
        nodes: that can be used, in the order in which the launcher places ranks.
        should_stop: asked now and then; True ends it.
        time_s: seconds that the job lasts still.
    """
    known = KnownSoFar(tuple(nodes), order)
    place = {node: number for number, node in enumerate(nodes)}
    one = _Isolation(
        plan, folder, order, known, place, should_stop, Patience(_longest_s(plan, order)), metric=order.metric
    )
    for _, tests in by_round(order.before):
        known.add(tests)
    until = time.monotonic() + min(order.budget_s, time_s)
    end = _rounds(one, until)
    isolation_journal.append(folder, end)
    return end


def _longest_s(plan: Plan, order: IsolationOrder) -> float:
    """What a group may take while none has passed: a command as its site says, a check with its start, which takes long in an image only."""
    if not order.check:
        return order.deadline_s
    start_s = plan.start_deadline_s if plan.image.reference else min(plan.start_deadline_s, _START_S)
    return start_s + order.deadline_s + _MARGIN_S


def _rounds(one: _Isolation, until: float) -> EndedIsolation:
    import numpy as np

    from hpcaccept.judge.isolation import next_round

    rng = np.random.default_rng(one.order.seed)
    number, again = max((test.test.round for test in one.order.before), default=0), 0
    before: tuple[float, ...] = ()
    while True:
        begun = time.monotonic()
        if begun >= until:
            return EndedIsolation("budget", "the time for it is spent")
        planned = next_round(one.known.belief, _budget(one, until - begun), rng)
        if isinstance(planned, Stop):
            return EndedIsolation(planned.reason, planned.text)
        again = again + 1 if one.known.state == before else 0
        before = one.known.state
        named = max(one.known.posterior.values()) >= one.order.until
        if again >= (_UNCHANGED_NAMED if named else _UNCHANGED):
            return EndedIsolation("exhausted", f"the last {again} rounds have changed nothing")
        number += 1
        planned = planned if _alone_is_enough(one) else with_partners(planned, _least_suspect(one), one.pairs)
        tests = tuple(replace(test, nodes=tuple(sorted(test.nodes, key=one.place.__getitem__))) for test in planned)
        one.pairs.update(frozenset(test.nodes) for test in tests if len(test.nodes) == 2)
        isolation_journal.append(one.folder, PlannedRound(number, tests))
        thought_s = time.monotonic() - begun
        ended = _run(one, tests)
        if one.should_stop():
            return EndedIsolation(None, "it was ended before it was decided")
        one.known.add(ended)
        wall_s = time.monotonic() - begun
        one.rounds_s.append(wall_s)
        beyond_s = thought_s + max((_launching_s(test) for test in ended), default=0.0)
        isolation_journal.append(one.folder, EndedRound(number, round(wall_s, 3), round(beyond_s, 3)))
        if all(test.kind == "not_run" for test in ended):
            return EndedIsolation("exhausted", f"nothing could be measured: {ended[0].how}")


def _alone_is_enough(one: _Isolation) -> bool:
    """True where a node without others can run the test; of a site's command nobody knows."""
    return bool(one.order.check) and one.plan.request.ranks_per_node > 1


def _least_suspect(one: _Isolation) -> list[str]:
    """All nodes, the best first."""
    posterior = one.known.posterior
    return sorted(posterior, key=lambda node: posterior[node])


def with_partners(
    tests: Sequence[GroupTest], nodes: Sequence[str], met: Collection[frozenset[str]] = ()
) -> tuple[GroupTest, ...]:
    """The tests, each of one node with a partner: one that it has not been alone with, and of these the best.

    Args:
        tests: of a round.
        nodes: all of them, the best first.
        met: pairs that were a group before.
    """
    alone = {test.nodes[0]: test for test in tests if len(test.nodes) == 1}
    found = [test for test in tests if len(test.nodes) > 1]
    used = {node for test in found for node in test.nodes}
    free = [node for node in nodes if node not in used]
    for node in sorted(alone, key=nodes.index, reverse=True):
        if node not in free:
            continue  # it is the partner of a worse one
        free.remove(node)
        partner = min(free, key=lambda other: (frozenset((node, other)) in met, free.index(other)), default="")
        if partner:
            free.remove(partner)
            found.append(replace(alone[node], nodes=(node, partner)))
        elif found:
            found.append(_taken_from(found, alone[node], nodes, met))
    return tuple(found)


def _taken_from(
    tests: list[GroupTest], alone: GroupTest, nodes: Sequence[str], met: Collection[frozenset[str]]
) -> GroupTest:
    """Where nobody is free, the test with a node of the largest group, which goes on without it, or waits where it was a pair."""
    largest = max(range(len(tests)), key=lambda number: len(tests[number].nodes))
    giver = tests.pop(largest)
    partner = min(giver.nodes, key=lambda node: (frozenset((node, *alone.nodes)) in met, nodes.index(node)))
    rest = tuple(node for node in giver.nodes if node != partner)
    if len(rest) > 1:
        tests.append(replace(giver, nodes=rest, suspects=tuple(node for node in giver.suspects if node != partner)))
    return replace(alone, nodes=(*alone.nodes, partner))


def _launching_s(test: EndedTest) -> float:
    """What a test that has passed took beside its measurement; of what hangs, the waiting is no such thing."""
    return max(0.0, test.wall_s - test.measured_s - test.imports_s) if test.kind == "passed" else 0.0


def _budget(one: _Isolation, left_s: float) -> Budget:
    typical = sorted(one.rounds_s)[len(one.rounds_s) // 2] if one.rounds_s else 0.0
    return Budget(rounds=max(1.0, left_s // typical) if typical else math.inf, time_s=left_s, round_s=typical)


def _run(one: _Isolation, tests: Sequence[GroupTest]) -> list[EndedTest]:
    """The tests of a round, side by side; each is in the journal when it has ended."""
    groups = {}
    for test in tests:
        group = group_of(one.plan, one.folder, one.order, test, one.launched, os.environ)
        groups[group.step.id] = group
        one.launched += 1
    found: list[EndedTest] = []
    unwritten: list[EndedTest] = []
    written = time.monotonic()
    for end in _ends(one, groups):
        if end.stopped:
            continue
        ended = _ended(one, groups[end.key], end)
        if ended.kind == "passed":
            one.patience.learn(ended.wall_s)
        found.append(ended)
        unwritten.append(ended)
        if time.monotonic() - written > _WRITE_S:
            isolation_journal.append(one.folder, *unwritten)
            unwritten, written = [], time.monotonic()
    isolation_journal.append(one.folder, *unwritten)
    return found


def _ends(one: _Isolation, groups: dict[str, Group]) -> Iterator[Ended]:
    def is_late(key: str, seconds: float) -> bool:
        return seconds > one.patience.limit_s(len(groups[key].test.nodes))

    launches = [group.launch for group in groups.values()]
    return run_side_by_side(launches, is_late=is_late, should_stop=one.should_stop, at_once=one.order.at_once)


def _ended(one: _Isolation, group: Group, end: Ended) -> EndedTest:
    test = EndedTest(group.test, "not_run", wall_s=round(end.seconds, 3), step=group.step.id, code=end.returncode)
    stderr = end_of(group.launch.err, _MOST_OF_A_LOG)
    if not one.order.check:
        output = end_of(group.launch.out, _MOST_OF_A_LOG) + stderr
        found = outcome_of_output(test, output, one.order.rule, late=end.late)
        return replace(found, measured_s=test.wall_s)
    found, one.metric = read_step(
        one.plan, one.folder, group.step, test, one.order.check, one.metric,
        late=end.late, gone=lambda: _gone(one, group.step),
    )  # fmt: skip
    return found


def _gone(one: _Isolation, step: Step) -> dict[str, str]:
    """Nodes of a group that cannot be reached any more, where the launcher can tell."""
    found = launch.load(one.plan.launcher).unreachable(one.plan, step.nodes, one.folder, os.environ)
    return {node: cause for node, (cause, _) in found.items()}
