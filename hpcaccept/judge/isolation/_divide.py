"""Finds the division of the good nodes that tells the candidates of the fabric apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.isolation._fabric import sizes_of
from hpcaccept.judge.isolation.component import Ints

if TYPE_CHECKING:
    from hpcaccept.judge.isolation.belief import Belief

#: Random divisions that are looked at, and bits that a group more has to bring.
_TRIES, _PRICE = 24, 0.15

Group = tuple[Ints, Ints, str]


def fabric_groups(belief: Belief, nodes: Ints, rng: np.random.Generator) -> list[Group]:
    """Groups that say most about links, leaves and sizes; nothing where fewer than two nodes are there."""
    if len(nodes) < 2:
        return []
    best, most = [nodes], -1.0
    for division in _divisions(belief, nodes, rng):
        bits = _bits(belief, division) - _PRICE * len(division)
        if bits > most:
            best, most = division, bits
    return [(part, part[:0], "a link, a leaf or the size") for part in best]


def _divisions(belief: Belief, nodes: Ints, rng: np.random.Generator) -> list[list[Ints]]:
    """All together, halves, thirds and more: at random, and leaf by leaf."""
    found = [[nodes]]
    counts = sorted({count for count in (2, 2, 3, 4, 6, 8, 12, 16, 32) if count * 2 <= len(nodes)})
    by_leaf = len(belief.leaf_names) > 1
    for attempt in range(_TRIES):
        count = counts[0] if attempt % 2 == 0 and counts else (int(rng.choice(counts)) if counts else 1)
        if by_leaf and attempt % 3 != 2 and count < len(belief.leaf_names):
            place = rng.permutation(len(belief.leaf_names)) % count
            group = place[belief.leaf[nodes]]
        else:
            group = np.empty(len(nodes), np.int64)
            group[rng.permutation(len(nodes))] = np.arange(len(nodes)) % count
        found.append([nodes[group == one] for one in range(count) if (group == one).sum() > 1])
    # A size is found by groups of that size, as many as there are.
    if belief.fabric.scale.sum() > 0.02:
        sizes = sizes_of(len(belief.nodes))
        middle = int(sizes[int(np.searchsorted(np.cumsum(belief.fabric.scale) / belief.fabric.scale.sum(), 0.5))])
        order = rng.permutation(nodes)
        for size in {max(2, middle - 1), middle, min(len(nodes), middle + 1)}:
            found.append([order[: min(size, len(nodes))]])
            if len(nodes) >= 2 * size:
                found.append([order[:size], order[size : 2 * size]])
    return [division for division in found if division]


def _bits(belief: Belief, division: list[Ints]) -> float:
    """Entropy of which groups fail, as far as the fabric decides it."""
    fabric = belief.fabric
    mass: dict[tuple[bool, ...], float] = {}
    sizes = sizes_of(len(belief.nodes))

    def add(pattern: tuple[bool, ...], share: float) -> None:
        mass[pattern] = mass.get(pattern, 0.0) + share

    count = np.array([len(part) for part in division])
    for place, share in enumerate(fabric.scale):
        add(tuple((count >= sizes[place]).tolist()), float(share))
    if fabric.links.size:
        inside = [fabric.link_share(part) for part in division]
        for place, share in enumerate(inside):
            add(tuple(place == one for one in range(len(division))), share)
        add((False,) * len(division), max(0.0, fabric.kinds["link"] - sum(inside)))
    if fabric.leaves.size:
        touched = np.zeros((len(division), len(fabric.leaves)), bool)
        for row, part in enumerate(division):
            touched[row, belief.leaf[part][belief.leaf[part] >= 0]] = True
        many = touched & (touched.sum(axis=1, keepdims=True) > 1)
        for one, share in enumerate(fabric.leaves):
            add(tuple(many[:, one].tolist()), float(share))
        first, second = np.triu_indices(len(fabric.leaves), 1)
        hit = touched[:, first] & touched[:, second]
        patterns, which = np.unique(hit.T, axis=0, return_inverse=True)
        for pattern, share in zip(
            patterns, np.bincount(which.ravel(), fabric.leaf_pairs[first, second], len(patterns)), strict=True
        ):
            add(tuple(pattern.tolist()), 2 * float(share))
    add((False,) * len(division), fabric.none)
    shares = np.array([share for share in mass.values() if share > 1e-12])
    return float(-(shares * np.log2(shares / shares.sum())).sum())
