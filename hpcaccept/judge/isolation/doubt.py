"""How sure the answer is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hpcaccept.judge.isolation.belief import Belief
    from hpcaccept.judge.isolation.component import Bools

#: The others of a test that confirms a suspect are bad with less than this, together.
_GOOD_COMPANY = 0.05
#: Nobody less probable is confirmed.
_WORTH_A_LOOK = 0.5
#: Share of the nodes not blamed that must have passed together.
_WHOLE = 0.9


def is_bad(belief: Belief) -> Bools:
    """bool[N]: nodes as probable as ``until``."""
    return np.asarray(belief.bad >= belief.settings.until)


def confirmed(belief: Belief) -> Bools:
    """bool[N]: nodes that have shown in good company, and with different partners, so that no single path explains it."""
    bad = belief.bad
    found = np.zeros(len(bad), bool)
    suspicious = [seen.members for seen in belief.seen if seen.suspicious]
    for node in np.flatnonzero(bad >= _WORTH_A_LOOK):
        mine = [members for members in suspicious if node in members]
        if any(bad[members].sum() - bad[node] < _GOOD_COMPANY for members in mine):
            common = mine[0]
            for members in mine[1:]:
                common = np.intersect1d(common, members, assume_unique=True)
            found[node] = len(common) == 1
    return found


def is_blamed(belief: Belief) -> Bools:
    """bool[N]: nodes that are named: as probable as ``until``, and confirmed."""
    return np.asarray(is_bad(belief) & confirmed(belief))


def doubt_of(belief: Belief) -> float:
    """The probability, at most, that the answer is not entirely right: somebody blamed is good, or something bad is not blamed."""
    bad = belief.bad
    return float(np.where(is_blamed(belief), 1 - bad, bad).sum()) + (1 - belief.fabric.none)


def whole_passed(belief: Belief) -> bool:
    """Whether nearly all nodes that are not blamed have passed together: small groups show nothing of links between them, nor of size.

    Not asked where a known fault makes every large group fail, nor of values, which only groups of like size can be compared by.
    """
    if belief.known or belief.settings.values:
        return True
    good = ~is_blamed(belief)
    enough = _WHOLE * good.sum()
    return any(
        seen.outcome.kind == "passed" and not seen.suspicious and good[seen.members].sum() >= enough
        for seen in belief.seen
    )


def is_decided(belief: Belief) -> bool:
    """Whether the answer is as sure as it was asked to be."""
    return bool(belief.seen) and doubt_of(belief) <= 1 - belief.settings.until and whole_passed(belief)
