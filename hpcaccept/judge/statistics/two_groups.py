"""Whether like subjects are two groups. A third of a fleet that is slow widens the width that should find it; a gap between two groups stays.

The best split of the sorted values into two (the smallest sum of squares within both, as of k-means with k = 2) counts when each side has a
tenth of the subjects and at least two, and their means are further apart than the floor of the metric and than ``_WIDTHS`` pooled
standard deviations, with a gap between the sides of a third of that distance.

Simulated, 20,000 healthy columns each (4,000 from 24 subjects on), shares of columns that were taken for two groups. Width: of the class of the
metric, twice and four times that; normal, t(5), t(3), lognormal (s 0.5) and uniform noise:

* width 1: at most 0.10 % (lognormal, 12 subjects, of which the distances are largest), normal noise 0.00 %;
* width 2 and 4: at most 0.75 % for 4 to 11 subjects (uniform noise 1.5 %), 0.6 % from 12 on.

Half of the subjects slow by twice the floor are found in 40 % of 4 subjects, 90 % of 8, 99 % of 16 and more; by five floors always.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
#: Fewer subjects than this are no two groups.
FEWEST = 4
_SHARE, _AT_LEAST = 0.1, 2
#: From so many subjects on → pooled widths that lie between two groups: few look like two by chance.
_WIDTHS = {24: 6.0, 12: 8.0, 8: 10.0, 6: 12.0, FEWEST: 20.0}
_GAP = 1 / 3
#: What is a million times the middle is as far out as can be; squares of more would overflow.
_MOST = 1e6


def slower_group(value: Floats, higher: bool, floor: float) -> npt.NDArray[np.bool_] | None:
    """bool[u]: who is of the slower of two groups; None where the subjects are one.

    Args:
        value: float64[u], one number per subject, positive.
        higher: True where larger numbers are better.
        floor: smallest relative loss that may be blamed.
    """
    count = len(value)
    fewest = max(_AT_LEAST, math.ceil(_SHARE * count))
    middle = float(np.median(value)) if count >= FEWEST else 0.0
    if not middle > 0:
        return None
    order = np.argsort(value, kind="stable")
    # About the middle, so that differences of squares lose nothing.
    with np.errstate(over="ignore"):
        ranked = np.clip(value[order] / middle, -_MOST, _MOST) - 1
    split = np.arange(fewest, count - fewest + 1)
    sums, squares = np.cumsum(ranked), np.cumsum(ranked**2)
    below, above = sums[split - 1], sums[-1] - sums[split - 1]
    within = squares[-1] - below**2 / split - above**2 / (count - split)
    best = int(np.argmin(within))
    at = int(split[best])
    apart = above[best] / (count - at) - below[best] / at
    width = math.sqrt(max(float(within[best]), 0.0) / (count - 2))
    widths = next(needed for size, needed in _WIDTHS.items() if count >= size)
    if not (apart > floor and apart > widths * width and ranked[at] - ranked[at - 1] > _GAP * apart):
        return None
    slow = np.zeros(count, bool)
    slow[order[:at] if higher else order[at:]] = True
    return slow
