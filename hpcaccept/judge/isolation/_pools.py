"""Chooses the suspects that are tested together: groups one by one, each for what it says beside the others of its round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.isolation._pace import chance_of, rounds_ahead
from hpcaccept.judge.isolation.component import Bools, Component, Ints, codes_in, split

if TYPE_CHECKING:
    from hpcaccept.judge.isolation.belief import Belief
    from hpcaccept.judge.isolation.levels import Floats

#: A component that is bad with less than this is not worth a group of its own.
_WORTH = 0.05
#: Less than this is not worth a division: its suspects are tested together, unless the fabric is suspect, which large groups show as well.
_OPEN, _SOUND = 0.3, 0.97
#: So many suspects, in which nearly all of the chance lies, are tested each by itself: that names the bad one and confirms it in one round.
_FEW, _NEARLY_ALL = 4, 0.8
#: Nodes that are bad with less than this are in no group of suspects.
_SUSPECT = 0.004
#: Groups of one component in one round.
_MOST = 16


@dataclass(frozen=True, eq=False)
class _Pool:
    """Suspects for one group.

    Attributes:
        nodes: indices.
        chance: that one of them is bad.
        bits: that the group says beside the others.
    """

    nodes: Ints
    chance: float
    bits: float


def open_pools(belief: Belief, free: Bools, rounds: float, tests: float, price: float) -> list[Ints]:
    """Disjoint groups of suspects.

    Args:
        belief: so far.
        free: bool[N]: who may be tested.
        rounds: that the budget has.
        tests: that the budget has.
        price: bits that a group has to say.
    """
    bad = belief.bad
    suspects = [(one, _suspects(one, bad, free)) for one in belief.components]
    suspects = [(one, nodes) for one, nodes in suspects if bad[nodes].sum() >= _WORTH]
    open_ones = [nodes for _, nodes in suspects if bad[nodes].sum() >= _OPEN]
    ahead = rounds_ahead(open_ones, bad, rounds, tests)
    offers: list[_Pool] = []
    small: list[_Pool] = []
    for one, nodes in suspects:
        total = float(bad[nodes].sum())
        if total < _OPEN and belief.fabric.none > _SOUND:
            small.append(_Pool(nodes, total, float(said(total, belief))))
            continue
        if total > 0.5 and len(few := _main_suspects(nodes, bad)) <= _FEW:
            offers += [_Pool(node, float(bad[node[0]]), 1.0) for node in np.array_split(few, len(few))]
            continue
        chance = chance_of(nodes, bad, ahead) * min(1.0, total)
        for pool in _of_component(belief, one, nodes, chance):
            (offers if pool.chance >= 0.6 * chance and pool.bits >= price else small).append(pool)
    small.sort(key=lambda pool: -pool.chance)
    chosen = [pool.nodes for pool in offers] + _combined(
        [pool for pool in small if pool.chance < _OPEN], _OPEN, price, belief
    )
    if chosen or not small:
        return chosen
    # Nothing says enough: then the best that there is, all of it.
    best = max(pool.bits for pool in small)
    return [pool.nodes for pool in small if pool.bits > 0.3 * best]


def _suspects(component: Component, bad: Floats, free: Bools) -> Ints:
    return component.nodes[free[component.nodes] & (bad[component.nodes] > _SUSPECT)]


def _main_suspects(nodes: Ints, bad: Floats) -> Ints:
    """The fewest that hold nearly all of the chance."""
    order = nodes[np.argsort(-bad[nodes], kind="stable")]
    held = np.cumsum(bad[order])
    return np.asarray(order[: 1 + int(np.searchsorted(held, _NEARLY_ALL * held[-1]))])


def _combined(pools: list[_Pool], chance: float, price: float, belief: Belief) -> list[Ints]:
    """Small ones of different components together, until an answer is open enough."""
    found: list[Ints] = []
    nodes: list[Ints] = []
    good = 1.0
    for pool in pools:
        nodes.append(pool.nodes)
        good *= 1 - pool.chance
        if 1 - good >= 0.8 * chance:
            found.append(np.concatenate(nodes))
            nodes, good = [], 1.0
    if nodes and said(1 - good, belief) >= price:
        found.append(np.concatenate(nodes))
    return found


def said(chance: float | Floats, belief: Belief) -> float | Floats:
    """Bits that a group says which is bad with this chance."""
    false, missed = belief.settings.false_fail_rate, belief.settings.miss_rate
    fails = chance * (1 - missed) + (1 - chance) * false
    return _entropy(fails) - chance * _entropy(missed) - (1 - chance) * _entropy(false)


def _entropy(share: float | Floats) -> Floats:
    share = np.clip(share, 1e-12, 1 - 1e-12)
    return np.asarray(-share * np.log2(share) - (1 - share) * np.log2(1 - share))


def _of_component(belief: Belief, component: Component, nodes: Ints, chance: float) -> list[_Pool]:
    """Groups within a component, the most probable suspects first."""
    left = np.zeros(len(belief.nodes), bool)
    left[nodes] = True
    component = split(component, left, belief.cumulative, belief.log_share)
    pools: list[_Pool] = []
    heard: list[Ints] = []
    while left.any() and len(pools) < _MOST:
        component, chosen = _grown(belief, component, left, chance)
        weights = component.weights(belief.log_share)
        hit = _hit(component, chosen, len(left))
        bits = _bits_beside(_answers(component, heard, len(left)), hit, weights, belief)
        pools.append(_Pool(chosen, float(weights @ hit), bits))
        if bits > 0.1:
            heard.append(chosen)
        left[chosen] = False
    return pools


def _hit(component: Component, nodes: Ints, fleet: int) -> Bools:
    """bool[H]: whether one of these nodes, which are whole atoms, is bad."""
    chosen = np.zeros(fleet, bool)
    chosen[nodes] = True
    return np.asarray(codes_in(component, chosen, np.zeros(fleet, bool)) > 0)


def _answers(component: Component, pools: list[Ints], fleet: int) -> Ints:
    """int64[H]: a number for each set of groups that are bad."""
    found = np.zeros(len(component.levels), np.int64)
    for nodes in pools:
        found = np.unique(found * 2 + _hit(component, nodes, fleet), return_inverse=True)[1].ravel()
    return found


def _grown(belief: Belief, component: Component, left: Bools, chance: float) -> tuple[Component, Ints]:
    """Atoms, the last of them in part, whose chance of being bad together is nearest to what is wanted; and the component, split for that."""
    weights = component.weights(belief.log_share)
    atoms = [number for number, atom in enumerate(component.atoms) if left[atom[0]]]
    shares = {number: float(weights @ (component.levels[:, number] > 0)) for number in atoms}
    hit = np.zeros(len(weights), bool)
    taken: list[Ints] = []
    for number in sorted(atoms, key=lambda one: -shares[one] / len(component.atoms[one])):
        atom = component.atoms[number]
        more = hit | (component.levels[:, number] > 0)
        before, after = float(weights @ hit), float(weights @ more)
        if after <= 1.15 * chance or (len(atom) == 1 and not taken):
            taken.append(atom)
            hit = more
            continue
        part = min(len(atom), round(len(atom) * (chance - before) / max(after - before, 1e-9)))
        if not taken:
            part = max(part, 1)
        if part and before < 0.7 * chance:
            taken.append(atom[:part])
            chosen = np.zeros(len(left), bool)
            chosen[atom[:part]] = True
            component = split(component, chosen, belief.cumulative, belief.log_share)
        break
    return component, np.concatenate(taken)


def _bits_beside(answers: Ints, hit: Bools, weights: Floats, belief: Belief) -> float:
    """Bits that a group says beyond what the answers of the others say."""
    share = np.bincount(answers, weights)
    bad = np.bincount(answers, weights * hit) / share.clip(1e-300)
    return float(share @ said(bad, belief))
