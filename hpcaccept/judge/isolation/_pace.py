"""The number of further rounds in which suspects should be told apart.

A suspect among 2^B that is to be found in R rounds needs 2^(B/R) − 1 groups in each: more rounds take fewer tests. A round costs something too (its start,
and the nodes that wait), so that few suspects are searched in few rounds, and many with little waste.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hpcaccept.judge.isolation.component import Ints
    from hpcaccept.judge.isolation.levels import Floats

#: A round is worth so many tests, where the budget says nothing else.
ROUND_PRICE = 2.0
#: No more rounds than these are planned ahead.
_FAR = 12


def bits_of(bad: Floats) -> float:
    """Bits that are missing to name one of these suspects, per bad one that is expected among them."""
    share = bad / bad.sum()
    share = share[share > 1e-9]
    return float(-(share * np.log2(share)).sum())


def rounds_ahead(groups: list[Ints], bad: Floats, most: float, tests: float) -> float:
    """The number of rounds, but for one that confirms, in which these suspects are told apart at the least price.

    Args:
        groups: suspects that hang together.
        bad: float64[N]: P(bad).
        most: rounds that the budget has, that one included.
        tests: tests that the budget has.
    """
    bits = [(max(1.0, float(bad[nodes].sum())), bits_of(bad[nodes])) for nodes in groups]
    best, least = 1.0, math.inf
    for number in range(1, int(max(1.0, min(_FAR, most - 1))) + 1):
        needed = number * sum(expected * (2 ** (one / number) - 1) for expected, one in bits)
        price = needed + ROUND_PRICE * number if needed <= tests else 1e9 / number
        if price < least:
            best, least = float(number), price
    return best


def chance_of(nodes: Ints, bad: Floats, rounds: float) -> float:
    """Chance of being bad that each group of these suspects should have, so that they are told apart in so many rounds."""
    return float(min(0.5, 2 ** (-bits_of(bad[nodes]) / rounds)))
