"""Groups of like size over all nodes, with the suspects apart from each other: for values, of which each says a little."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.isolation.component import Ints
from hpcaccept.judge.isolation.doubt import confirmed, is_bad

if TYPE_CHECKING:
    from hpcaccept.judge.isolation.belief import Belief

#: Nodes of a group in the first round; later, where fewer are suspect, the same, so that values can be compared.
SIZE = 8

Group = tuple[Ints, Ints, str]


def spread_groups(belief: Belief, rng: np.random.Generator) -> list[Group]:
    """Every node that is not yet named, in groups of like size; each suspect with others that are believed to be good."""
    named = is_bad(belief) & confirmed(belief) & (belief.bad > 0.5 + belief.settings.until / 2)
    nodes = rng.permutation(np.flatnonzero(~named))
    if len(nodes) < 2:
        return []
    size = min(SIZE, max(2, len(nodes) // 4))
    count = max(1, len(nodes) // size)
    nodes = nodes[np.argsort(-belief.bad[nodes].round(6), kind="stable")]
    # Dealt like cards: suspects come first, so that each group has its share of them, and back and forth, so that none gets all the worst.
    place = np.arange(len(nodes))
    lap, seat = np.divmod(place, count)
    seat = np.where(lap % 2 == 1, count - 1 - seat, seat)
    groups = [nodes[seat == one] for one in range(count)]
    bad = belief.bad
    groups.sort(key=lambda group: -float(bad[group].sum()))
    return [(group, group[bad[group] > 0.01], "slower than the others") for group in groups]
