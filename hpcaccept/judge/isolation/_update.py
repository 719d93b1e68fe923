"""One outcome into a belief.

Who takes part in a test with a chance of being bad that is not small against the rest of the group joins a component; what the others could have added is
averaged into the likelihood, and they get in turn what the test says about each of them by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.isolation.belief import Belief, Seen
from hpcaccept.judge.isolation.component import (
    MOST,
    Bools,
    Component,
    Ints,
    codes_in,
    log_sum,
    merged,
    node_posteriors,
    pruned,
    single,
    split,
    tested,
)
from hpcaccept.judge.isolation.levels import Floats, log_likelihoods

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcaccept.model.isolation import Outcome

#: A part of a group joins the component of a test when its chance of being bad is at least this share of the whole group's.
_PART = 0.02
#: A group whose chance of being bad was less than this needs no component when it passes.
_SMALL = 0.02
#: A component whose chance of being bad is less than this is dissolved.
_HARMLESS = 0.003


@dataclass(frozen=True, eq=False)
class _Group:
    """A test while it is taken in.

    Attributes:
        chosen: bool[N]: its nodes.
        silent: bool[N]: those that went silent first.
        likely: float64[2K + 1]: log-likelihood for each code.
    """

    chosen: Bools
    silent: Bools
    likely: Floats


@dataclass(eq=False)
class _Batch:
    """Outcomes of groups without a common node, being taken in.

    Attributes:
        belief: before them.
        parts: number → component.
        owner: int64[N]: number of the component of each node; −1: none.
        log_ratios: of the nodes, so far.
        seen: so far.
    """

    belief: Belief
    parts: dict[int, Component]
    owner: Ints
    log_ratios: Floats
    seen: list[Seen]


def with_batch(belief: Belief, outcomes: Sequence[tuple[Outcome, float, bool]]) -> Belief:
    """The belief after outcomes of groups without a common node.

    Args:
        belief: before them.
        outcomes: each with its value as a relative slow-down (NaN: none), and whether a fault that is already known explains whatever
            comes of it: then it says nothing about nodes.
    """
    parts = dict(enumerate(belief.components))
    owner = np.full(len(belief.nodes), -1, np.int64)
    for number, one in parts.items():
        owner[one.nodes] = number
    batch = _Batch(belief, parts, owner, belief.log_ratios.copy(), list(belief.seen))
    for outcome, loss, explained in outcomes:
        _take(batch, outcome, loss, explained)
    return _settled(
        replace(belief, components=tuple(batch.parts.values()), log_ratios=batch.log_ratios, seen=tuple(batch.seen))
    )


def _take(batch: _Batch, outcome: Outcome, loss: float, explained: bool) -> None:
    belief = batch.belief
    members = np.array([belief.index[name] for name in outcome.test.nodes], np.int64)
    likely = log_likelihoods(outcome, loss, belief.levels, belief.settings)
    if explained:
        batch.seen.append(Seen(outcome, members, np.zeros_like(likely), 0.0, loss))
        return
    chosen, silent = np.zeros(len(belief.nodes), bool), np.zeros(len(belief.nodes), bool)
    chosen[members] = True
    silent[[belief.index[name] for name in outcome.silent if name in belief.index]] = True
    _take_group(batch, _Group(chosen, silent & chosen, likely), Seen(outcome, members, likely, 0.0, loss))


def _take_group(batch: _Batch, group: _Group, seen: Seen) -> None:
    belief = batch.belief
    alone = seen.members[batch.owner[seen.members] < 0]
    touched = sorted({*batch.owner[seen.members].tolist()} - {-1})
    halved = {number: _split_for(belief, batch.parts[number], group) for number in touched}
    brought = {number: _code_shares(belief, one, group) for number, one in halved.items()}
    by_alone = _codes_of_nodes(belief, alone, group)
    everything = _at_most(by_alone)
    for part in brought.values():
        everything = everything * _at_most(part)
    joining, join_alone = _who_joins(brought, by_alone, len(alone), seen.suspicious, halved)
    others = np.ones_like(everything) if join_alone else _at_most(by_alone)
    for number in touched:
        others = others if number in joining else others * _at_most(brought[number])
        batch.parts.pop(number)
    test = len(batch.seen)
    mine = _joined(belief, [halved[number] for number in joining], alone if join_alone else alone[:0], group)
    grown = [] if mine is None else [(mine, _averaged(group.likely, others), True)]
    for number in touched:
        if number not in joining:
            averaged = _averaged(group.likely, _without(everything, _at_most(brought[number])))
            # Its evidence counts once, where the test belongs: here only what differs between these nodes' combinations.
            averaged = averaged - log_sum(np.log(brought[number].clip(1e-300)) + averaged, axis=0)
            grown.append((halved[number], averaged, False))
    for one, averaged, owns in grown:
        number = max(batch.parts, default=-1) + 1
        batch.parts[number] = tested(one, test, codes_in(one, group.chosen, group.silent), averaged, owns)
        batch.owner[one.nodes] = number
    if len(alone) and not join_alone:
        batch.log_ratios[alone] += _said_of_each(belief, alone, group, everything)
    predicted = log_sum(np.log(np.diff(everything, prepend=0.0).clip(1e-300)) + group.likely, axis=0)
    batch.seen.append(replace(seen, predicted=float(predicted)))


def _who_joins(
    brought: dict[int, Floats], by_alone: Floats, alone: int, suspicious: bool, halved: dict[int, Component]
) -> tuple[list[int], bool]:
    """Numbers of the components that become one by a test, and whether nodes of no component join them."""
    chances = {number: 1 - part[0] for number, part in brought.items()}
    own = 1 - by_alone[0]
    floor = _PART * (own + sum(chances.values())) if suspicious else _SMALL
    joining = [number for number, chance in chances.items() if chance >= max(floor, 1e-6)]
    join_alone = alone > 0 and bool(own >= floor or (suspicious and not joining))
    return _small_enough(joining, halved, chances, join_alone), join_alone


def _split_for(belief: Belief, component: Component, group: _Group) -> Component:
    component = split(component, group.chosen, belief.cumulative, belief.log_share)
    return split(component, group.silent, belief.cumulative, belief.log_share) if group.silent.any() else component


def _code_shares(belief: Belief, component: Component, group: _Group) -> Floats:
    """float64[2K + 1]: P(code) that the nodes of a component bring into a group."""
    weights = component.weights(belief.log_share)
    codes = codes_in(component, group.chosen, group.silent)
    return np.bincount(codes, weights, len(group.likely)).astype(np.float64)


def _codes_of_nodes(belief: Belief, nodes: Ints, group: _Group) -> Floats:
    """The same of nodes in no component."""
    count = belief.levels.count
    share = np.exp(belief.log_share)
    inside = nodes[group.silent[nodes]]
    outside = nodes[~group.silent[nodes]]
    low = np.exp(belief.cumulative[outside].sum(axis=0))
    high = np.exp(belief.cumulative[inside].sum(axis=0))
    at_most = np.concatenate([low * high[:1], high[1:]]) @ share
    assert len(at_most) == 2 * count + 1
    return np.diff(at_most, prepend=0.0).clip(0.0)


def _at_most(shares: Floats) -> Floats:
    """float64[2K + 1]: P(code is at most this)."""
    return np.asarray(np.cumsum(shares).clip(1e-12, 1.0))


def _without(everything: Floats, part: Floats) -> Floats:
    """The same of a group without one of its independent parts."""
    return np.asarray(np.maximum.accumulate((everything / part).clip(1e-12, 1.0), axis=-1))


def _averaged(likely: Floats, others: Floats) -> Floats:
    """float64[…, 2K + 1]: log-likelihood for each code, averaged over what the others bring: the worse code counts.

    Args:
        likely: float64[2K + 1] for the code of the group.
        others: float64[…, 2K + 1]: P(code of the others is at most this).
    """
    value = np.exp(likely)
    share = np.diff(others, prepend=0.0, axis=-1).clip(0.0)
    share[..., -1] += np.maximum(0.0, 1 - share.sum(axis=-1))
    weighed = share * value
    beyond = weighed.sum(axis=-1, keepdims=True) - np.cumsum(weighed, axis=-1)
    return np.asarray(np.log((others * value + beyond).clip(1e-300)))


def _small_enough(
    joining: list[int], halved: dict[int, Component], chances: dict[int, float], join_alone: bool
) -> list[int]:
    """As many of them, the most suspect first, as can be combined."""
    size, kept = 2 if join_alone else 1, []
    for number in sorted(joining, key=lambda one: -chances[one]):
        if size * len(halved[number].levels) <= 40 * MOST:
            size = min(MOST, size * len(halved[number].levels))
            kept.append(number)
    return kept


def _joined(belief: Belief, parts: list[Component], alone: Ints, group: _Group) -> Component | None:
    """One component of them all, with nodes that were in none."""
    if len(alone):
        fresh = single(alone, belief.cumulative)
        parts = [*parts, _split_for(belief, fresh, group)]
    if not parts:
        return None
    found = parts[0]
    for part in parts[1:]:
        found = merged(found, part, belief.log_share)
    return found


def _said_of_each(belief: Belief, nodes: Ints, group: _Group, everything: Floats) -> Floats:
    """float64[m, K + 1]: log-likelihood ratios for nodes that belong to no component."""
    count = belief.levels.count
    own = np.exp(belief.cumulative[nodes]) @ np.exp(belief.log_share)
    silent = group.silent[nodes, None]
    outside = np.concatenate([own, np.ones((len(nodes), count))], axis=1)
    inside = np.concatenate([np.repeat(own[:, :1], count + 1, axis=1), own[:, 1:]], axis=1)
    averaged = _averaged(group.likely, _without(everything, np.where(silent, inside, outside)))
    codes_inside = np.append(0, np.arange(count + 1, 2 * count + 1))
    found = np.where(silent, averaged[:, codes_inside], averaged[:, : count + 1])
    return np.asarray(found - found[:, :1])


def _settled(belief: Belief) -> Belief:
    """The belief after a round: shares of bad nodes anew, combinations pruned, harmless components dissolved."""
    log_share = belief.log_shares + belief.log_evidence_alone
    for component in belief.components:
        log_share = log_share + component.log_evidence
    log_share = log_share - log_sum(log_share, axis=0)
    kept: list[Component] = []
    log_ratios = belief.log_ratios.copy()
    for component in belief.components:
        component = pruned(component, log_share)
        weights = component.weights(log_share)
        good = float(weights[(component.levels == 0).all(axis=1)].sum())
        if 1 - good >= _HARMLESS:
            kept.append(component)
            continue
        posterior = node_posteriors(component, weights, belief.cumulative, log_share).clip(1e-12)
        prior = np.diff(np.exp(belief.cumulative[component.nodes]) @ np.exp(log_share), axis=1, prepend=0.0).clip(1e-12)
        ratios = np.log(posterior / prior)
        log_ratios[component.nodes] += (ratios - ratios[:, :1]).clip(-30, 30)
    return replace(belief, components=tuple(kept), log_ratios=log_ratios, log_share=log_share)
