"""What is believed before any test, and after some."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.judge.isolation._fabric import fabric_of
from hpcaccept.judge.isolation._known import accepted, explains
from hpcaccept.judge.isolation._marginals import level_posteriors
from hpcaccept.judge.isolation._update import with_batch
from hpcaccept.judge.isolation.belief import Belief, share_grid
from hpcaccept.judge.isolation.component import log_sum
from hpcaccept.judge.isolation.healthy import losses_of
from hpcaccept.judge.isolation.levels import levels_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hpcaccept.model.isolation import IsolationSettings, Outcome, Topology


def believe(
    nodes: Sequence[str],
    settings: IsolationSettings,
    topology: Topology | None = None,
    odds: Mapping[str, float] | None = None,
) -> Belief:
    """What is believed before any test.

    Args:
        nodes: names, each once.
        settings: of the isolation.
        topology: where it is known: without one no leaf is ever blamed.
        odds: node → how many times as probable as the others it is to be bad (history: repeat offenders, age); 1 where absent.
    """
    leaf_of = topology.leaf_of if topology else {}
    names = tuple(dict.fromkeys(leaf_of[node] for node in nodes if node in leaf_of))
    number = {name: place for place, name in enumerate(names)}
    levels = levels_of(settings)
    shares, log_shares = share_grid(len(nodes), settings.bad_share)
    belief = Belief(
        nodes=tuple(nodes),
        settings=settings,
        levels=levels,
        leaf=np.array([number.get(leaf_of.get(node, ""), -1) for node in nodes], np.int64),
        leaf_names=names,
        log_odds=np.log([(odds or {}).get(node, 1.0) for node in nodes]),
        log_shares=log_shares,
        shares=shares,
        log_share=log_shares - log_sum(log_shares, axis=0),
        log_ratios=np.zeros((len(nodes), levels.count + 1)),
    )
    return _concluded(belief)


def _concluded(belief: Belief) -> Belief:
    belief = replace(belief, fabric=fabric_of(belief))
    return replace(belief, posterior=level_posteriors(belief))


def update(belief: Belief, outcomes: Iterable[Outcome]) -> Belief:
    """What is believed after further tests; those of ``not_run`` change nothing.

    Where a link, a leaf, a pair of leaves or a size becomes as probable as ``until``, it is taken for known, and all tests are read again in its light.
    """
    new = [outcome for outcome in outcomes if outcome.kind != "not_run" and outcome.test.nodes]
    belief = _after(belief, new)
    while (fault := accepted(belief)) is not None:
        past = [seen.outcome for seen in belief.seen]
        fresh = replace(
            belief, known=(*belief.known, fault), seen=(), components=(), healthy=(), log_share=belief.log_shares,
            log_ratios=np.zeros_like(belief.log_ratios),
        )  # fmt: skip
        belief = _after(fresh, past)
    return belief


def _after(belief: Belief, outcomes: Sequence[Outcome]) -> Belief:
    for batch in _batches(outcomes):
        losses, healthy = losses_of(batch, belief.healthy, belief.settings)
        belief = replace(belief, healthy=healthy)
        belief = with_batch(belief, [(one, losses[number], explains(belief, one)) for number, one in enumerate(batch)])
    last = max((outcome.test.round for outcome in outcomes), default=belief.round)
    belief = replace(belief, round=max(belief.round, last))
    return _concluded(belief)


def _batches(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    """Rounds, and where a node comes twice in one, parts of it."""
    batches: list[list[Outcome]] = []
    used: set[str] = set()
    number = math.nan
    for outcome in outcomes:
        if outcome.test.round != number or not used.isdisjoint(outcome.test.nodes):
            batches.append([])
            used, number = set(), outcome.test.round
        batches[-1].append(outcome)
        used.update(outcome.test.nodes)
    return batches
