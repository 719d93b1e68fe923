"""How much bus bandwidth the network cards can carry: the ceiling of each collective by the cut between a node and all others.

What leaves a node leaves it through its cards, whatever algorithm runs, so a rate above the ceiling did not go the way that is
supposed: NVLink between nodes that was said to be off, ranks of one node counted as two, a time that is not that of the call.

With n nodes of g ranks (R = n·g) and B bytes per second and direction of the cards of a node, S the larger buffer of a rank:

    all-reduce, all-gather, reduce-scatter: each node must take in S·(n - 1)/n (twice, in two phases, for all-reduce)
    all-to-all:                             g·S·(n - 1)/n
    broadcast:                              S
    all-reduce summed in the switches:      S

and nccl-tests' factor turns that into bus bandwidth. "busbw ≤ B" is wrong: two nodes of eight reach 1.875 B. Sources: the derivation; checked on
published tables (NVIDIA's CRE validation: 65 to 93 % of it on five platforms, and 239 % where the label was wrong).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Clocks, and a rate in the name of a link that is a little below the wire's.
TOLERANCE = 1.05
#: Operation → bus bandwidth over the cards' rate, for n nodes and g ranks on each.
_CEILINGS: dict[str, Callable[[int, int], float]] = {
    "all_reduce": lambda n, g: _share(n * g) / _share(n),
    "all_gather": lambda n, g: _share(n * g) / _share(n),
    "reduce_scatter": lambda n, g: _share(n * g) / _share(n),
    "all_to_all": lambda n, g: _share(n * g) / _share(n) / g,
    "broadcast": lambda _n, _g: 1.0,
}


def ceiling(operation: str, nodes: int, ranks_per_node: int, card_bytes: float, *, in_network: bool = False) -> float:
    """The most bus bandwidth (B/s, nccl-tests' definition) that cards can carry.

    Args:
        operation: ``all_reduce``, ``all_gather``, ``reduce_scatter``, ``all_to_all``, ``broadcast``.
        nodes: two or more.
        ranks_per_node: that take part in the collective.
        card_bytes: per second, in one direction, of all cards of a node that this collective may use.
        in_network: switches add up (SHARP): an all-reduce crosses the cut once instead of twice.
    """
    most = _CEILINGS[operation](nodes, ranks_per_node)
    if operation == "all_reduce" and in_network:
        most = max(most, 2 * _share(nodes * ranks_per_node))
    return most * card_bytes


def _share(count: int) -> float:
    return (count - 1) / count
