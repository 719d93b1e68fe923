"""The smallest fault that these tests would have shown, and what no test has touched."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.isolation.doubt import is_blamed
from hpcaccept.model.isolation import Missable

if TYPE_CHECKING:
    from hpcaccept.judge.isolation.belief import Belief

#: Standard deviations that 95 % of a normal distribution lie above the negative of.
_Z = 1.645
#: Distances between two nodes of which all pairs are counted, at most and at least, and entries that may be looked at for that.
_SAMPLE, _FEWEST, _WORK = 24, 3, 20_000_000


def missable_of(belief: Belief) -> Missable:
    """What may have been missed."""
    nodes = len(belief.nodes)
    passed = [seen for seen in belief.seen if seen.outcome.kind == "passed"]
    touched, times = np.zeros(nodes, bool), np.zeros(nodes)
    for seen in belief.seen:
        touched[seen.members] = True
    for seen in passed:
        times[seen.members] += 1
    typical = float(np.median(times)) if nodes else 0.0
    return Missable(
        untested=tuple(name for name, there in zip(belief.nodes, touched, strict=True) if not there),
        remaining=float(belief.bad[~is_blamed(belief)].sum()),
        fabric=1 - belief.fabric.none,
        fail_share=1 - 0.05 ** (1 / typical) if typical else math.inf,
        loss=_loss(belief, typical),
        largest_group=max((len(seen.members) for seen in passed), default=0),
        links_tested=_links_tested(belief),
    )


def _loss(belief: Belief, times: float) -> float:
    """Slow-down at which this many values are, with 95 %, evidence enough to blame a node that nothing was held against."""
    if not belief.settings.values or not times:
        return math.nan
    odds = math.log((1 - belief.settings.bad_share) / belief.settings.bad_share)
    needed = odds + math.log(belief.settings.until / (1 - belief.settings.until))
    return belief.settings.noise / math.sqrt(times) * (_Z + math.sqrt(_Z**2 + 2 * max(0.0, needed)))


def _links_tested(belief: Belief) -> float:
    """Share of pairs that were together in a group that passed; of a sample of them in a large fleet."""
    nodes = len(belief.nodes)
    passed = [seen.members for seen in belief.seen if seen.outcome.kind == "passed"]
    if nodes < 2 or not passed:
        return 0.0
    member = np.zeros((len(passed), nodes), bool)
    for row, members in enumerate(passed):
        member[row, members] = True
    apart = range(1, nodes // 2 + 1)
    most = max(_FEWEST, min(_SAMPLE, _WORK // member.size))
    steps = apart if len(apart) <= most else [apart[round(at)] for at in np.linspace(0, len(apart) - 1, most)]
    together = [(member & np.roll(member, step, axis=1)).any(axis=0).mean() for step in steps]
    return float(np.mean(together))
