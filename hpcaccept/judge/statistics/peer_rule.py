"""When is a subject too slow among its like? Numbers in, numbers out: centre, loss and cut of each subject of one comparison.

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
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from hpcaccept.judge.statistics.student_t import normal_tail, t_quantile, t_tail

Floats = npt.NDArray[np.float64]
#: Consistency factor of the MAD for a normal distribution.
MAD_TO_SIGMA = 1.4826
#: Algorithm A of ISO 13528: values are drawn in to so many widths; the factor makes the result right for normal noise.
_DRAWN_IN, _TO_SIGMA = 1.5, 1.134
#: Up to so many like subjects each is compared with the others only: among four, one slow subject is a quarter of the evidence.
ALONE_AMONG = 32
#: Healthy widths in a floor (facts of fleets, docs/explanation/detection.md), and how many subjects that knowledge is worth.
WIDTHS_IN_FLOOR, PRIOR_DF = 4.0, 16.0
#: From so many subjects on the tail is estimated.
TAIL_FROM = 64
#: A tail is never given less than this chance per value: with 30 such values on a node, 0.1 % of the nodes.
TAIL_CHANCE = 3e-5
#: Degrees of freedom of the tails that are tried → what ``robust`` finds for such a t of scale 1 (of 4,000 exact quantiles:
#: found once, because finding it takes seconds; a test finds one again).
_TAILS = {5.0: 1.119895166, 7.0: 1.083792938, 10.0: 1.057485938, 20.0: 1.028241120}
#: Logarithm of how much likelier than the normal one each must be: few subjects look heavier or lighter than they are.
_TAIL_GAINS = {5.0: 2.0, 7.0: 1.5, 10.0: 1.0, 20.0: 0.5}
#: Few others → degrees of freedom and blur of ``_Tail``, which no formula fits: of a million simulated subjects for each number,
#: tails from 5e-2 to 3e-5 within 7 % (with two others 12 %).
_FEW = {1: (0.5, 1.0), 2: (1.0, 1.115), 3: (1.9, 0.96), 4: (2.9, 0.974), 5: (3.45, 0.957), 6: (4.1, 0.983)}
#: Rows that are drawn in at once.
_BLOCK = 2048
#: Nodes are compared by their middle subject from so many subjects per node and so many nodes on.
_SUBJECTS_OF_NODE, _NODES = 3, 4
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
        chance: that a healthy subject lies beyond ``fail_at``, by width, number and tails of these subjects. Its sum over a run
            is the number of healthy subjects that will be blamed, without retests.
    """

    center: Floats
    loss: Floats
    warn_at: Floats
    fail_at: Floats
    sigma: Floats
    chance: Floats


def cut(comparisons: int, false_alarm_rate: float) -> float:
    """Widths beyond which a subject is blamed, so that a healthy run of normal noise blames anybody at the stated rate (Šidák)."""
    if not comparisons:
        return 0.0
    # expm1, log1p and the lower tail: 1 - each would be 1 for rates below 1e-16, which has no quantile.
    each = -math.expm1(math.log1p(-false_alarm_rate) / comparisons)
    return -NormalDist().inv_cdf(each)


