"""Whom the rules of others would blame, as they are and with the retests that ours has.

As they are, they see the first launch. On equal terms, a metric in which a rule finds anybody is launched again, on the suspects and one
good node more, and the best launch of each subject counts: what ``launch.job.retest`` does for ours, and as often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpcaccept.simulate.fleet import SPREADS
from hpcaccept.simulate.rivals import Floats, own_past

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hpcaccept.simulate.fleet import Site
    from hpcaccept.simulate.rivals import Slow

#: What a rule is called that is given retests.
RETESTED = ", retested"


def failed_by(
    rule: Callable[[Floats], Slow], launches: Sequence[Mapping[str, Floats]], site: Site
) -> Iterator[tuple[int, int, str]]:
    """(node, GPU or -1, short name) of everything that a rule blames.

    Args:
        rule: on float64[u, b] of one metric.
        launches: short name → float64[u, b]; those after the first are looked at as far as there is anybody to confirm.
        site: of the fleet.
    """
    for name, best in launches[0].items():
        slow = rule(best)
        for launch in launches[1:]:
            if not slow.any():
                break
            better = np.median(launch[name], axis=1) > np.median(best, axis=1)
            better &= _again(slow, len(best) // site.nodes, site.nodes)
            best = np.where(better[:, None], launch[name], best)
            slow = rule(best)
        yield from _places(name, slow, site)


def _again(slow: Slow, per_node: int, nodes: int) -> Slow:
    """bool[u]: subjects of the nodes that are launched again."""
    suspect = np.asarray(slow.reshape(nodes, per_node).any(axis=1))
    partners = np.flatnonzero(~suspect)[: max(2, int(suspect.sum()) + 1)]
    suspect[partners] = True
    return np.repeat(suspect, per_node)


def failed_by_past(
    cut: float, floor: float, runs: Sequence[Mapping[str, Floats]], past: int, site: Site
) -> Iterator[tuple[int, int, str]]:
    """The same of a plain rule on the own past: median and MAD of the subject's own runs.

    Args:
        cut: widths beyond which a subject is slow.
        floor: relative loss that it must have as well; with one, it must be slow in both of the last two runs.
        runs: short name → float64[u], medians of the first launch of each run, oldest first.
        past: so many of them are the past.
        site: of the fleet.
    """
    for name in runs[0]:
        table = np.stack([run[name] for run in runs])
        before = table[:past]
        slow = own_past(cut, before, table[-1])
        if floor:
            slow &= own_past(cut, before, table[-2])
            slow &= (table[-2:] < (1 - floor) * np.median(before, axis=0)).all(axis=0)
        yield from _places(name, slow, site)


def _places(name: str, slow: Slow, site: Site) -> Iterator[tuple[int, int, str]]:
    per_node = site.gpus if SPREADS[name].scope == "device" else 1
    for row in np.flatnonzero(slow).tolist():
        yield (row // per_node, row % per_node, name) if per_node > 1 else (row, -1, name)
