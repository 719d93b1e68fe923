"""The probability that each node is bad, with the fabric as another explanation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcaccept.judge.isolation._fabric import reweighed
from hpcaccept.judge.isolation.component import node_posteriors

if TYPE_CHECKING:
    from hpcaccept.judge.isolation.belief import Belief
    from hpcaccept.judge.isolation.levels import Floats

#: Up to this part of its prior a fault of the fabric explains nothing that was seen.
_NEGLIGIBLE = 0.8


def level_posteriors(belief: Belief) -> Floats:
    """float64[N, K + 1]: P(level) of each node."""
    found = belief.level_posteriors()
    if 1 - belief.fabric.none < _NEGLIGIBLE * belief.settings.fabric_share:
        return found
    for component in belief.components:
        weights = reweighed(belief, component)
        found[component.nodes] = node_posteriors(component, weights, belief.cumulative, belief.log_share)
    return found