def compare_with_peers(
    value: Floats, higher: bool, node: npt.NDArray[np.intp], floors: tuple[float, float], z: float
) -> Compared:
    """Each subject against its like subjects of the run.

    Args:
        value: float64[u], one number per subject, finite, of like subjects (device model, setting).
        higher: True where larger numbers are better.
        node: int[u], index of the node of each subject.
        floors: smallest relative loss that is worth a WARN, and a FAIL.
        z: ``cut`` of all comparisons of the run.
    """
    center, width = _peers_of(value)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        loss = (1 - value / center) if higher else (value / center - 1)
        sigma = np.abs(width / center)
    tail = _Tail.from_losses(loss, sigma, z)
    at = tail.cut(sigma, floors[1])
    warn_at, fail_at = (np.maximum(floor, at) for floor in floors)
    slow = _slow_nodes(value, higher, node, floors, z)
    warn_at, fail_at = np.minimum(warn_at, slow), np.minimum(fail_at, slow)
    return Compared(center, loss, warn_at, fail_at, sigma, tail.chance(fail_at, sigma, floors[1]))


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
    """

    each: float
    z: float
    df: float
    blur: float
    heavy: float

    @classmethod
    def from_losses(cls, loss: Floats, sigma: Floats, z: float) -> _Tail:
        others = len(loss) - (len(loss) <= ALONE_AMONG)
        if others in _FEW:
            df, blur = _FEW[others]
        else:
            # Fitted to 4 million simulated (value - median of others) / width of others per number of others, up to 511:
            # quantiles of tails from 1e-2 to 1e-5 are met within 3 %.
            df = max(0.8 * others - 1, 0.5)
            blur = math.sqrt(1 + math.pi / 2 / others) * (1 - 0.2 / others - 4.7 / others**2) if others else 1.0
        heavy = tail_of(loss, sigma) if len(loss) >= TAIL_FROM else math.inf
        return cls(normal_tail(z), z, df, blur, heavy)

    def cut(self, sigma: Floats, floor: float) -> Floats:
        """Relative loss beyond which a subject is too far out."""
        if not 0 < self.each < 0.5:
            return np.asarray(self.z * sigma)
        alone = self.blur * t_quantile(self.each, self.df) * sigma
        known = self.blur * t_quantile(self.each, PRIOR_DF + self.df) * self._known(sigma, floor)
        trusted = np.maximum(self.z * sigma, np.minimum(alone, known))
        at = np.where(self._agrees(sigma, floor), trusted, alone)
        if math.isfinite(self.heavy):
            rare = max(self.each, TAIL_CHANCE)
            at = np.maximum(at, t_quantile(rare, self.heavy) / _TAILS[self.heavy] * sigma)
        return np.asarray(at)

    def chance(self, at: Floats, sigma: Floats, floor: float) -> Floats:
        """That a healthy subject has a loss beyond ``at``."""
        agrees = self._agrees(sigma, floor)
        if math.isfinite(self.heavy):
            width, df = sigma / _TAILS[self.heavy], np.full(len(at), self.heavy)
        else:
            width = self.blur * np.where(agrees, self._known(sigma, floor), sigma)
            df = self.df + np.where(agrees, PRIOR_DF, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            widths = np.nan_to_num(np.where(width > 0, at / width, np.inf), nan=0.0, posinf=1e9)
        if len(at) and (widths == widths[0]).all() and (df == df[0]).all():
            return np.full(len(at), t_tail(float(widths[0]), float(df[0])))
        distinct, which = np.unique(np.stack([widths, df]), axis=1, return_inverse=True)
        tails = [t_tail(t, freedom) for t, freedom in distinct.T.tolist()]
        return np.asarray(tails)[which.reshape(at.shape)]

    def _agrees(self, sigma: Floats, floor: float) -> npt.NDArray[np.bool_]:
        """True where the width is no larger than the class of the metric, and the scatter of the width itself, let expect.

        Of three others one in a thousand healthy widths lies beyond (chi² of 1.9 degrees of freedom). Asking for more would leave a
        subject unblamed that is three times as slow as three others which differ by a quarter.
        """
        return np.asarray(sigma <= floor / WIDTHS_IN_FLOOR * 4 / 3 * math.sqrt(1 + 6 / self.df))

    def _known(self, sigma: Floats, floor: float) -> Floats:
        """Width of these subjects and of the class together."""
        usual = floor / WIDTHS_IN_FLOOR
        return np.asarray(np.sqrt((PRIOR_DF * usual**2 + self.df * sigma**2) / (PRIOR_DF + self.df)))


def tail_of(loss: Floats, sigma: Floats) -> float:
    """Degrees of freedom of the t that the fast side of many subjects looks like; inf: the normal one is likely enough.

    Faults are on the slow side. Healthy values whose slow side alone is heavy are not seen by this.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        fast = -(loss / sigma)[(loss < 0) & (sigma > 0)]
    # Beyond 30 widths nothing healthy lies: an empty measurement that reads as a miracle must not hide slow subjects.
    fast = fast[np.isfinite(fast) & (fast < 30)]
    if len(fast) < TAIL_FROM // 4:
        return math.inf
    normal = float(np.sum(-0.5 * fast**2)) - len(fast) * math.log(math.sqrt(2 * math.pi))
    likely = {df: _log_likelihood(fast, df) - gain for df, gain in _TAIL_GAINS.items()}
    best = max(likely, key=likely.__getitem__)
    return best if likely[best] > normal else math.inf


def _log_likelihood(widths: Floats, df: float) -> float:
    scale = _TAILS[df]
    constant = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - math.log(df * math.pi) / 2 + math.log(scale)
    return len(widths) * constant - (df + 1) / 2 * float(np.sum(np.log1p((widths * scale) ** 2 / df)))


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
    value: Floats, higher: bool, node: npt.NDArray[np.intp], floors: tuple[float, float], z: float
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
    center, width = _peers_of(middle)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        loss = (1 - middle / center) if higher else (middle / center - 1)
        sigma = np.abs(width / center)
    at = np.maximum(floors[1], _Tail.from_losses(loss, sigma, z).cut(sigma, floors[1]))
    return np.asarray(np.where(loss > at, at, np.inf)[which])
