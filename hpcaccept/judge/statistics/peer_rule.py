"""When a subject is too slow among its like. Numbers in, numbers out: centre, loss and cut of each subject of one comparison.

A subject is blamed when its loss is beyond the *floor* of its metric **and** beyond the *cut*, which follows from the chance
that one healthy subject may be blamed by:

- **Centre** is the median, **width** the robust standard deviation of ISO 13528 (algorithm A: values are drawn in to 1.5
  widths of the mean until nothing changes). It starts from median and MAD, keeps three quarters of the information in
  normal noise where the MAD keeps a third, and a tenth of bad subjects moves it little.
- **Few subjects** know their width badly: the cut is a quantile of Student's t, not of the normal distribution. Where the width
  does not contradict it, what is known of the class of the metric counts as well (the floor is some four healthy widths), as
  if ``PRIOR_DF`` more subjects had been seen.
- **Heavy tails** of many subjects are read off the fast side, on which there are no faults, and widen the cut.
- **A node** whose middle subject is slow is compared with the other nodes' middle subjects, which vary less: heat and power
  are shared by a node.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hpcaccept.judge.statistics.student_t import normal_quantile, normal_tail, t_quantile, t_quantiles
from hpcaccept.judge.statistics.tail import TAIL_FROM, tail_of, width_of_tail

Floats = npt.NDArray[np.float64]
#: Consistency factor of the MAD for a normal distribution.
MAD_TO_SIGMA = 1.4826
#: Algorithm A of ISO 13528: values are drawn in to so many widths; the factor makes the result right for normal noise.
_DRAWN_IN, _TO_SIGMA = 1.5, 1.134
#: Up to so many like subjects each is compared with the others only: among four, one slow subject is a quarter of the evidence.
ALONE_AMONG = 32
#: Healthy widths in a floor (facts of fleets, docs/explanation/detection.md), and how many subjects that knowledge is worth.
WIDTHS_IN_FLOOR, PRIOR_DF = 4.0, 16.0
#: Where all others have the same number, the cut is this share of what the class lets expect.
_EQUAL = 0.75
#: Where the width of so few others contradicts it, that knowledge is worth this much, and nothing where it is so many times what could be
#: agreed with: without any, two others that differ by some class widths would leave everything undecided.
_DOUBTED_AMONG, _DOUBTED_DF, _DOUBTED_UP_TO = 4, 2.0, 4.0
#: A tail is never given less than this chance per value: with 30 such values on a node, 0.1 % of the nodes.
TAIL_CHANCE = 3e-5
#: Few others → degrees of freedom and blur of ``_Tail``, which no formula fits: of a million simulated subjects for each number,
#: tails from 5e-2 to 3e-5 within 7 % (with two others 12 %).
_FEW = {1: (0.5, 1.0), 2: (1.0, 1.115), 3: (1.9, 0.96), 4: (2.9, 0.974), 5: (3.45, 0.957), 6: (4.1, 0.983)}
#: Rows that are drawn in at once.
_BLOCK = 2048
#: Nodes are compared by their middle subject from so many subjects per node and so many nodes on.
_SUBJECTS_OF_NODE, _NODES = 3, 3
#: Smallest loss a CPU may be blamed for on kernels of their own: CPUs boost, throttle and share caches.
#: (Process medians of one healthy, idle machine differ by 2 to 20 %.)
CPU_FLOOR = 0.25


@dataclass(frozen=True)
class Compared:
    """One comparison: float64[u] each, one entry per subject.

    Attributes:
        center: what the subject is compared with, in the unit of the values; NaN: there is nothing to compare it with.
        loss: relative loss against the centre; positive is worse, in both directions.
        warn_at: relative loss beyond which the subject is a WARN; inf: never.
        fail_at: relative loss beyond which it is a FAIL; from 1 on no rate could be blamed: the comparison is undecided.
        sigma: robust relative width of what the subject is compared with.
    """

    center: Floats
    loss: Floats
    warn_at: Floats
    fail_at: Floats
    sigma: Floats


def cut(comparisons: int, false_alarm_rate: float) -> float:
    """Widths beyond which a subject is blamed, so that a healthy run of normal noise blames anybody at the stated rate (Šidák)."""
    if not comparisons:
        return 0.0
    return normal_quantile(chance_of_each(comparisons, false_alarm_rate))


def chance_of_each(comparisons: int, rate: float) -> float:
    """What one healthy value may be blamed by, so that any of them is by the rate at most (Šidák)."""
    # expm1 and log1p: rates below 1e-16 would be 0.
    return -math.expm1(math.log1p(-rate) / max(comparisons, 1))


@dataclass(frozen=True, eq=False)
class Peers:
    """What the like subjects of each subject are: float64[u] each.

    Attributes:
        center: their middle, in the unit of the values.
        loss: relative loss of the subject against it.
        sigma: their robust relative width.
    """

    center: Floats
    loss: Floats
    sigma: Floats

    @classmethod
    def of(cls, value: Floats, higher: bool) -> Peers:
        """Of each value; ``compare_with_peers`` says which values."""
        center, width = _peers_of(value)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            loss = (1 - value / center) if higher else (value / center - 1)
            return cls(center, loss, np.abs(width / center))


@dataclass(frozen=True, eq=False)
class OfRun:
    """What the other comparisons of a run tell of this one.

    Attributes:
        wider: float64[u] or a number: healthy subjects are so many times as wide as their class.
        df: how many degrees of freedom that is worth, likewise.
        heavy: widths beyond which a healthy subject lies with the stated chance where noise may have heavy tails (``run_tail``); 0: it has none.
        timed: False for what is counted: two equal counts are equal.
    """

    wider: Floats | float = 1.0
    df: Floats | float = PRIOR_DF
    heavy: float = 0.0
    timed: bool = True


def compare_with_peers(
    value: Floats,
    higher: bool,
    node: npt.NDArray[np.intp],
    floors: tuple[float, float],
    z: float,
    *,
    peers: Peers | None = None,
    run: OfRun = OfRun(),
) -> Compared:
    """Each subject against its like subjects of the run.

    Args:
        value: float64[u], one number per subject, finite, of like subjects (device model, setting).
        higher: True where larger numbers are better.
        node: int[u], index of the node of each subject.
        floors: smallest relative loss that is worth a WARN, and a FAIL.
        z: ``cut`` of all comparisons of the run.
        peers: ``Peers.of(value, higher)``, where it is known.
        run: what the other comparisons of the run tell.
    """
    peers = peers or Peers.of(value, higher)
    tail = _Tail.from_losses(peers.loss, peers.sigma, z, run)
    at = tail.cut(peers.sigma, floors[1])
    warn_at, fail_at = (np.maximum(floor, at) for floor in floors)
    if run.heavy:
        fail_at = np.maximum(fail_at, run.heavy * tail.width(peers.sigma, floors[1]))
    slow = _slow_nodes(value, higher, node, floors, z, run)
    warn_at, fail_at = np.minimum(warn_at, slow), np.minimum(fail_at, slow)
    return Compared(peers.center, peers.loss, warn_at, fail_at, peers.sigma)


@dataclass(frozen=True)
class _Tail:
    """How far out a healthy subject of such a comparison may lie.

    Attributes:
        each: chance that one healthy subject may be blamed by.
        z: the same as normal widths.
        df: degrees of freedom of the width.
        blur: widths by which a difference from the centre varies, which is itself the centre of few (the median's variance
            is π/2 of the mean's); below 1 where the width of few is overestimated by the drawing in.
        heavy: degrees of freedom of the tail, inf: normal; and what a width is of a t of these.
        run: what the other comparisons of the run tell.
    """

    each: float
    z: float
    df: float
    blur: float
    heavy: float
    run: OfRun = OfRun()

    @classmethod
    def from_losses(cls, loss: Floats, sigma: Floats, z: float, run: OfRun) -> _Tail:
        df, blur = freedom_of(len(loss) - (len(loss) <= ALONE_AMONG))
        heavy = tail_of(loss, sigma) if len(loss) >= TAIL_FROM else math.inf
        return cls(normal_tail(z), z, df, blur, heavy, run)

    def cut(self, sigma: Floats, floor: float) -> Floats:
        """Relative loss beyond which a subject is too far out."""
        if not 0 < self.each < 0.5:
            return np.asarray(self.z * sigma)
        alone = self.blur * t_quantile(self.each, self.df) * sigma
        known = self._at(self.run.df, sigma, floor)
        if self.run.timed:
            # Equal numbers of few digits are little evidence that healthy subjects are equal.
            alone = np.where(sigma > 0, alone, _EQUAL * known)
        trusted = np.maximum(self.z * sigma, np.minimum(alone, known))
        doubted = np.minimum(alone, self._at(_DOUBTED_DF, sigma, floor))
        few = self.df <= _FEW[_DOUBTED_AMONG][0]
        at = np.where(self._agrees(sigma / _DOUBTED_UP_TO, floor) & few, doubted, alone)
        at = np.where(self._agrees(sigma, floor), trusted, at)
        if math.isfinite(self.heavy):
            rare = max(self.each, TAIL_CHANCE)
            at = np.maximum(at, t_quantile(rare, self.heavy) / width_of_tail(self.heavy) * sigma)
        return np.asarray(at)

    def _at(self, prior_df: Floats | float, sigma: Floats, floor: float) -> Floats:
        """The cut where the class counts like so many degrees of freedom."""
        df = prior_df + self.df
        quantile = t_quantile(self.each, df) if isinstance(df, float) else t_quantiles(self.each, df)
        return np.asarray(self.blur * quantile * self._known(sigma, floor, prior_df))

    def width(self, sigma: Floats, floor: float) -> Floats:
        """By which a healthy subject varies; many know it by themselves."""
        if len(sigma) > ALONE_AMONG:
            return sigma
        agrees = self._agrees(sigma, floor)
        return np.asarray(self.blur * np.where(agrees, self._known(sigma, floor, self.run.df), sigma))

    def _agrees(self, sigma: Floats, floor: float) -> npt.NDArray[np.bool_]:
        """True where the width is no larger than the class of the metric, and the scatter of the width itself, let expect.

        Asking for more would leave a subject unblamed that is three times as slow as three others which differ by a quarter.
        """
        usual = self.run.wider * floor / WIDTHS_IN_FLOOR
        return np.asarray(sigma <= most_of_class(usual, self.df))

    def _known(self, sigma: Floats, floor: float, prior_df: Floats | float) -> Floats:
        """Width of these subjects and of the class together."""
        usual = self.run.wider * floor / WIDTHS_IN_FLOOR
        return np.asarray(np.sqrt(variance_with_class(sigma, self.df, usual, prior_df)))


def most_of_class(usual: Floats | float, df: float) -> Floats | float:
    """The largest width that units of a class are taken to have, where the width has so many degrees of freedom.

    Of three others one in a thousand healthy widths lies beyond (chi² of 1.9 degrees of freedom).
    """
    return usual * 4 / 3 * math.sqrt(1 + 6 / df)


def variance_with_class(
    width: Floats | float, df: float, usual: Floats | float, prior_df: Floats | float
) -> Floats | float:
    """Square of the width of some units and of their class together, each by its degrees of freedom."""
    return (prior_df * usual**2 + df * width**2) / (prior_df + df)


def freedom_of(others: int) -> tuple[float, float]:
    """Degrees of freedom and scale of (value - median of others) / robust width of others, a Student's t for normal noise."""
    if others in _FEW:
        return _FEW[others]
    # Fitted to 4 million simulated ones per number of others, up to 511: quantiles of tails from 1e-2 to 1e-5 are met within 3 %.
    blur = math.sqrt(1 + math.pi / 2 / others) * (1 - 0.2 / others - 4.7 / others**2) if others else 1.0
    return max(0.8 * others - 1, 0.5), blur


def robust(values: Floats, settled: float = 1e-3) -> tuple[Floats, Floats]:
    """Median and width (ISO 13528:2022, annex C.3, algorithm A) of each row of float64[r, n], settled up to a share."""
    count, length = values.shape
    if count <= length:
        found = [_drawn_in(row[:, None], settled) for row in values]
    else:
        # Many short rows: all at once, in blocks that stay in the cache.
        found = [_drawn_in(values[begin : begin + _BLOCK].T, settled) for begin in range(0, count, _BLOCK)]
    centers, widths = zip(*found, strict=True)
    return np.concatenate(centers), np.concatenate(widths)


def _drawn_in(table: Floats, settled: float) -> tuple[Floats, Floats]:
    """``robust`` of each column of float64[n, r]; a column whose width has settled is left alone."""
    center = _median(table)
    table = np.ascontiguousarray(table) - center
    middle, width = np.zeros_like(center), MAD_TO_SIGMA * _median(np.abs(table))
    found = width.copy()
    left = np.arange(len(center))
    count, freedom = len(table), max(len(table) - 1, 1)
    for _ in range(20):
        reach = _DRAWN_IN * width
        drawn = np.clip(table, middle - reach, middle + reach)
        middle = drawn.sum(axis=0) / count
        # About the centre, so that the difference of the squares loses nothing.
        squares = np.maximum(np.einsum("ij,ij->j", drawn, drawn) - count * middle**2, 0.0)
        last, width = width, _TO_SIGMA * np.sqrt(squares / freedom)
        found[left] = width
        moves = np.abs(width - last) > settled * width
        if not moves.any():
            break
        table, middle, width, left = table[:, moves], middle[moves], width[moves], left[moves]
    return center, found


def _median(table: Floats) -> Floats:
    """Of each column. Many short columns are sorted faster than they are parted."""
    count = len(table)
    if count > table.shape[1]:
        return np.asarray(np.median(table, axis=0))
    ranked = np.sort(table, axis=0)
    return np.asarray((ranked[(count - 1) // 2] + ranked[count // 2]) / 2)


def _peers_of(values: Floats) -> tuple[Floats, Floats]:
    """Centre and robust width of each subject's peers, without the subject itself where it could hide behind its own weight."""
    if len(values) > ALONE_AMONG:
        center, width = robust(values[None, :])
        return np.full(len(values), center[0]), np.full(len(values), width[0])
    # In order, so that the sums do not depend on the order of the subjects.
    return robust(np.sort(_others(values), axis=1))


def _others(values: Floats) -> Floats:
    """float64[u, u - 1]: row i holds all values but the i-th."""
    count = len(values)
    return np.broadcast_to(values, (count, count))[~np.eye(count, dtype=bool)].reshape(count, count - 1)


def _slow_nodes(
    value: Floats, higher: bool, node: npt.NDArray[np.intp], floors: tuple[float, float], z: float, run: OfRun
) -> Floats:
    """float64[u]: relative loss beyond which a subject of a slow node is blamed with its node; inf on other nodes."""
    number = np.bincount(node)
    counts = number[number > 0]
    if len(counts) < _NODES or counts.min() < _SUBJECTS_OF_NODE:
        return np.full(len(value), np.inf)
    which = (np.cumsum(number > 0) - 1)[node]
    if counts.min() == counts.max():
        order = np.argsort(which, kind="stable")
        middle = np.median(value[order].reshape(len(counts), -1), axis=1)
    else:
        ranked = value[np.lexsort((value, which))]
        starts = np.r_[0, np.cumsum(counts)[:-1]]
        middle = (ranked[starts + (counts - 1) // 2] + ranked[starts + counts // 2]) / 2
    peers = Peers.of(middle, higher)
    if np.ndim(run.wider):
        first = np.unique(which, return_index=True)[1]
        run = replace(run, wider=np.asarray(run.wider)[first], df=np.asarray(run.df)[first])
    at = np.maximum(floors[1], _Tail.from_losses(peers.loss, peers.sigma, z, run).cut(peers.sigma, floors[1]))
    return np.asarray(np.where(peers.loss > at, at, np.inf)[which])
