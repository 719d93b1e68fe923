"""The tests on which a suspicion rests, and what else could explain them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.isolation._known import best_fault, hits
from hpcaccept.judge.isolation.doubt import confirmed, is_blamed
from hpcaccept.model.isolation import Fault, Suspicion

if TYPE_CHECKING:
    from hpcaccept.judge.isolation.belief import Belief, Seen

#: Nothing less probable is shown, nor evidence that changes the odds by less than the second.
_SHOWN, _WEAK = 0.01, math.log(1.5)
#: Tests, and other explanations, that are shown of each side.
_TESTS, _OTHERS = 12, 4


def suspicions_of(belief: Belief) -> tuple[Suspicion, ...]:
    """What is blamed, then what is doubtful, the most probable first."""
    found = [_of_node(belief, int(node)) for node in np.flatnonzero(belief.bad >= _SHOWN)]
    found += [_of_fabric(belief, fault, posterior, known=True) for fault, posterior in belief.known]
    fault, posterior = best_fault(belief)
    # What is as probable as it was before any test is no suspicion.
    if posterior >= max(_SHOWN, belief.settings.fabric_share):
        found.append(_of_fabric(belief, fault, posterior, known=False))
    return tuple(sorted(found, key=lambda one: (not one.blamed, -one.posterior)))


def _of_node(belief: Belief, node: int) -> Suspicion:
    level = 1 + int(belief.posterior[node, 1:].argmax())
    said = [(_log_ratio(belief, seen, node, level), seen) for seen in belief.seen if node in seen.members]
    sure = bool(is_blamed(belief)[node])
    return Suspicion(
        fault=Fault("node", (belief.nodes[node],), loss=belief.levels.losses[level - 1]),
        posterior=float(belief.bad[node]),
        blamed=sure,
        confirmed=bool(confirmed(belief)[node]),
        evidence_for=_strongest(said, 1),
        evidence_against=_strongest(said, -1),
        instead=_others(belief, [seen for ratio, seen in said if ratio > _WEAK], node),
        next_test=None if sure else _with_good_partner(belief, node),
    )


def _log_ratio(belief: Belief, seen: Seen, node: int, level: int) -> float:
    """Log of how much more probable an outcome is where the node is bad, with what is now believed of the others."""
    likely = np.exp(seen.log_likelihoods)
    count = belief.levels.count
    others = belief.posterior[seen.members[seen.members != node]]
    at_most = np.append(np.cumsum(others, axis=1).clip(0, 1).prod(axis=0), np.ones(count))
    share = np.diff(at_most, prepend=0.0)
    name = belief.nodes[node]
    code = level + count * (name in seen.outcome.silent)
    bad = at_most[code] * likely[code] + share[code + 1 :] @ likely[code + 1 :]
    return float(np.log(max(float(bad), 1e-300)) - np.log(max(float(share @ likely), 1e-300)))


def _strongest(said: list[tuple[float, Seen]], sign: int) -> tuple[str, ...]:
    strong = sorted((one for one in said if sign * one[0] > _WEAK), key=lambda one: -sign * one[0])
    return tuple(seen.outcome.test.id for _, seen in strong[:_TESTS])


def _others(belief: Belief, tests: list[Seen], node: int) -> tuple[tuple[Fault, float], ...]:
    """Nodes, and a fault of the fabric, that are in all of these tests and might explain them; several nodes may share them."""
    if not tests:
        return ()
    together = np.unique(np.concatenate([seen.members for seen in tests]))
    found: list[tuple[Fault, float]] = [
        (Fault("node", (belief.nodes[one],)), float(belief.bad[one]))
        for one in together[belief.bad[together] >= _SHOWN]
        if one != node and sum(one in seen.members for seen in tests) == len(tests)
    ]
    fault, posterior = best_fault(belief)
    if posterior >= _SHOWN and all(hits(belief, fault, seen.members) for seen in tests):
        found.append((fault, posterior))
    return tuple(sorted(found, key=lambda one: -one[1])[:_OTHERS])


def _with_good_partner(belief: Belief, node: int) -> tuple[str, ...] | None:
    """The node with the best one that it has not met in a pair."""
    met = {node}
    for seen in belief.seen:
        if len(seen.members) <= 4 and node in seen.members:
            met.update(seen.members.tolist())
    order = [one for one in np.argsort(belief.bad, kind="stable").tolist() if one not in met]
    return tuple(sorted((belief.nodes[node], belief.nodes[order[0]]))) if order else None


def _of_fabric(belief: Belief, fault: Fault, posterior: float, *, known: bool) -> Suspicion:
    inside = [seen for seen in belief.seen if hits(belief, fault, seen.members)]
    failed = sorted(
        (seen for seen in inside if seen.outcome.kind != "passed" or (seen.loss > 0 and seen.suspicious)),
        key=lambda one: len(one.members),
    )
    passed = [seen for seen in inside if seen not in failed]
    others = () if known else _others_of_fabric(belief, failed)
    return Suspicion(
        fault=fault,
        posterior=posterior,
        blamed=known,
        confirmed=known,
        evidence_for=tuple(seen.outcome.test.id for seen in failed[:_TESTS]),
        evidence_against=tuple(seen.outcome.test.id for seen in passed[:_TESTS]),
        instead=others,
        next_test=None if known or fault.kind != "link" else fault.where,
    )


def _others_of_fabric(belief: Belief, failed: list[Seen]) -> tuple[tuple[Fault, float], ...]:
    nodes = np.unique(np.concatenate([seen.members for seen in failed])) if failed else np.zeros(0, np.int64)
    likely = nodes[belief.bad[nodes] >= _SHOWN]
    order = likely[np.argsort(-belief.bad[likely], kind="stable")][:_OTHERS]
    return tuple((Fault("node", (belief.nodes[one],)), float(belief.bad[one])) for one in order)
