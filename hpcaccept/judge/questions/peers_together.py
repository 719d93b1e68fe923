"""What all comparisons of a run with the peers say together: how wide its units are, and whether their noise is normal.

Few like units tell little about how much healthy ones differ; the comparisons of a run are thirty, and each tells a little more
(``judge.statistics.run_width``, ``judge.statistics.run_tail``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcaccept.judge.statistics.peer_rule import ALONE_AMONG, WIDTHS_IN_FLOOR, OfRun, Peers, robust
from hpcaccept.judge.statistics.run_tail import Noise, noise_of
from hpcaccept.judge.statistics.run_width import Told, wider_than_class

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.intp]
#: More like units than this know their width well enough by themselves.
_KNOW_THEMSELVES = 128
#: So many values of a run tell its tail.
_TELL = 20_000
#: Whoever is so many widths out, and beyond the floor, in such a share of the metrics is no evidence of what healthy ones are.
_FAR_OUT, _OFTEN = 4.5, 0.2
#: Or who is so slow in the mean of all.
_ALL_SLOW = 1.5
#: For few units, what the run tells of their width counts for no more degrees of freedom than this beside their own.
_OF_RUN = 8.0
#: Of fewer degrees of freedom a width by itself says nothing of a tail.
_TELLS_ITSELF = 4.0
#: Standard deviation of the median of few normal values, squared.
_CENTER = {1: 1.0, 2: 0.5, 3: 0.449, 4: 0.298, 5: 0.287, 6: 0.215, 7: 0.210}


@dataclass(frozen=True, eq=False)
class Comparison:
    """One of a run.

    Attributes:
        check: whose metric it is.
        kind: device model.
        value: float64[u], one number per unit.
        higher: True where larger numbers are better.
        node: int[u], number of the node of each.
        unit: int[u], number of each.
        floor: smallest loss that is a FAIL.
        timed: False for what is counted.
        peers: of the values.
    """

    check: str
    kind: str
    value: Floats
    higher: bool
    node: Numbers
    unit: npt.NDArray[np.int32]
    floor: float
    timed: bool
    peers: Peers

    @property
    def usual(self) -> float:
        """Width of healthy units of the class."""
        return self.floor / WIDTHS_IN_FLOOR


def told_by_the_run(comparisons: Sequence[Comparison], nodes: int, units: int) -> tuple[list[OfRun], Noise]:
    """What each comparison is told by the others, and what the noise of all is.

    Args:
        comparisons: of a run.
        nodes: of the run.
        units: of the run.
    """
    told = [OfRun(timed=one.timed) for one in comparisons]
    few = [
        i for i, one in enumerate(comparisons) if one.timed and one.usual > 0 and 2 < len(one.value) <= _KNOW_THEMSELVES
    ]
    squares: dict[int, Floats] = {}
    for kind in sorted({comparisons[i].kind for i in few}):
        mine = [i for i in few if comparisons[i].kind == kind]
        wider, df, square = wider_than_class([_told(comparisons[i], nodes) for i in mine])
        for row, i in enumerate(mine):
            at = comparisons[i].node
            told[i] = OfRun(wider[row, at], df[row, at], timed=True)
            squares[i] = square[row, at]
    with np.errstate(over="ignore", invalid="ignore"):
        return told, noise_of(_distances(comparisons, squares, units))


def _told(one: Comparison, nodes: int) -> Told:
    """What a comparison of few units tells the others, node by node."""
    square, fast = np.full(nodes, np.nan), np.full(nodes, np.nan)
    there, first, count = np.unique(one.node, return_index=True, return_counts=True)
    others = len(one.value) - int(count.max())
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        if count.max() == 1:
            square[one.node] = (one.peers.sigma / one.usual) ** 2
            if len(one.value) <= ALONE_AMONG:
                gain = -one.peers.loss / one.usual
                variance = 1 + _CENTER.get(others, np.pi / 2 / others)
                fast[one.node] = np.where(gain > 0, gain**2 / variance, np.nan)
        elif len(there) > ALONE_AMONG // 2 or others < 2:
            square[there] = (one.peers.sigma[first] / one.usual) ** 2
        else:
            square[there] = (_without_each_node(one, there) / one.usual) ** 2
    return Told(one.check, max(others, 1), square, fast)


def _without_each_node(one: Comparison, there: Numbers) -> Floats:
    """Relative width of the units of all other nodes: a slow node is no evidence of how much healthy units differ."""
    found = []
    for number in there.tolist():
        center, width = robust(np.sort(one.value[one.node != number])[None, :])
        found.append(abs(float(width[0] / center[0])))
    return np.array(found)


def _distances(comparisons: Sequence[Comparison], squares: dict[int, Floats], units: int) -> list[tuple[int, Floats]]:
    """Of the units of each comparison from the middle of their like, in widths, but for units that are often far out."""
    timed = [i for i, one in enumerate(comparisons) if one.timed and one.usual > 0]
    total = sum(len(comparisons[i].value) for i in timed)
    # Odd, so that no GPU of the nodes has the only word.
    step = max(1, total // _TELL) | 1
    far, asked, sums = np.zeros(units, np.intp), np.zeros(units, np.intp), np.zeros(units)
    parts: list[tuple[npt.NDArray[np.int32], Floats]] = []
    for i in timed:
        one = comparisons[i]
        unit, loss = one.unit[::step], one.peers.loss[::step]
        slow = _in_widths(one, squares.get(i))[::step]
        asked[unit] += 1
        far[unit[(np.abs(slow) > _FAR_OUT) & (np.abs(loss) > one.floor)]] += 1
        sums[unit] += np.clip(np.nan_to_num(slow), -_FAR_OUT, _FAR_OUT)
        parts.append((unit, slow))
    faulty = far >= np.maximum(_OFTEN * asked, 1)
    # Slow in everything, though nowhere far out, where others like it have widened the width.
    faulty |= sums > asked * np.maximum(_ALL_SLOW, _FAR_OUT / np.sqrt(np.maximum(asked, 1)))
    return [(len(comparisons[i].value), slow[~faulty[unit]]) for i, (unit, slow) in zip(timed, parts, strict=True)]


def _in_widths(one: Comparison, square: Floats | None) -> Floats:
    """Distances of units from the middle of their like; NaN where the width says nothing."""
    sigma, others = one.peers.sigma, len(one.value) - 1
    # Equal numbers of few digits are no distances.
    with np.errstate(divide="ignore", invalid="ignore"):
        if others >= ALONE_AMONG:
            return np.where(sigma > 0, one.peers.loss / sigma, np.nan)
        df = max(0.8 * others - 0.6, 1.0)
        run = np.full(len(sigma), np.nan) if square is None else square
        # By itself a width of few says nothing of a tail.
        alone = sigma if df >= _TELLS_ITSELF else np.nan
        together = np.sqrt((df * sigma**2 + _OF_RUN * run * one.usual**2) / (df + _OF_RUN))
        width = np.where(sigma > 0, np.where(np.isfinite(run), together, alone), np.nan)
        return np.asarray(one.peers.loss / width / np.sqrt(1 + _CENTER.get(others, np.pi / 2 / others)))
