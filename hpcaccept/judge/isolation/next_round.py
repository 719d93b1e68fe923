"""Chooses the groups that say most in the next round.

Suspects that hang together are halved or thirded, so that each answer is as open as the budget likes it: an even chance says most per test, a small one
most per round. A suspect that stands alone gets a partner that is believed to be good and that it has not met. What was cleared is tested together in the end.
Where the fabric is suspect, the good nodes are divided so that the candidates fall into different groups.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.isolation._divide import fabric_groups
from hpcaccept.judge.isolation._pools import open_pools, said
from hpcaccept.judge.isolation._spread import spread_groups
from hpcaccept.judge.isolation.component import Bools, Ints
from hpcaccept.judge.isolation.doubt import is_blamed, is_decided, whole_passed
from hpcaccept.model.isolation import Budget, GroupTest, Stop

if TYPE_CHECKING:
    from hpcaccept.judge.isolation.belief import Belief

#: Chance of something bad in a group of the first round, where rounds are not scarce, and of nodes cleared before.
FIRST, CLEARED = 0.4, 0.3
#: Bits that a group has to say, given what the others of its round say.
PRICE = 0.35
#: A node that is bad with less than this has been cleared, but for a last look.
CLEAR = 0.04
#: Suspects of the largest group where the search is so near its end that what was cleared is tested beside it.
LAST = 4
#: Probability of a fault of the fabric from which on it is looked for.
FABRIC = 0.3
#: A node that is bad with less than this may be a partner.
GOOD = 0.01

Group = tuple[Ints, Ints, str]


def next_round(belief: Belief, budget: Budget, rng: np.random.Generator) -> tuple[GroupTest, ...] | Stop:
    """Disjoint groups to be tested side by side, or why there are none.

    The same belief, budget and state of ``rng`` give the same groups.
    """
    rounds = min(budget.rounds, budget.time_s / budget.round_s if budget.round_s else math.inf)
    if is_decided(belief):
        return Stop("decided", "the answer is as sure as it was asked to be")
    if rounds < 1 or budget.tests < 1 or budget.node_s <= 2 * budget.round_s:
        return Stop("budget", "the budget is spent before the answer is as sure as it was asked to be")
    groups = spread_groups(belief, rng) if belief.settings.values else _groups(belief, rounds, budget.tests, rng)
    groups = _affordable(groups, belief, budget)
    if not groups:
        return Stop("exhausted", "no group of the remaining nodes could decide more")
    return tuple(_as_test(belief, number, group) for number, group in enumerate(groups, 1))


def _as_test(belief: Belief, number: int, group: Group) -> GroupTest:
    members, suspects, asks = group
    return GroupTest(
        id=f"r{belief.round + 1}g{number}",
        round=belief.round + 1,
        nodes=tuple(belief.nodes[one] for one in np.sort(members)),
        asks=asks,
        suspects=tuple(belief.nodes[one] for one in np.sort(suspects)),
    )


def _affordable(groups: list[Group], belief: Belief, budget: Budget) -> list[Group]:
    """As many as the budget has, the most open first."""
    most = int(min(budget.tests, belief.settings.max_tests_per_round))
    groups = groups[:most]
    if budget.round_s and math.isfinite(budget.node_s):
        used = np.cumsum([len(members) for members, _, _ in groups]) * budget.round_s
        groups = groups[: int(np.searchsorted(used, budget.node_s, side="right"))]
    return groups


def _hurry(rounds: float) -> float:
    """Factor on the chances of groups: 1 where rounds are plenty, less where they are scarce."""
    return min(1.0, max(0.2, rounds / 7)) if math.isfinite(rounds) else 1.0


def _groups(belief: Belief, rounds: float, tests: float, rng: np.random.Generator) -> list[Group]:
    bad = belief.bad
    if not belief.seen:
        return _first(belief, np.ones(len(bad), bool), rng, FIRST * _hurry(rounds))
    named = is_blamed(belief)
    used = named.copy()
    pools = open_pools(belief, ~named, rounds, tests, PRICE)
    pools += [np.array([node]) for node in _not_sure_enough(belief, named)]
    for pool in pools:
        used[pool] = True
    partners = _Partners(belief, rng)
    groups = [partners.completed((pool, pool, "which of these"), used) for pool in pools]
    rest = np.flatnonzero(~used)
    if 1 - belief.fabric.none > FABRIC and bad[rest].sum() < 0.5:
        return groups + fabric_groups(belief, rest[bad[rest] < 0.1], rng)
    return groups + _together(belief, rest, groups, rng)


def _not_sure_enough(belief: Belief, named: Bools) -> list[int]:
    """Those blamed, the least sure first, for which the answer as a whole is not sure enough."""
    doubt, spare = 1 - belief.bad, 1 - belief.settings.until
    total = float(doubt[named].sum())
    if total < 0.7 * spare:
        return []
    found: list[int] = []
    for node in sorted(np.flatnonzero(named).tolist(), key=lambda one: -doubt[one]):
        if total < 0.3 * spare:
            break
        total -= float(doubt[node])
        found.append(node)
    return found


def _together(belief: Belief, rest: Ints, groups: list[Group], rng: np.random.Generator) -> list[Group]:
    """What has been cleared, in as few groups as leave the answers open: at once where the suspects are few, else when none are left."""
    bad = belief.bad
    cleared = rest[bad[rest] < CLEAR] if groups else rest
    remaining = float(bad[cleared].sum())
    open_now = 1 - math.exp(-remaining)
    last = max((len(suspects) for _, suspects, _ in groups), default=0) <= LAST
    worth = remaining + (1 - belief.fabric.none) > 0.5 * (1 - belief.settings.until) or not whole_passed(belief)
    if groups and not (worth and last) and said(open_now, belief) < PRICE:
        return []
    order = rng.permutation(cleared)
    parts = np.array_split(order, max(1, round(remaining / CLEARED)))
    return [(part, part, "still good together") for part in parts if len(part) > 1]


def _first(belief: Belief, free: Bools, rng: np.random.Generator, chance: float) -> list[Group]:
    """Groups of which each has about this chance of being bad; the most probable nodes apart from each other."""
    order = rng.permutation(np.flatnonzero(free))
    order = order[np.argsort(-belief.log_odds[order], kind="stable")]
    share = np.exp(belief.log_share)
    most = max(1, len(order) // 2)
    for count in range(1, most + 1):
        open_now = np.mean(
            [1 - share @ np.prod(1 - belief.prior[order[start::count]], axis=0) for start in range(min(count, 4))]
        )
        if open_now <= chance:
            break
    return [(part, part, "any bad") for part in (order[start::count] for start in range(count))]


class _Partners:
    """Good nodes for suspects that stand alone, each once in a round, those first that a suspect has not met in a small group."""

    def __init__(self, belief: Belief, rng: np.random.Generator) -> None:
        self._bad = belief.bad
        self._seen = belief.seen
        order = rng.permutation(len(belief.nodes))
        self._order = order[np.argsort(self._bad[order].round(4), kind="stable")]

    def completed(self, group: Group, used: Bools) -> Group:
        """The group, with a partner where it has but one node."""
        members, suspects, _asks = group
        if len(members) > 1:
            return group
        met = np.zeros(len(used), bool)
        for seen in self._seen:
            if len(seen.members) <= 4 and members[0] in seen.members:
                met[seen.members] = True
        free = self._order[~used[self._order]]
        for choice in (
            free[~met[free] & (self._bad[free] < GOOD)],
            free[self._bad[free] < GOOD],
            free[~met[free]],
            free,
        ):
            if len(choice):
                used[choice[0]] = True
                return np.append(members, choice[0]), suspects, "is it this one"
        return group
