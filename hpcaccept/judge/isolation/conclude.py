"""The answer of an isolation: who is blamed, how sure that is, on which tests it rests, and what may have been missed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.isolation._evidence import suspicions_of
from hpcaccept.judge.isolation._known import hits
from hpcaccept.judge.isolation._missable import missable_of
from hpcaccept.judge.isolation.component import codes_in
from hpcaccept.judge.isolation.doubt import is_blamed, is_decided
from hpcaccept.model.isolation import Conclusion

if TYPE_CHECKING:
    from hpcaccept.judge.isolation.belief import Belief, Seen


def conclude(belief: Belief) -> Conclusion:
    """The answer so far."""
    smallest = min(
        (seen for seen in belief.seen if _unexplained(belief, seen)), key=lambda one: len(one.members), default=None
    )
    scale = any(fault.kind == "scale" for fault, _ in belief.known)
    likely_scale = belief.fabric.kinds.get("scale", 0.0) > 0.5 * (1 - belief.fabric.none) and belief.fabric.none < 0.5
    return Conclusion(
        nothing_wrong=_nothing_wrong(belief),
        suspicions=suspicions_of(belief),
        decided=is_decided(belief),
        unattributed=smallest.outcome.test.nodes if smallest else (),
        at_scale=smallest is not None and (scale or likely_scale),
        missable=missable_of(belief),
        posterior=dict(zip(belief.nodes, belief.bad.tolist(), strict=True)),
    )


def _nothing_wrong(belief: Belief) -> float:
    if belief.known:
        return 0.0
    alone = ~belief.suspect
    good = float(np.prod(1 - belief.bad[alone])) * belief.fabric.none
    for component in belief.components:
        everybody = np.ones(len(belief.nodes), bool)
        weights = component.weights(belief.log_share)
        good *= float(weights @ (codes_in(component, everybody, ~everybody) == 0))
    return good


def _unexplained(belief: Belief, seen: Seen) -> bool:
    """Whether a group failed for a reason that is neither noise nor anything blamed. A size is a bound and no reason."""
    if seen.outcome.kind == "passed" and not seen.suspicious:
        return False
    reasons = [fault for fault, _ in belief.known if hits(belief, fault, seen.members)]
    if reasons:
        return all(fault.kind == "scale" for fault in reasons)
    if is_blamed(belief)[seen.members].any():
        return False
    by_node = 1 - float(np.prod(1 - belief.bad[seen.members]))
    return by_node + (1 - belief.fabric.none) > 0.5
